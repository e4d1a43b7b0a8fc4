"""The report of a comparison on CamVid, from the command to headless Chromium."""

from pathlib import Path

import pytest
from rich.console import Console

from segdistill.jobs.compare import compare
from tests.reports.html.browser import CHROMIUM, Page
from tests.tiny import TINY

CAMVID = Path(__file__).parents[4] / "shared" / "data" / "camvid"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `make test-browser` installs Debian's"),
    pytest.mark.skipif(not CAMVID.is_dir(), reason="needs CamVid in ../shared/data/camvid"),
]
COUNTS = {"train": 6, "val": 2, "test": 4}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of two methods and two seeds on a few images."""
    folder = tmp_path_factory.mktemp("camvid")
    for split, count in COUNTS.items():
        for part in (split, f"{split}annot"):
            (folder / part).mkdir()
            for file in sorted((CAMVID / part).iterdir())[:count]:
                (folder / part / file.name).symlink_to(file)
    tiny = [change for change in TINY if not change.startswith(("data.size", "data.images", "method"))]
    changes = [*tiny, f"data.root={folder}", "data.allow_empty_classes=true"]
    compare("camvid", changes, methods="kd,at", seeds="0,1", run_dir=folder / "run", console=Console(quiet=True))
    return folder / "run" / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_opens_without_errors_or_requests(report: Path, chromium: Page, width: int, dark: bool) -> None:
    chromium.open(report, width=width, dark=dark)
    assert chromium.requests == [report.resolve().as_uri()]
    assert chromium.problems == []
    loaded, every = chromium.images()
    assert loaded == every >= COUNTS["test"]
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert report.stat().st_size < 2 * 2**20


def test_every_class_is_in_a_table_and_every_table_sorts(report: Path, chromium: Page) -> None:
    chromium.open(report)
    text = chromium.run("document.body.textContent")
    assert all(name in text for name in ("sky", "pole", "signsymbol", "bicyclist"))
    sorts = "[...document.querySelectorAll('th button')]"
    assert chromium.run(f"{sorts}.length") > 10
    chromium.run(f"{sorts}.forEach(button => button.click())")
    assert chromium.problems == []


def test_the_divider_and_the_curves_answer_to_keys(report: Path, chromium: Page) -> None:
    chromium.open(report)
    chromium.run("document.querySelector('.divider').focus()")
    before = chromium.run("document.querySelector('.stack').style.getPropertyValue('--cut')")
    chromium.press("ArrowLeft", 5)
    assert chromium.run("document.querySelector('.stack').style.getPropertyValue('--cut')") != before
    chromium.run("document.querySelector('svg[data-x]').focus()")
    chromium.press("End")
    output = "document.querySelector('svg[data-x]').parentElement.querySelector('output').textContent"
    assert chromium.run(output).startswith("step 6: student alone ")
