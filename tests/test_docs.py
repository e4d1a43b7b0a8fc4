"""Pages that are generated say what the code says."""

import json
import re
import runpy
from pathlib import Path

import pytest

from segdistill.catalogue.cards import BY_NAME

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
RESULTS = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/comparison.json"))
MEASURED = json.loads((ROOT / "benchmarks" / "losses.json").read_text(encoding="utf-8"))["losses"]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")  # as it is for a script in there


def test_what_the_losses_page_says_is_what_the_catalogue_says() -> None:
    section = runpy.run_path(str(ROOT / "docs" / "make_losses.py"))["section"]
    named = [line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## ")]
    losses = [name for name in named if name not in ("Cost", "Methods")]
    assert len(losses) > 20
    for name in losses:  # a loss that has just been added comes in with the next `make docs`
        assert section(BY_NAME[name]) in PAGE, "run: make docs"


@pytest.mark.parametrize("name", MEASURED)
def test_a_loss_that_costs_much_says_why(name: str) -> None:
    costs_much = MEASURED[name]["percent"] > 10 or MEASURED[name]["megabytes"] > 500
    assert costs_much == bool(BY_NAME[name].costly)


def test_what_the_performance_page_says_is_what_was_measured() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_performance.py"))["page"]
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page(text) == text, "run: make docs"


def test_what_the_results_page_says_is_what_the_comparisons_found() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_results.py"))
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for shown in (file.read_text(encoding="utf-8") for file in made["PAGES"]):
        assert made["page"](shown) == shown, "run: make docs"
    assert all(file.read_text(encoding="utf-8") == drawn for file, drawn in made["figures"](text).items())
    shown = re.findall(r"<!-- (?:scores|series): ([\w ]+) -->", text)
    assert {path.name for path in RESULTS} == {name for names in shown for name in names.split()}


def test_the_figures_of_the_results_name_what_they_compare_with() -> None:
    named = {"camvid": "the student alone", "scenes_equal_time": "none@time"}
    for name, reference in named.items():
        text = (ROOT / "docs" / "results" / name / "differences.svg").read_text(encoding="utf-8")
        assert f"<title>Differences to {reference}, all classes</title>" in text
        assert f">points of mIoU over {reference}</text>" in text


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_published_scores_follow_from_the_published_counts(folder: Path) -> None:
    runs = json.loads((folder / "comparison.json").read_text())["runs"]
    counts = json.loads((folder / "comparison_images.json").read_text())
    labels = [row[i : i + 2] for row in counts["labels"] for i in range(0, len(row), 2)]
    assert {run["folder"] for run in runs} == set(counts["runs"])
    for run in runs:
        answers = [row[i : i + 3] for row in counts["runs"][run["folder"]] for i in range(0, len(row), 3)]
        found = []
        for index in range(len(counts["classes"])):
            hits = sum(hit for number, hit, _ in answers if number == index)
            predicted = sum(pixels for number, _, pixels in answers if number == index)
            union = predicted - hits + sum(pixels for number, pixels in labels if number == index)
            found += [hits / union] if union else []
        assert sum(found) / len(found) == pytest.approx(run["miou"])


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_published_differences_follow_from_the_published_scores(folder: Path) -> None:
    record = json.loads((folder / "comparison.json").read_text())
    scores = {(run["method"], run["seed"]): 100 * run["miou"] for run in record["runs"]}
    differences = record["differences"]
    for row in (row for row in differences["rows"] if row["classes"] == "all"):
        seeds = {int(seed): value for seed, value in row["by_seed"].items()}
        expected = {seed: scores[row["method"], seed] - scores[differences["reference"], seed] for seed in seeds}
        assert seeds == pytest.approx(expected)
        assert row["difference_points"]["mean"] == pytest.approx(sum(expected.values()) / len(expected))
