"""Differences with intervals, from run folders written by hand."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from segdistill.comparison.compare import print_differences
from segdistill.reports.summary import Entry, Summary, summarize
from segdistill.runs.image_counts import write_image_counts
from segdistill.statistics.image_counts import ImageCounts, entries_of
from tests.reports.test_summary import RECIPE
from tests.tiny import said

PAGE = Path(__file__).parents[2] / "docs" / "compare.md"
CLASSES = ("road", "sky", "pole")
PIXELS = {"road": 700, "sky": 295, "pole": 5}
Table = np.ndarray[Any, np.dtype[np.int64]]


def labeled(images: int = 20) -> Table:
    """Return label pixels of each image and class; every other image has no pole."""
    labels = np.random.default_rng(0).integers(50, 100, (images, 3))
    labels[:, 2] = np.where(np.arange(images) % 2, 0, 5)
    return labels


def predictions(labels: Table, accuracy: float, seed: int) -> Table:
    """Return a table of hits, labels and predictions; the pixels that are missed are taken for the next class."""
    hits = np.random.default_rng(seed).binomial(labels, accuracy)
    predicted = hits + np.roll(labels - hits, 1, axis=1)
    return np.stack([hits, labels, predicted], axis=2)


def iou(table: Table) -> dict[str, float | None]:
    hits, labels, predicted = table.sum(0).T
    union = labels + predicted - hits
    return {name: float(hits[n] / union[n]) if union[n] else None for n, name in enumerate(CLASSES)}


def write(folder: Path, table: Table, *, keeps_images: bool = True, **more: Any) -> None:
    """Write the folder of a run whose result agrees with its images."""
    folder.mkdir(parents=True)
    classes = iou(table)
    present = [value for value in classes.values() if value is not None]
    result = {"miou": sum(present) / len(present), "iou": classes, "split": "test", "params": 1, "seconds": 1, **more}
    (folder / "result.json").write_text(json.dumps(result))
    if keeps_images:
        names = tuple(f"frame {n}" for n in range(len(table)))
        write_image_counts(folder, ImageCounts("segmentation", CLASSES, (), names, entries_of(table)))


def compared(folder: Path, methods: tuple[str, ...] = ("none", "kd", "cwd"), seeds: int = 3, **more: Any) -> Summary:
    entries = [Entry(method, seed, folder / f"{method}-s{seed}") for method in methods for seed in range(seeds)]
    return summarize(entries, RECIPE, PIXELS, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three seeds of the student alone, of kd, which is better, and of cwd, which is equal but for noise."""
    for method, accuracy in (("none", 0.70), ("kd", 0.80), ("cwd", 0.70)):
        for seed in range(3):
            table = predictions(labeled(), accuracy, seed + 10 * len(method))
            write(tmp_path / f"{method}-s{seed}", table)
    return tmp_path


def row(summary: Summary, method: str, group: str = "all") -> dict[str, Any]:
    rows = summary.record()["differences"]["rows"]
    return next(each for each in rows if (each["method"], each["classes"]) == (method, group))


def test_the_statistics_over_seeds_by_hand(tmp_path: Path) -> None:
    for method, scores in (("none", (0.40, 0.41, 0.42)), ("kd", (0.41, 0.43, 0.45)), ("at", (0.40, 0.41, 0.425))):
        for seed, score in enumerate(scores):
            (tmp_path / f"{method}-s{seed}").mkdir()
            classes = {"road": score, "sky": score, "pole": None if seed == 0 else score + 0.1}
            result = {"miou": score, "iou": classes, "split": "test", "params": 1, "seconds": 1}
            (tmp_path / f"{method}-s{seed}" / "result.json").write_text(json.dumps(result))
    summary = compared(tmp_path, ("none", "kd", "at"))
    found = row(summary, "kd")
    assert found["by_seed"] == pytest.approx({0: 1, 1: 2, 2: 3})
    assert (found["difference_points"]["mean"], found["difference_points"]["std"]) == pytest.approx((2, 1))
    assert found["over_seeds"] == pytest.approx({"low": 2 - 2.4841, "high": 2 + 2.4841}, abs=1e-4)
    assert found["p"] == pytest.approx(0.07418, abs=1e-5)
    # at: 0, 0, 0.5 has t = 1 and p = 1 - 1 / sqrt(3); by Holm, kd's is doubled.
    assert row(summary, "at")["p"] == pytest.approx(1 - 3**-0.5)
    assert found["p_holm"] == pytest.approx(2 * 0.07418, abs=1e-5)
    assert row(summary, "at")["p_holm"] == pytest.approx(1 - 3**-0.5)
    assert (found["over_images"], found["exceeds"], found["seeds_needed"]) == (None, "no", 5)
    assert row(summary, "kd", "common")["by_seed"] == pytest.approx({0: 1, 1: 2, 2: 3})
    assert row(summary, "kd", "rare")["by_seed"] == pytest.approx({1: 2, 2: 3})  # absent in both with seed 0
    assert summary.differences.conclusions["all"] == (
        "all classes, 3 seeds: no difference exceeds the interval over seeds: kd +2.00 (would need about 5 seeds), "
        "at +0.17 (would need about 26 seeds)"
    )
    assert summary.differences.conclusions["rare"].startswith("rare classes, 2 seeds: ")
    assert summary.differences.missing == (
        "no interval over images of 9 of 9 runs: they have other images, or no images.json, which earlier versions did "
        "not write",
    )
    assert summary.differences.missing[0] in summary.files()["comparison.md"]


