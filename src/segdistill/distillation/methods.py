"""Terms of a Distiller, given as a mapping, as the name of a method, or as a function of the networks."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from segdistill.catalogue.methods import terms_of
from segdistill.catalogue.terms import complete
from segdistill.distillation.arguments import check_network, named_terms
from segdistill.distillation.build import build_terms
from segdistill.distillation.defaults import card_of
from segdistill.distillation.ensemble import Ensemble
from segdistill.distillation.facts import NetworkPair
from segdistill.distillation.term import Term

Teacher = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]
Terms = Mapping[str, Term] | str | Callable[[nn.Module, nn.Module | None], Mapping[str, Term]]


def method_terms(
    method: str,
    student: nn.Module,
    teacher: Teacher | None,
    *,
    num_classes: int | None = None,
    ignore_index: int = 255,
    probe: Tensor | None = None,
) -> dict[str, Term]:
    """Return the terms of a method, the task among them, exactly as ``method=NAME`` in a recipe gives them.

    Losses with parameters get random initial values here: seed PyTorch first to repeat them. Change or add terms before
    you give them to a :class:`segdistill.Distiller`::

        terms = method_terms("dist+gskd", student, teacher)
        terms["at"] = Term(losses.AT(), on="backbone.layer3")
        distiller = Distiller(student, teacher, terms)

    Args:
        method: A name that ``segdistill losses`` lists, or several joined by ``+``.
        student, teacher: The networks, as for a Distiller.
        num_classes: The number of classes; by default the number of channels of the student's logits.
        ignore_index: The label of void pixels.
        probe: An image batch for the forward pass that finds the features' widths; by default a black image.

    Raises:
        UserError: An unknown method, a feature that a network does not have, or no teacher for a loss that needs one.
    """
    settings = {name: complete(name, term) for name, term in {"task": {}, **terms_of(method)}.items()}
    return build_terms(settings, NetworkPair(student, as_network(teacher), num_classes, probe, ignore_index))


def as_network(teacher: Teacher | None) -> nn.Module | None:
    """Return the teacher as one network. Several teachers become an :class:`segdistill.Ensemble`.

    Raises:
        UserError: The argument is not a network.
    """
    if isinstance(teacher, Mapping | list | tuple | nn.ModuleDict | nn.ModuleList):
        return Ensemble(teacher)
    return None if teacher is None else check_network(teacher, "teacher")


def resolve_terms(
    terms: Terms | None, student: nn.Module, teacher: nn.Module | None, *, ignore_index: int, probe: Tensor | None
) -> dict[str, Term]:
    """Return the terms by name, for any of the forms that :class:`segdistill.Distiller` takes.

    Raises:
        UserError: The terms have another form, or the method is unknown.
    """
    if isinstance(terms, str):
        return method_terms(terms, student, teacher, ignore_index=ignore_index, probe=probe)
    given: object = {} if terms is None else terms
    if callable(given) and not isinstance(given, nn.Module | type) and card_of(given) is None:
        given = given(student, teacher)
    return named_terms(given)
