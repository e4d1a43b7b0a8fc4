"""Pages that are generated say what the code says."""

import json
import runpy
from pathlib import Path

import pytest

from segdistill.catalogue.cards import BY_NAME

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
MEASURED = json.loads((ROOT / "benchmarks" / "losses.json").read_text(encoding="utf-8"))["losses"]


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
