"""Generated pictures of one shape each: a classification data set without files, learned in seconds."""

import numpy as np
from numpy.typing import NDArray

from segdistill.data.caches import Cache
from segdistill.data.datasets.base import ClassificationDataset
from segdistill.data.decoding.images import Array
from segdistill.data.generated.base import Generated
from segdistill.data.layouts.generated import SHAPES

LENGTHS = {"train": 600, "val": 120, "test": 120}


class Shapes(Generated, ClassificationDataset):
    """Noisy pictures of a shape on a darker ground. Size, rotation, position and colors do not depend on the class.

    Args:
        split: "train", "val" or "test"; picture ``i`` of a split is always the same.
        length: The number of pictures; by default that in :data:`LENGTHS`. The classes alternate.
        size: Height and width in pixels.
        scale, cache: See :class:`~segdistill.data.datasets.base.ImageDataset`.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        length: int | None = None,
        size: tuple[int, int] = (32, 32),
        scale: float | None = None,
        cache: Cache = False,
    ) -> None:
        super().__init__(SHAPES, scale=scale, cache=cache)
        self._set_up("shapes", LENGTHS, split, length, size)

    def read_image(self, index: int) -> Array:
        """Draw the picture."""
        return draw_shape(self._chance(index), self.classes.names[self.label(index)], self.size)

    def label(self, index: int) -> int:
        """Return the class; the classes alternate."""
        return index % len(self.classes)


def draw_shape(rng: np.random.Generator, shape: str, size: tuple[int, int]) -> Array:
    """Return a picture of one shape on a plain ground, as uint8 of shape (H, W, 3)."""
    height, width = size
    radius = min(size) * rng.uniform(0.3, 0.45)
    center = [rng.uniform(radius, extent - radius) for extent in size]
    y, x = np.ogrid[:height, :width]
    down, right = (y + 0.5 - center[0]) / radius, (x + 0.5 - center[1]) / radius
    turn = rng.uniform(0, 2 * np.pi)
    inside = _inside(shape, np.cos(turn) * right - np.sin(turn) * down, np.sin(turn) * right + np.cos(turn) * down)
    ground = rng.uniform(0, 120, 3)
    ink = ground + rng.uniform(80, 135, 3)  # brighter in every channel
    pixels = np.where(inside[..., None], ink, ground) + rng.normal(0, 12, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def _inside(shape: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return True for the points (u, v) inside the shape, which fits the unit circle."""
    r, along, across = np.hypot(u, v), np.abs(u), np.abs(v)
    inside: NDArray[np.bool_] = {
        "disc": r < 0.9,
        "ring": (r > 0.5) & (r < 1),
        "square": np.maximum(along, across) < 0.75,
        "triangle": (v < 0.5) & (np.sqrt(3) * along - v < 1),
        "cross": (np.minimum(along, across) < 0.22) & (np.maximum(along, across) < 0.95),
        "bars": (along < 0.85) & (across > 0.25) & (across < 0.65),
    }[shape]
    return inside
