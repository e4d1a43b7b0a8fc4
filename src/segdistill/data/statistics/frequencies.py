"""Class frequencies, and common and rare classes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.statistics.common_classes import RARE, common_classes
from segdistill.data.statistics.scan import scan_labels


@dataclass(frozen=True)
class ClassFrequencies:
    """Frequency of each class in a data set; entry ``i`` of each tuple belongs to class ``i``.

    Attributes:
        names: Names of the classes.
        counts: Pixels of each class; for classification, images of each class.
        images: Number of images that contain each class.
        void: Number of void pixels.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    images: tuple[int, ...]
    void: int = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each class among the labeled pixels, in 0..1."""
        total = sum(self.counts)
        return tuple(count / total if total else 0.0 for count in self.counts)

    def common(self, threshold: float = RARE) -> tuple[str, ...]:
        """Return the classes that are not rare, the most frequent first; see :func:`common_classes`."""
        return common_classes(dict(zip(self.names, self.counts, strict=True)), threshold)

    def rare(self, threshold: float = RARE) -> tuple[str, ...]:
        """Return the rare classes, the most frequent first."""
        common = self.common(threshold)
        return tuple(self.names[index] for index in self.order if self.names[index] not in common)

    @property
    def order(self) -> tuple[int, ...]:
        """Class indices, the most frequent first."""
        return tuple(sorted(range(len(self.names)), key=lambda index: -self.counts[index]))


def class_frequencies(
    dataset: SegmentationDataset | ClassificationDataset, indices: Iterable[int] | None = None
) -> ClassFrequencies:
    """Count the pixels of each class and the images that contain it, without decoding images.

    Args:
        dataset: Masks are read at their original size; ``scale`` is ignored.
        indices: Items to count; None for all.

    Raises:
        UserError: If some masks are unusable. The message shows the first ones and their number.
    """
    if isinstance(dataset, ClassificationDataset):
        images = Counter(dataset.label(index) for index in (range(len(dataset)) if indices is None else indices))
        counts = tuple(images[index] for index in range(len(dataset.classes)))
        return ClassFrequencies(dataset.classes.names, counts, counts)
    report = scan_labels(dataset, indices)
    report.check()
    return ClassFrequencies(dataset.classes.names, report.pixels, report.images, report.void)
