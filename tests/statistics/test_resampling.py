"""Resamples of images: equal to counting their pixels again, and with the coverage that they promise."""

import numpy as np
import pytest
import torch

from segdistill.evaluation.scoring import Score
from segdistill.statistics import resampling
from segdistill.statistics.image_counts import ImageCounts, entries_of
from segdistill.statistics.resampling import ALL, percentile_interval, resampled_scores

CLASSES = ("road", "sky", "pole", "sign", "never")
GROUPS = {"common": ("road", "sky"), "rare": ("pole", "sign", "never")}


def pictures(task: str = "segmentation") -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels of 6 images; 255 is void. "sign" is in the labels of one image; "never" in none."""
    random = np.random.default_rng(3)
    shape = (6, 1) if task == "classification" else (6, 40)
    labels = random.integers(0, 3, shape)
    labels[2, :1] = 3
    if task == "segmentation":
        labels[:, 30:33] = 255
    predicted = np.where(random.random(shape) < 0.6, np.minimum(labels, 3), random.integers(0, 3, shape))
    return predicted, labels


def counts_of(predicted: np.ndarray, labels: np.ndarray, task: str, counted: tuple[str, ...] = ()) -> ImageCounts:
    """Count in plain loops."""
    table = np.zeros((len(labels), len(CLASSES), 3), np.int64)
    for image in range(len(labels)):
        for found, truth in zip(predicted[image], labels[image], strict=True):
            if truth != 255:
                table[image, truth, 0] += found == truth
                table[image, truth, 1] += 1
                table[image, found, 2] += 1
    return ImageCounts(task, CLASSES, counted, tuple(f"i{n}" for n in range(len(labels))), entries_of(table))


def from_scratch(predicted: np.ndarray, labels: np.ndarray, task: str, counted: tuple[str, ...]) -> Score:
    """Return the score of pixels, by the confusion matrix of the evaluation."""
    kept = labels != 255
    pairs = torch.from_numpy(labels[kept] * len(CLASSES) + predicted[kept])
    confusion = pairs.bincount(minlength=len(CLASSES) ** 2).view(len(CLASSES), -1)
    if task == "classification":
        return Score.of_classification(confusion, CLASSES)
    return Score.of_segmentation(confusion, CLASSES, counted=counted)


def mean_of(score: Score, names: tuple[str, ...]) -> float:
    present = [value for name, value in score.classes.items() if name in names and value is not None]
    return sum(present) / len(present) if present else float("nan")


@pytest.mark.parametrize("counted", [(), ("road", "never")])
@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("at_a_time", [10_000_000, 6 * 7])
def test_a_resample_is_the_score_of_its_images(
    task: str, counted: tuple[str, ...], at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "AT_A_TIME", at_a_time)  # pieces draw the same images
    counted = counted if task == "segmentation" else ()
    predicted, labels = pictures(task)
    found = resampled_scores(counts_of(predicted, labels, task, counted), GROUPS, resamples=50, seed=4)
    drawn = np.random.default_rng(4).integers(6, size=(50, 6))
    for number, images in enumerate(drawn):
        expected = from_scratch(predicted[images], labels[images], task, counted)
        assert found[ALL][number] == pytest.approx(expected.value, abs=1e-12)
        for name, group in GROUPS.items():
            assert found[name][number] == pytest.approx(mean_of(expected, group), abs=1e-12, nan_ok=True)
    assert len(set(np.round(found[ALL], 9))) >= 5
    assert np.isnan(found["rare"]).any() == (task == "classification")


def test_a_record_gives_the_counts_back() -> None:
    counts = counts_of(*pictures(), "segmentation", ("road",))
    record = counts.record()
    assert record["counts"][0][:4] == [0, *counts.entries[0, 2:].tolist()]
    again = ImageCounts.of(record)
    assert np.array_equal(again.entries, counts.entries)
    assert again.record() == record
    empty = ImageCounts.of({**record, "counts": [[]] * 6})
    assert empty.entries.shape == (0, 5)


@pytest.mark.parametrize("rows", [[[]], [[0, 1, 2]] * 6, [[9, 1, 1, 1]] * 6, [[0, -1, 1, 1]] * 6])
def test_a_damaged_record_is_an_error(rows: list[list[int]]) -> None:
    record = counts_of(*pictures(), "segmentation").record()
    with pytest.raises(ValueError, match=r"differ|out of range"):
        ImageCounts.of({**record, "counts": rows})


def test_the_percentiles_by_hand() -> None:
    assert percentile_interval(np.arange(0.0, 1001.0)) == pytest.approx((25, 975))
    assert percentile_interval(np.array([1.0, np.nan, 3.0])) == pytest.approx((1.05, 2.95))
    assert percentile_interval(np.array([np.nan, np.nan, 3.0])) is None
    assert percentile_interval(np.array([])) is None


def test_95_percent_of_the_intervals_contain_the_truth() -> None:
    # Two networks that find 70 and 75 % of the images of two classes; the truth is the difference, 5 points.
    random, covered, sets, images = np.random.default_rng(0), 0, 300, 150
    drawn = np.random.default_rng(5).integers(images, size=(400, images))
    for _ in range(sets):
        first, second = random.random(images) < 0.70, random.random(images) < 0.75
        difference = second[drawn].mean(1) - first[drawn].mean(1)
        counted = []
        for hits in (first, second):
            table = np.zeros((images, len(CLASSES), 3), np.int64)
            table[:, 0] = np.stack([hits, np.ones(images), hits], 1)
            table[:, 1, 2] = ~hits
            counted.append(
                ImageCounts("classification", CLASSES, (), tuple(map(str, range(images))), entries_of(table))
            )
        one, two = (resampled_scores(each, {}, resamples=400, seed=5)[ALL] for each in counted)
        assert np.allclose(two - one, difference)
        low, high = percentile_interval(two - one) or (0.0, 0.0)
        covered += low <= 0.05 <= high
    assert covered / sets == pytest.approx(0.95, abs=0.04)
