"""YAML 1.2 with PyYAML: ``on`` is text, ``1e-3`` a number. Terms, lists and options are written on one line."""

import re
from typing import Any

import yaml
from yaml import YAMLError

__all__ = ["YAMLError", "read", "write"]

# PyYAML follows YAML 1.1, in which the key ``on`` of a term is ``True`` and ``1e-3`` is text. These follow YAML 1.2.
_BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NUMBER = re.compile(
    r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN)$"
)


class _Loader(yaml.SafeLoader):
    """Loader with the booleans and numbers of YAML 1.2."""


class _Dumper(yaml.SafeDumper):
    """Dumper that writes a term, a list and a network's options on one line."""


class _OneLine(dict[str, Any]):
    pass


def _one_line(dumper: yaml.SafeDumper, value: _OneLine) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


def _follow_yaml_1_2(kind: type[Any]) -> None:
    kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag.rsplit(":", 1)[1] not in ("bool", "float")]
        for first, pairs in kind.yaml_implicit_resolvers.items()
    }
    kind.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOLEAN, list("tTfF"))
    kind.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))


for _kind in (_Loader, _Dumper):
    _follow_yaml_1_2(_kind)
_Dumper.add_representer(_OneLine, _one_line)
_Dumper.add_representer(list, _list)


def read(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        YAMLError: If the text is not YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a date that does not exist, a number of thousands of digits
        raise YAMLError(str(error)) from None


def write(recipe: dict[str, Any]) -> str:
    """Return a recipe's values as YAML that :func:`read` reads back."""
    values = dict(recipe)
    values["methods"] = {name: _OneLine(terms) for name, terms in values["methods"].items()}
    if not values["methods"]:
        del values["methods"]
    values["terms"] = {name: term and _OneLine(term) for name, term in values["terms"].items()}
    for network in ("student", "teacher"):
        if values[network] is not None:
            values[network] = {**values[network], "options": _OneLine(values[network]["options"])}
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text
