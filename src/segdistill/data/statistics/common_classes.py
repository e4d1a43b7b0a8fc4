"""Common and rare classes. This module does not import PyTorch, so that tables can be written without it."""

from collections.abc import Mapping

RARE = 0.01
"""Classes with less than this share of the labeled pixels are rare."""


def common_classes(counts: Mapping[str, int], threshold: float = RARE) -> tuple[str, ...]:
    """Return the classes with at least ``threshold`` of all labeled pixels, the most frequent first.

    Table 4 of the GSKD paper (Park et al., 2025) groups the classes of Cityscapes by pixel frequency but does not state
    the threshold. Its boundary is between terrain (0.9 %) and bicycle (0.8 %), and its frequencies add up to 62 %. We
    use 1 % of the labeled pixels, the nearest round number.

    Args:
        counts: Pixels of each class; for classification, images of each class.
        threshold: Minimum share, in 0..1.
    """
    least = max(1, threshold * sum(counts.values()))  # absent classes are rare
    return tuple(name for name in sorted(counts, key=lambda name: -counts[name]) if counts[name] >= least)
