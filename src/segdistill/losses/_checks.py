"""Checks of hyperparameters, derived from their annotations and shared by the function and the module."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

P = ParamSpec("P")
R = TypeVar("R")

Check = Callable[[object], str | None]
"""Return what was expected of a value, or None if the value is valid."""


@dataclass(frozen=True)
class Range:
    """A range of numbers from ``low`` to ``high``, and its text for error messages."""

    text: str
    low: float = -math.inf
    high: float = math.inf
    has_low: bool = True
    has_high: bool = True

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.has_low else value > self.low
        below = value <= self.high if self.has_high else value < self.high
        return above and below


Positive = Annotated[float, Range("> 0", low=0, has_low=False)]
NonNegative = Annotated[float, Range(">= 0", low=0)]
Power = Annotated[float, Range(">= 1", low=1)]
Share = Annotated[float, Range("from 0 to 1", low=0, high=1)]
Count = Annotated[int, Range("> 0", low=1)]
CountOrZero = Annotated[int, Range(">= 0", low=0)]


def checks_of(function: Callable[..., Any]) -> dict[str, Check]:
    """Return the check of every keyword-only parameter by its annotation; for a module form, those of its function."""
    if isinstance(function, type) and hasattr(function, "_checks"):
        inherited: dict[str, Check] = function._checks
        return inherited
    checks = {
        name: _check(parameter.annotation)
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    return {name: check for name, check in checks.items() if check is not None}


def check_all(checks: Mapping[str, Check], values: Mapping[str, object]) -> None:
    """Raise a ValueError for the first hyperparameter that does not match its annotation."""
    for name, check in checks.items():
        if name in values:
            expected = check(values[name])
            if expected is not None:
                raise ValueError(f"{name} must be {expected}, got {values[name]!r}")


def checked(constructor: Callable[P, R]) -> Callable[P, R]:
    """Make a constructor reject hyperparameters that do not match its annotations."""
    return checked_by(checks_of(constructor), constructor)


def checked_by(checks: Mapping[str, Check], constructor: Callable[P, R]) -> Callable[P, R]:
    """Make a constructor reject hyperparameters that fail ``checks``."""

    @wraps(constructor)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        check_all(checks, kwargs)
        return constructor(*args, **kwargs)

    return wrapper


def _check(annotation: Any) -> Check | None:
    """Return the check of an annotation of numbers, bools or words, or of a list of these; None for any other."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _number(args[0], args[1])
    if annotation in (int, float):
        return _number(annotation, Range(""))
    if annotation is bool:
        return lambda value: None if isinstance(value, bool) else "True or False"
    if origin is Literal:
        words = " or ".join(f'"{word}"' for word in args)
        return lambda value: None if isinstance(value, str) and value in args else words
    if origin in (Union, UnionType):
        return _any_of([_check(arg) for arg in args if arg is not NoneType], optional=NoneType in args)
    if origin is Sequence:
        return _each(_check(args[0]))
    return None


def _number(kind: type, allowed: Range) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
            return "a whole number" if kind is int else "a number"
        number = float(value)
        if not math.isfinite(number) or number not in allowed:
            return allowed.text or "a finite number"
        return None

    return check


def _any_of(checks: Sequence[Check | None], *, optional: bool) -> Check | None:
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None

    def check(value: object) -> str | None:
        if value is None and optional:
            return None
        expected = [check(value) for check in known]
        return None if None in expected else " or ".join(map(str, expected))

    return check


def _each(of_one: Check | None) -> Check | None:
    if of_one is None:
        return None

    def check(value: object) -> str | None:
        if not isinstance(value, list | tuple):
            return "a list"
        errors = [expected for expected in map(of_one, value) if expected is not None]
        return f"a list, each entry {errors[0]}" if errors else None

    return check
