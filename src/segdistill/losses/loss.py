"""The protocol of a loss: the attributes that a Term reads from it, and their defaults."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, Literal, Protocol

from torch import Tensor

MeanOver = Literal["pixels", "images", "batch"]


class Loss(Protocol):
    """A callable ``(student, teacher, labels) -> scalar`` and the attributes that a Term reads from it.

    Any function or module with this signature is a loss. An attribute that it does not declare has the default given
    here, which is safe for every loss. A function declares an attribute by assignment, such as
    ``my_loss.mean_over = "pixels"``. A module declares it as a class attribute or in its constructor.

    Attributes:
        equal_channels: Student and teacher must have the same number of channels. Where they differ, the Term adds a
            1x1 convolution. Default True.
        needs_teacher: The loss reads the teacher's features. If False, it is called with None in their place. A loss
            that declares True cannot be the task loss. Default True.
        takes_aux: In a loss without a teacher on the logits, ``student`` is a tuple of the logits and the auxiliary
            head's logits; None if there is no such head, or the term is not the task. Default False.
        reads_classes: The channels are scores of at least two classes, for a softmax or an argmax over them. Default
            False.
        mean_over: What the value is a mean over, so that an accumulated step can weight its parts: valid "pixels" of
            the compared map (of the labels, for a loss without a teacher), or "images" with a valid pixel. "batch" for
            any other value, such as a relation between images; its parts have equal weights. Default "batch".

    A loss may also have an attribute ``ignore_index``, the label of ignored pixels. It must equal that of the
    Distiller.
    """

    equal_channels: bool = True
    needs_teacher: bool = True
    takes_aux: bool = False
    reads_classes: bool = False
    mean_over: MeanOver = "batch"

    def __call__(self, student: Any, teacher: Any, labels: Any = None, /) -> Tensor:
        """Return the unweighted loss, a scalar."""
        ...


TRAITS = ("equal_channels", "needs_teacher", "takes_aux", "reads_classes", "mean_over")


def declared(loss: Callable[..., Tensor], name: str) -> Any:
    """Return what ``loss`` declares as ``name``, an attribute of :class:`Loss`; None if it does not.

    A :class:`functools.partial` declares what its function declares.
    """
    inner = loss.func if isinstance(loss, partial) else loss
    return getattr(loss, name, getattr(inner, name, None))


def own_ignore_index(loss: Callable[..., Tensor]) -> int | None:
    """Return the label that a loss ignores: its attribute, or the default of its parameter; None if it has neither."""
    given = loss.keywords.get("ignore_index") if isinstance(loss, partial) else None
    if isinstance(value := declared(loss, "ignore_index") if given is None else given, int):
        return value
    try:
        parameter = signature(getattr(loss, "forward", loss)).parameters.get("ignore_index")
    except (TypeError, ValueError):  # a callable without a signature, such as one of an extension module
        return None
    return parameter.default if parameter is not None and isinstance(parameter.default, int) else None


def trait(loss: Callable[..., Tensor], name: str) -> Any:
    """Return the attribute ``name`` of a loss, or its default in :class:`Loss`."""
    value = declared(loss, name)
    return getattr(Loss, name) if value is None else value
