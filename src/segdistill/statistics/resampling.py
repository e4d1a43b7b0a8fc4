"""Bootstrap over images: the scores of a network on resamples of its images, equal for all networks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segdistill.statistics.image_counts import ImageCounts
from segdistill.statistics.paired import Interval

RESAMPLES, SEED = 2000, 0

# The largest table of how often each image is drawn, in numbers.
AT_A_TIME = 10_000_000

ALL = "all"

Floats = NDArray[np.float64]


def resampled_scores(
    counts: ImageCounts,
    groups: Mapping[str, Sequence[str]],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Floats]:
    """Return the scores on each resample, in 0..1: the metric under "all", and the mean of each group of classes.

    A resample of N images draws N of them with replacement, by ``default_rng(seed)``: networks with equal numbers of
    images have equal resamples. A resample is scored like a data set of its images, as in
    :class:`segdistill.evaluation.scoring.Score`. A score is NaN if no class of a group occurs.

    Args:
        counts: The counts of each image.
        groups: The names of the classes of each group.
        resamples: The number of resamples.
        seed: The seed of the draws.
    """
    parts = [scores(_sums(counts, drawn), counts, groups) for drawn in _draws(len(counts.images), resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def scores(sums: Floats, counts: ImageCounts, groups: Mapping[str, Sequence[str]]) -> dict[str, Floats]:
    """Return the scores of sums over images, shape (..., classes, 3); see :func:`resampled_scores`."""
    hits, labels, predicted = np.moveaxis(sums, -1, 0)
    is_classification = counts.task == "classification"
    totals = labels if is_classification else labels + predicted - hits
    shares = np.where(totals > 0, hits / np.maximum(totals, 1), np.nan)
    counted = np.isin(counts.classes, counts.counted)
    shares = np.where(np.isnan(shares) & counted, 0.0, shares)
    overall = hits.sum(-1) / np.maximum(labels.sum(-1), 1) if is_classification else _mean(shares)
    return {
        ALL: overall,
        **{name: _mean(shares[..., np.isin(counts.classes, group)]) for name, group in groups.items()},
    }


def percentile_interval(differences: Floats) -> Interval | None:
    """Return the 2.5th and 97.5th percentile of the finite differences; None if fewer than half are finite."""
    finite = differences[np.isfinite(differences)]
    if not len(finite) or 2 * len(finite) < len(differences):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def _draws(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each image is drawn, shape (images, resamples), for some resamples at a time."""
    generator = np.random.default_rng(seed)
    at_a_time = max(1, AT_A_TIME // max(1, images))
    for first in range(0, resamples, at_a_time):
        count = min(at_a_time, resamples - first)
        drawn = generator.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)
        yield np.ascontiguousarray(times.T, dtype=np.float64)


def _sums(counts: ImageCounts, drawn: Floats) -> Floats:
    """Return the sums over the drawn images, shape (resamples, classes, 3)."""
    sums = np.zeros((drawn.shape[1], len(counts.classes), 3))
    entries = counts.entries[np.argsort(counts.entries[:, 1], kind="stable")]
    ends = np.searchsorted(entries[:, 1], np.arange(len(counts.classes) + 1))
    for index, (first, last) in enumerate(pairwise(ends)):
        of_class = entries[first:last]
        times = drawn if len(of_class) == len(drawn) else drawn[of_class[:, 0]]
        sums[:, index] = (of_class[:, 2:].T.astype(np.float64) @ times).T
    return sums


def _mean(shares: Floats) -> Floats:
    """Return the mean over the last axis without NaN; NaN if nothing is left."""
    present = ~np.isnan(shares)
    number = present.sum(-1)
    total = np.where(present, shares, 0.0).sum(-1)
    mean: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return mean
