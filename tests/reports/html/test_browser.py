"""The report in headless Chromium: what it loads, how it looks at two widths, and its controls by keyboard."""

from dataclasses import replace
from pathlib import Path

import pytest

from segdistill.data import Classes
from segdistill.reports.html.content import comparison_content
from segdistill.reports.html.page import write_page
from tests.reports.html.browser import CHROMIUM, Page
from tests.reports.html.folders import measured, scene, write_comparison

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `make test-browser` installs Debian's")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "run"
    write_comparison(folder, {"none": [0.40, 0.50], "kd": [0.44, 0.52], "a very long name of a method": [0.41, 0.50]})
    found = measured(scene("first", networks=3), scene("second", size=(480, 640), networks=3))
    return write_page(comparison_content(folder, replace(found, classes=Classes(("road", "sky", "<script>")))))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_loads_nothing_logs_nothing_and_fits(file: Path, chromium: Page, width: int, dark: bool) -> None:
    chromium.open(file, width=width, dark=dark)
    assert chromium.requests == [file.resolve().as_uri()]
    assert chromium.problems == []
    loaded, every = chromium.images()
    assert loaded == every == 2 * 7  # image, labels, three students and two differences
    assert chromium.run("document.documentElement.scrollWidth") <= width
    lightness = chromium.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(lightness) < 60) == dark
    sizes = chromium.run(
        "[...document.querySelectorAll('svg.chart text')].filter(t => t.getClientRects().length)"
        ".map(t => 12 * t.ownerSVGElement.getBoundingClientRect().width / t.ownerSVGElement.viewBox.baseVal.width)"
    )
    assert min(sizes) >= 9  # a wide chart would shrink its text on a phone
    texts = "[...document.querySelectorAll('svg.chart text')].filter(t => t.getClientRects().length)"
    beyond = (
        f"{texts}.filter(t => {{ const r = t.getBoundingClientRect(), c = t.ownerSVGElement.getBoundingClientRect();"
    )
    beyond += " return r.left < c.left - 1 || r.right > c.right + 1 }).map(t => t.textContent)"
    assert chromium.run(beyond) == []


def test_a_heading_sorts_by_keyboard(file: Path, chromium: Page) -> None:
    chromium.open(file)
    chromium.run("document.querySelectorAll('table')[0].tHead.rows[0].cells[2].querySelector('button').focus()")
    names = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[0].textContent)"
    state = "[...document.querySelectorAll('table')[0].tHead.rows[0].cells].map(c => c.getAttribute('aria-sort'))"
    assert chromium.run(names) == ["student alone", "kd", "a very long name of a method"]
    chromium.run("document.activeElement.click()")
    assert chromium.run(names) == ["kd", "a very long name of a method", "student alone"]
    assert chromium.run(state)[:3] == ["none", "none", "descending"]
    chromium.run("document.activeElement.click()")
    assert chromium.run(names) == ["student alone", "a very long name of a method", "kd"]
    assert chromium.run(state)[2] == "ascending"
    chromium.run("document.querySelectorAll('table')[0].tHead.rows[0].cells[3].querySelector('button').click()")
    assert chromium.run(names)[-1] == "student alone"  # it has no gain: a missing value is last
    assert chromium.run(state)[2:4] == ["none", "descending"]


def test_the_divider_moves_by_keyboard_and_says_what_it_shows(file: Path, chromium: Page) -> None:
    chromium.open(file)
    chromium.run("document.querySelector('.divider').focus()")
    chromium.press("ArrowLeft", 30)
    assert chromium.run("document.querySelector('.stack').style.getPropertyValue('--cut')") == "20%"
    cut = "getComputedStyle(document.querySelector('.stack .left')).clipPath"
    assert chromium.run(cut) == "inset(0px 80% 0px 0px)"
    said = "document.querySelector('.divider').getAttribute('aria-valuetext')"
    assert chromium.run(said) == "20 percent student alone, the rest method 1"
    chromium.run("const s = document.querySelector('select[data-side=right]'); s.value = 0;"
                 "s.dispatchEvent(new Event('change'))")  # fmt: skip
    shown = "[...document.querySelectorAll('.stack')[0].querySelectorAll('.layer')]"
    visible = (
        f"{shown}.filter(l => getComputedStyle(l).display !== 'none').map(l => l.querySelector('span').textContent)"
    )
    assert chromium.run(visible) == ["ground truth", "student alone"]
    assert chromium.run(said) == "20 percent student alone, the rest ground truth"
    chromium.run("document.getElementById('tiles').click()")
    assert len(chromium.run(visible)) == 6


def test_the_arrow_keys_read_a_curve(file: Path, chromium: Page) -> None:
    chromium.open(file)
    chromium.run("document.querySelector('svg[data-x]').focus()")
    output = "document.querySelector('svg[data-x]').parentElement.querySelector('output').textContent"
    chromium.press("ArrowRight", 2)
    # the means of the two seeds at step 2 of 6: (40 + 50) / 2 / 3, (44 + 52) / 2 / 3, (41 + 50) / 2 / 3
    assert chromium.run(output) == "step 2: student alone 15, kd 16, a very long name of a method 15.167"
    chromium.press("End")
    assert chromium.run(output).startswith("step 6: student alone 45,")
    chromium.press("ArrowRight")
    assert chromium.run(output).startswith("step 6: ")
