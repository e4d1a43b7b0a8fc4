"""Which classes are common and which rare. Imports nothing, so that tables can be written without PyTorch."""

from collections.abc import Mapping

RARE = 0.01
"""A class with a smaller share of the labeled pixels is rare."""


def common_classes(counts: Mapping[str, int], threshold: float = RARE) -> tuple[str, ...]:
    """Return the classes with at least this share of all that is labeled, the most frequent first.

    Table 4 of the GSKD paper (Park et al., 2025) groups the classes of Cityscapes by pixel frequency and does not say
    how: its cut lies between terrain, printed with 0.9 %, and bicycle, 0.8 %, and its column of frequencies adds up to
    62 %. 1 % of the labeled pixels is the round number next to that cut.

    Args:
        counts: Pixels of each class; of a classification set its images.
        threshold: The share, in 0..1.
    """
    least = max(1, threshold * sum(counts.values()))  # a class that never occurs is rare
    return tuple(name for name in sorted(counts, key=lambda name: -counts[name]) if counts[name] >= least)
