"""Accuracy control: the layers of an int8 model that go back to float until little accuracy is lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

LIMIT = 0.01
"""The mIoU that an int8 file may lose."""

M = TypeVar("M")


@dataclass(frozen=True)
class Accepted(Generic[M]):
    """The int8 model that is accurate enough.

    Attributes:
        model: The model.
        in_float: The layers that are computed in float, most sensitive first.
        score: The score of the model.
    """

    model: M
    in_float: tuple[str, ...]
    score: float


def accurate(
    quantize: Callable[[Sequence[str]], M],
    score: Callable[[M], float],
    ranked: Callable[[], Sequence[str]],
    wanted: float,
    note: Callable[[str, float], None],
) -> Accepted[M] | None:
    """Return the int8 model that loses at most :data:`LIMIT`, or None if half of the layers in float do not suffice.

    Args:
        quantize: Returns the model in which these layers stay in float.
        score: Returns the score of a model.
        ranked: Returns the layers, the most sensitive first. It is called only if the int8 model loses too much.
        wanted: The score of the float model.
        note: Receives each layer that goes back to float, and the score that is lost with it in int8.
    """
    model = quantize(())
    value = score(model)
    if value >= wanted - LIMIT:
        return Accepted(model, (), value)
    layers = ranked()
    for count in range(1, len(layers) // 2 + 1):
        note(layers[count - 1], wanted - value)
        model = quantize(layers[:count])
        value = score(model)
        if value >= wanted - LIMIT:
            return Accepted(model, tuple(layers[:count]), value)
    return None