def test_an_interval_over_images_by_hand(folder: Path) -> None:
    found = row(compared(folder), "kd")
    tables = {
        (method, seed): predictions(labeled(), accuracy, seed + 10 * len(method))
        for method, accuracy in (("none", 0.70), ("kd", 0.80))
        for seed in range(3)
    }
    drawn = np.random.default_rng(0).integers(20, size=(2000, 20))
    differences = []
    for images in drawn:
        means = {
            run: np.mean([v for v in iou(table[images]).values() if v is not None]) for run, table in tables.items()
        }
        differences.append(np.mean([100 * (means["kd", seed] - means["none", seed]) for seed in range(3)]))
    assert list(found["over_images"].values()) == pytest.approx(list(np.percentile(differences, [2.5, 97.5])))
    assert found["over_images"]["low"] < found["difference_points"]["mean"] < found["over_images"]["high"]


def test_what_follows_is_one_sentence_for_each_group(folder: Path) -> None:
    summary = compared(folder)
    kd, cwd = row(summary, "kd"), row(summary, "cwd")
    assert (kd["exceeds"], cwd["exceeds"]) == ("both", "no")
    first, common, rare = summary.differences.conclusions.values()
    gains = [each["difference_points"]["mean"] for each in (kd, cwd)]
    assert first == (
        f"all classes, 3 seeds: exceeds the intervals over seeds and images: kd {gains[0]:+.2f}; "
        f"not: cwd {gains[1]:+.2f} (would need {needed(cwd)} seeds)"
    )
    assert common.startswith("common classes, 3 seeds: ")
    assert rare.startswith("rare classes, 3 seeds: ")
    assert summary.differences.missing == ()
    written = summary.files()
    for name in ("comparison.md", "comparison.tex"):
        assert "ifferences in mIoU to the student alone, points, with 95" in written[name]
    assert f"* {first}\n" in written["comparison.md"]
    lines = list(csv.DictReader(io.StringIO(written["comparison_differences.csv"])))
    assert [(line["method"], line["classes"]) for line in lines[:3]] == [
        ("kd", "all"),
        ("kd", "common"),
        ("kd", "rare"),
    ]
    assert float(lines[0]["over_images_low"]) == kd["over_images"]["low"]
    assert float(lines[0]["difference_points_std"]) == kd["difference_points"]["std"]


def needed(found: dict[str, Any]) -> str:
    number = found["seeds_needed"]
    return f"about {number}" if isinstance(number, int) else "more than 100"


def test_it_fits_80_columns(folder: Path) -> None:
    console = Console(file=io.StringIO(), width=80)
    found = compared(folder).differences
    print_differences(found, console)
    lines = said(console).splitlines()
    tables = [line for line in lines if line.startswith(("method", "kd ", "cwd "))]
    assert [line.split()[0] for line in tables] == ["method", "kd", "cwd"] * 3
    assert max(map(len, tables)) <= 80
    assert re.fullmatch(r"kd +\S+ ± \S+ +\S+ to \S+ +\S+ to \S+ +0\.\d{3} +both +\d+ *", tables[1])
    for conclusion in found.conclusions.values():
        assert conclusion in lines


def test_against_another_method(folder: Path) -> None:
    summary = compared(folder, against="kd")
    assert {each["method"] for each in summary.record()["differences"]["rows"]} == {"none", "cwd"}
    assert row(summary, "none")["difference_points"]["mean"] == pytest.approx(
        -row(compared(folder), "kd")["difference_points"]["mean"]
    )
    assert summary.differences.table.title.startswith("differences in mIoU to kd")


def test_a_run_without_images_has_no_interval_over_them(folder: Path) -> None:
    (folder / "cwd-s1" / "images.json").unlink()
    (folder / "kd-s2" / "images.json").write_text("{")
    summary = compared(folder)
    assert row(summary, "kd")["over_images"] is None
    assert row(summary, "kd")["exceeds"] == "seeds"
    assert len(summary.differences.missing) == 1
    assert "of 2 of 9 runs" in summary.differences.missing[0]
    assert set(json.loads(summary.files()["comparison_images.json"])["runs"]) == {
        "none-s0", "none-s1", "none-s2", "kd-s0", "kd-s1", "cwd-s0", "cwd-s2",
    }  # fmt: skip


def test_runs_on_other_images_are_not_paired(folder: Path) -> None:
    other = labeled()
    other[0, 0] += 1
    (folder / "kd-s0" / "images.json").unlink()
    (folder / "kd-s0" / "result.json").unlink()
    (folder / "kd-s0").rmdir()
    write(folder / "kd-s0", predictions(other, 0.8, 1))
    assert row(compared(folder), "kd")["over_images"] is None
    assert row(compared(folder), "cwd")["over_images"] is not None


