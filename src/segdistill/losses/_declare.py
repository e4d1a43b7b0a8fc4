"""Decorators that declare a loss: its traits and the checks of its hyperparameters."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast, overload

import torch
from torch import Tensor, nn

from segdistill.losses._checks import check_all, checked_by, checks_of
from segdistill.losses._ops import at_least_float32
from segdistill.losses.loss import TRAITS, Loss, MeanOver

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)


@overload
def loss_function(function: Callable[P, Tensor], /) -> Callable[P, Tensor]: ...


@overload
def loss_function(
    *,
    equal_channels: bool = ...,
    needs_teacher: bool = ...,
    takes_aux: bool = ...,
    reads_classes: bool = ...,
    mean_over: MeanOver = ...,
) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]: ...


def loss_function(
    function: Callable[..., Tensor] | None = None,
    /,
    *,
    equal_channels: bool = Loss.equal_channels,
    needs_teacher: bool = Loss.needs_teacher,
    takes_aux: bool = Loss.takes_aux,
    reads_classes: bool = Loss.reads_classes,
    mean_over: MeanOver = Loss.mean_over,
) -> Any:
    """Make ``function(student, teacher, ...)`` a loss: declare its traits, check its arguments, detach the teacher.

    The traits become attributes of the function; see :class:`segdistill.losses.Loss` for their meaning and defaults. A
    hyperparameter that does not match its annotation raises a ValueError. No gradient reaches the teacher (the second
    parameter). Half-precision tensors are cast to float32 and autocast is off inside. Student and teacher may be
    tensors, tuples of tensors or None.
    """
    traits = {
        "equal_channels": equal_channels,
        "needs_teacher": needs_teacher,
        "takes_aux": takes_aux,
        "reads_classes": reads_classes,
        "mean_over": mean_over,
    }

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        wrapper = _guarded(function)
        for name, value in traits.items():
            setattr(wrapper, name, value)
        return wrapper

    return decorate if function is None else decorate(function)


def module_of(function: Callable[..., Tensor]) -> Callable[[type[M]], type[M]]:
    """Make a class the module form of ``function``, with the same traits and checks of its hyperparameters."""

    def decorate(cls: type[M]) -> type[M]:
        for name in TRAITS:
            setattr(cls, name, getattr(function, name))
        cls._checks = checks_of(function)  # type: ignore[attr-defined]
        cls.__init__ = checked_by(checks_of(function), cls.__init__)  # type: ignore[method-assign]
        return cls

    return decorate


def _guarded(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Wrap ``function`` so that it checks its hyperparameters, detaches the teacher and computes in float32."""
    compute = cast("Callable[..., Tensor]", function)
    student_name, teacher_name = list(signature(function).parameters)[:2]
    checks = checks_of(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if not torch.compiler.is_compiling():  # a compiler may replace a number by a symbol
            check_all(checks, kwargs)
        values = [_prepare(value, detach=index == 1) for index, value in enumerate(args)]
        named = {name: _prepare(value, detach=name == teacher_name) for name, value in kwargs.items()}
        both = [*values[:2], *(named[name] for name in (student_name, teacher_name) if name in named)]
        with torch.autocast(_device_type(next(x for x in both if x is not None)), enabled=False):
            return compute(*values, **named)

    return wrapper


def _prepare(value: Any, *, detach: bool) -> Any:
    if isinstance(value, tuple):
        return tuple(_prepare(item, detach=detach) for item in value)
    if not isinstance(value, Tensor):
        return value
    return at_least_float32(value.detach() if detach else value)


def _device_type(value: Any) -> str:
    return str(value.device.type) if isinstance(value, Tensor) else _device_type(value[0])
