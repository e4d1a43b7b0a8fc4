"""Code of the user's own that a recipe names, as ``package.module:callable``."""

from collections.abc import Iterable

from segdistill.recipes.schema import Network, Recipe


def code_of_networks(networks: Iterable[Network]) -> list[str]:
    """Return the own code among networks, each once."""
    return _own([network.model for network in networks])


def code_of_terms(recipe: Recipe) -> list[str]:
    """Return the own losses of a recipe's terms, each once."""
    return _own([term.loss for term in recipe.terms.values()])


def named_code(recipe: Recipe) -> list[str]:
    """Return the own networks and losses of a recipe, each once."""
    teachers = recipe.teacher.each.values() if recipe.teacher is not None else ()
    return _own([*code_of_networks([recipe.student, *teachers]), *code_of_terms(recipe)])


def _own(names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if ":" in name]