def test_one_seed_has_an_interval_over_images_only(folder: Path) -> None:
    summary = compared(folder, seeds=1)
    found = row(summary, "kd")
    assert (found["over_seeds"], found["p"], found["p_holm"], found["seeds_needed"]) == (None,) * 4
    assert found["exceeds"] == "images"
    assert summary.differences.conclusions["all"].startswith(
        "all classes, 1 seed: exceeds the interval over images: kd +"
    )
    assert summary.differences.missing == ("no interval over seeds: it needs two seeds or more",)


def test_one_seed_without_images_has_no_table(folder: Path) -> None:
    for file in folder.rglob("images.json"):
        file.unlink()
    summary = compared(folder, seeds=1)
    assert summary.differences.table.rows == ()
    assert len(summary.differences.missing) == 2
    assert "comparison_images.json" not in summary.files()


def test_classified_images(tmp_path: Path) -> None:
    names = tuple(f"image {n}" for n in range(30))
    labels = np.random.default_rng(1).integers(0, 2, 30)
    for method, wrong in (("none", 12), ("kd", 2)):
        for seed in range(2):
            predicted = labels.copy()
            predicted[seed : seed + wrong] = 2
            table = np.zeros((30, 3, 3), np.int64)
            table[np.arange(30), labels, 1] = 1
            table[np.arange(30), predicted, 2] = 1
            table[np.arange(30), labels, 0] = labels == predicted
            run = tmp_path / f"{method}-s{seed}"
            run.mkdir()
            accuracy = {n: float((predicted == labels)[labels == i].mean()) for i, n in enumerate(CLASSES[:2])}
            result = {"top1": 1 - wrong / 30, "accuracy": {**accuracy, "pole": None}}
            (run / "result.json").write_text(json.dumps({**result, "split": "val", "params": 1, "seconds": 1}))
            write_image_counts(run, ImageCounts("classification", CLASSES, (), names, entries_of(table)))
    summary = compared(tmp_path, ("none", "kd"), 2)
    found = row(summary, "kd")
    assert found["by_seed"] == pytest.approx({0: 100 / 3, 1: 100 / 3})
    assert found["exceeds"] == "both"
    assert "top-1 accuracy" in summary.differences.table.title
    assert {each["classes"] for each in summary.record()["differences"]["rows"]} == {"all", "common"}  # no pole


def test_the_snippet_of_the_page_computes_the_intervals_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = compared(folder)
    (folder / "comparison.json").write_text(json.dumps(summary.record()))
    (folder / "comparison_images.json").write_text(summary.files()["comparison_images.json"])
    section = PAGE.read_text(encoding="utf-8").partition("## Statistics of a comparison")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    monkeypatch.chdir(folder)
    exec(compile(code, "page", "exec"), {})
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", capsys.readouterr().out)]
    found = row(summary, "kd")
    ends = [*found["over_seeds"].values(), *found["over_images"].values()]
    assert printed == pytest.approx(ends, abs=2e-3)


def test_the_counts_of_a_large_comparison_fit(tmp_path: Path) -> None:
    """Nine methods, three seeds, 233 images, 11 classes at 960x720."""
    random = np.random.default_rng(0)
    classes = tuple(f"class {n}" for n in range(11))
    labels = random.multinomial(960 * 720, random.dirichlet(np.ones(11)), size=233)
    entries = []
    for method in range(9):
        for seed in range(3):
            hits = random.binomial(labels, 0.7)
            table = np.stack([hits, labels, hits + np.roll(labels - hits, 1, axis=1)], axis=2)
            folder = tmp_path / f"m{method}-s{seed}"
            folder.mkdir()
            score = dict.fromkeys(classes, 0.5)
            result = {"miou": 0.5, "iou": score, "split": "test", "params": 1, "seconds": 1}
            (folder / "result.json").write_text(json.dumps(result))
            names = tuple(f"0016E5_{n:05d}" for n in range(233))
            write_image_counts(folder, ImageCounts("segmentation", classes, (), names, entries_of(table)))
            entries.append(Entry("none" if method == 0 else f"m{method}", seed, folder))
    summary = summarize(entries, RECIPE, dict.fromkeys(classes, 1))
    assert len(summary.files()["comparison_images.json"]) < 1_500_000


def test_a_row_of_one_seed_does_not_exceed_an_interval_that_it_lacks(folder: Path) -> None:
    for seed in (1, 2):
        (folder / f"kd-s{seed}" / "images.json").unlink()
        (folder / f"kd-s{seed}" / "result.json").unlink()
    summary = compared(folder)
    kd, said = row(summary, "kd"), summary.differences.conclusions["all"]
    assert (kd["over_seeds"], kd["exceeds"]) == (None, "images")
    assert said.startswith("all classes, 1 to 3 seeds: no difference exceeds the intervals over seeds and images: ")
    assert f"kd {kd['difference_points']['mean']:+.2f} (no interval over seeds)" in said
