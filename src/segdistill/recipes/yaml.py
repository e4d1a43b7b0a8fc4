"""YAML as people write it: ``on`` is a word, not a boolean, and short things stand on one line."""

from typing import Any

import yaml
from yaml import YAMLError

__all__ = ["YAMLError", "read", "write"]


class _Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, where the key ``on`` of a term would be ``True``; in YAML 1.2 it is a word."""


class _Dumper(yaml.SafeDumper):
    """Writes a term, a list and a network's options on one line."""


def _only_true_and_false(kind: type[Any]) -> None:
    resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":bool") or first in "tTfF"]
        for first, pairs in kind.yaml_implicit_resolvers.items()
    }
    kind.yaml_implicit_resolvers = resolvers


class _OneLine(dict[str, Any]):
    pass


def _one_line(dumper: yaml.SafeDumper, value: _OneLine) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_only_true_and_false(_Loader)
_only_true_and_false(_Dumper)
_Dumper.add_representer(_OneLine, _one_line)
_Dumper.add_representer(list, _list)


def read(text: str) -> Any:
    """Read YAML.

    Raises:
        YAMLError: It is none.
    """
    return yaml.load(text, _Loader)


def write(recipe: dict[str, Any]) -> str:
    """Write a recipe's values as YAML that :func:`read` gives back."""
    shown = dict(recipe)
    shown["terms"] = {name: _OneLine(term) for name, term in shown["terms"].items()}
    for network in ("student", "teacher"):
        if shown[network] is not None:
            shown[network] = {**shown[network], "options": _OneLine(shown[network]["options"])}
    text: str = yaml.dump(shown, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text
