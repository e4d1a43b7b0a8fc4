"""How often each class occurs, and which classes are common and which rare."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from segdistill.data.datasets.base import ClassificationDataset, SegmentationDataset
from segdistill.data.statistics.common_classes import RARE, common_classes
from segdistill.data.statistics.scan import scan_labels


@dataclass(frozen=True)
class ClassFrequencies:
    """How often each class occurs in a dataset; entry ``i`` of each tuple belongs to class ``i``.

    Attributes:
        names: The classes.
        counts: Their pixels; of a classification set their images.
        images: The images that contain them.
        void: Pixels that belong to none.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    images: tuple[int, ...]
    void: int = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """Each class's share of what is labeled, in 0..1; void does not count."""
        total = sum(self.counts)
        return tuple(count / total if total else 0.0 for count in self.counts)

    def common(self, threshold: float = RARE) -> tuple[str, ...]:
        """Return the classes that are not rare, the most frequent first; see :func:`common_classes`."""
        return common_classes(dict(zip(self.names, self.counts, strict=True)), threshold)

    def rare(self, threshold: float = RARE) -> tuple[str, ...]:
        """Return the others, the most frequent first."""
        common = self.common(threshold)
        return tuple(self.names[index] for index in self.order if self.names[index] not in common)

    @property
    def order(self) -> tuple[int, ...]:
        """The class indices, the most frequent first."""
        return tuple(sorted(range(len(self.names)), key=lambda index: -self.counts[index]))


def class_frequencies(
    dataset: SegmentationDataset | ClassificationDataset, indices: Iterable[int] | None = None
) -> ClassFrequencies:
    """Count the pixels of each class in a dataset's masks and the images that contain it; images are not decoded.

    Args:
        dataset: Its ``scale`` does not count: masks are read at their own size.
        indices: Which items; None for all.

    Raises:
        UserError: If there are masks that cannot be used; shows the first and counts them.
    """
    if isinstance(dataset, ClassificationDataset):
        found = Counter(dataset.label(index) for index in (range(len(dataset)) if indices is None else indices))
        counts = tuple(found[index] for index in range(len(dataset.classes)))
        return ClassFrequencies(dataset.classes.names, counts, counts)
    report = scan_labels(dataset, indices)
    report.check()
    return ClassFrequencies(dataset.classes.names, report.pixels, report.images, report.void)
