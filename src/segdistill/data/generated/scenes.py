"""Generated street scenes: a data set without files, the same on every machine."""

from segdistill.data.caches import Cache
from segdistill.data.datasets.base import SegmentationDataset
from segdistill.data.decoding.images import Array
from segdistill.data.generated.base import Generated
from segdistill.data.generated.street import draw_street
from segdistill.data.layouts.generated import SCENES

LENGTHS = {"train": 400, "val": 60, "test": 100}


class Scenes(Generated, SegmentationDataset):
    """Street scenes with exact labels, drawn by :mod:`segdistill.data.generated.street`.

    Args:
        split: "train", "val" or "test"; scene ``i`` of a split is always the same.
        length: The number of scenes; by default that in :data:`LENGTHS`.
        size: Height and width in pixels.
        scale, native_labels, cache: See :class:`~segdistill.data.datasets.base.SegmentationDataset`.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        length: int | None = None,
        size: tuple[int, int] = (96, 160),
        scale: float | None = None,
        native_labels: bool = False,
        cache: Cache = False,
    ) -> None:
        super().__init__(SCENES, scale=scale, native_labels=native_labels, cache=cache)
        self._set_up("scenes", LENGTHS, split, length, size)

    def read(self, index: int) -> tuple[Array, Array]:
        """Draw the scene."""
        return draw_street(self._chance(index), *self.size)
