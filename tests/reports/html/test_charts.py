"""Charts: what is drawn where."""

import pytest

from segdistill.reports.html import charts
from tests.reports.html.parsed import Element, parse


def drawn(chart: str) -> Element:
    return parse(str(chart)).children[0]


def positions(chart: Element, tag: str, kind: str, name: str) -> list[float]:
    return [float(each[name]) for each in chart.all(tag) if each["class"] == kind]


def test_an_axis_has_round_marks_around_the_values() -> None:
    axis = charts.Axis.over([26.3, 47.9], 100, 400)
    assert axis.ticks == (25, 30, 35, 40, 45, 50)
    assert (axis(25), axis(50), axis(37.5)) == (100, 400, 250)
    assert charts.Axis.over([0.0, 0.3], 0, 1).ticks == pytest.approx((0, 0.1, 0.2, 0.3))
    assert charts.Axis.over([-1, 2], 0, 1).label(-0.0) == "0"


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-9, 1e12])
def test_a_single_value_has_an_axis(value: float) -> None:
    axis = charts.Axis.over([value], 0, 100)
    assert 0 < axis(value) < 100
    assert axis.low < value < axis.high


def test_dots_show_every_seed_their_mean_and_deviation() -> None:
    chart = drawn(charts.dots("Scores", {"alone": [40.0, 50.0], "kd": [60.0]}, "mIoU", reference=45.0))
    rings = positions(chart, "circle", "ring", "cx")
    (mean, other), (reference,) = positions(chart, "circle", "mean", "cx"), positions(chart, "line", "reference", "x1")
    assert len(rings) == 3
    assert mean == pytest.approx((rings[0] + rings[1]) / 2, abs=0.1)
    assert reference == mean
    assert other == rings[2]
    start, end = (positions(chart, "line", "spread", name)[0] for name in ("x1", "x2"))
    per_point = (rings[1] - rings[0]) / 10
    assert end - start == pytest.approx(2 * 50**0.5 * per_point, abs=0.2)  # sd of 40 and 50: sqrt(50)
    assert start > 144  # right of the names
    assert chart.all("title")[0].words() == "Scores"
    assert chart.all("desc")[0].words() == "mIoU: alone 45.00 ± 7.07, kd 60.00."


def test_an_interval_has_a_bar_with_end_marks_and_the_dot_is_the_value() -> None:
    rows: dict[str, tuple[float, list[tuple[float, float] | None]]] = {
        "kd": (2.0, [(1.0, 3.0), (-1.0, 4.0)]),
        "at": (-1.0, [None, (-2.0, 0.0)]),
    }
    chart = drawn(charts.intervals("Gains", rows, ["over seeds", "over images"], "points"))
    (zero,) = positions(chart, "line", "reference", "x1")
    first, second = positions(chart, "circle", "mean", "cx")
    point = (first - zero) / 2
    assert second == pytest.approx(zero - point, abs=0.1)
    assert positions(chart, "line", "spread", "x1") == pytest.approx([zero + point], abs=0.1)
    assert positions(chart, "line", "spread", "x2") == pytest.approx([zero + 3 * point], abs=0.1)
    assert positions(chart, "line", "interval", "x1") == pytest.approx([zero - point, zero - 2 * point], abs=0.1)
    assert positions(chart, "line", "interval", "x2") == pytest.approx([zero + 4 * point, zero], abs=0.1)
    assert len(positions(chart, "line", "interval end-mark", "x1")) == 4
    (below,), (above, _) = positions(chart, "line", "spread", "y1"), positions(chart, "line", "interval", "y1")
    assert below - above == 10  # they do not cover one another
    assert chart.all("desc")[0].words() == (
        "points: kd +2.00, over seeds +1.00 to +3.00, over images -1.00 to +4.00; at -1.00, over images -2.00 to +0.00."
    )
    assert charts.intervals("Gains", {}, [], "points") == ""


def test_a_class_has_a_mark_for_each_network_and_a_line_for_its_gain() -> None:
    rows = {"road": {"alone": 80.0, "kd": 90.0, "teacher": 95.0}, "pole": {"alone": 20.0, "kd": 10.0, "teacher": None}}
    chart = drawn(charts.by_class("Classes", rows, "IoU"))
    assert len(positions(chart, "circle", "ring", "cx")) == 2
    assert len(positions(chart, "line", "bar", "x1")) == 1
    (gain,), (loss,) = positions(chart, "line", "gain", "x1"), positions(chart, "line", "loss", "x1")
    assert gain > loss
    taller = drawn(charts.by_class("Classes", {"pole": {"alone": 1.0}}, "IoU", top=95.0))
    assert positions(taller, "circle", "ring", "cx") == pytest.approx([152 + 254 * 0.01], abs=0.1)  # of an axis to 100


def test_curves_keep_their_exact_values_for_the_cursor() -> None:
    chart = drawn(charts.lines("Loss", {"total": ((1, 0.93874), (50, 0.5)), "one": ((10, 0.7),)}, "value"))
    curves = chart.all("polyline")
    assert [each["data-name"] for each in curves] == ["total", "one"]
    assert (curves[0]["data-steps"], curves[0]["data-values"]) == ("1 50", "0.93874 0.5")
    low, high, start, end = map(float, chart["data-x"].split())
    x, y = map(float, curves[0]["points"].split()[1].split(","))
    assert x == pytest.approx(start + (50 - low) / (high - low) * (end - start), abs=0.1)
    assert y > float(curves[0]["points"].split()[0].split(",")[1])  # lower values are further down
    assert chart["tabindex"] == "0"
    assert len(positions(chart, "circle", "point c1", "cx")) == 1  # a curve of one point is a point


def test_without_values_there_is_no_chart() -> None:
    assert charts.dots("Scores", {"alone": []}, "mIoU", reference=3.0) == ""
    assert charts.by_class("Classes", {"road": {"alone": None}}, "IoU") == ""
    assert charts.lines("Loss", {"total": ()}, "value") == ""


def test_names_are_escaped_and_cut() -> None:
    name = '<b>"a very long name of a class"</b>'
    for chart in (
        charts.dots(name, {name: [1.0, 2.0]}, name),
        charts.by_class(name, {name: {name: 1.0}}, name),
        charts.lines(name, {name: ((1, 2.0), (2, 3.0))}, name),
        charts.key([name]),
    ):
        assert "<b>" not in chart
        assert name in drawn(chart).words() or name in drawn(chart).all("polyline")[0]["data-name"]
    names = [each for each in drawn(charts.dots("t", {name: [1.0]}, "u")).all("text") if each["class"] == "name end"]
    short = names[0].words().removesuffix(name)  # the whole name is in the title
    start, end = short.split("…")
    assert name.startswith(start)
    assert name.endswith(end)


def test_names_are_shortened_in_the_middle_by_their_width() -> None:
    def shown(*names: str) -> list[str]:
        texts = drawn(charts.dots("t", dict.fromkeys(names, (1.0,)), "u")).all("text")
        return [str(each.content[0]) for each in texts if each["class"] == "name end"]

    one, other = (f"a_very_long_name_of_method_{number}" for number in (1, 2))
    assert shown("knowledge_adaptation", "student alone") == ["knowledge_adaptation", "student alone"]
    assert shown(one, other) == ["a_very_lo…_method_1", "a_very_lo…_method_2"]
    assert shown("i" * 30, "語" * 11, "語" * 12) == ["i" * 30, "語" * 11, "語" * 5 + "…" + "語" * 5]


@pytest.mark.parametrize("last", [6, 3000, 100_000, 1_000_000])
def test_no_label_reaches_beyond_the_chart(last: int) -> None:
    curve = drawn(charts.lines("Loss", {"total": ((0, 1.0), (last, 0.5))}, "value"))
    dots = drawn(charts.dots("Scores", {"kd": [0.0, float(last)]}, "points"))
    for chart in (curve, dots):
        labels = [
            each for each in chart.all("text") if each["class"].startswith("tick") and each.words() == f"{last:,}"
        ]
        (label,) = labels
        wide = 7.7 * len(label.words())  # a digit of DejaVu Sans at 12 pixels has 7.63
        x, is_end = float(label["x"]), label["class"] == "tick end"
        assert (x if is_end else x + wide / 2) <= 420
        assert is_end == (last >= 3000 and chart is curve)  # the axis of dots goes on to the end of their deviation


@pytest.mark.parametrize("names", [["kd"], ["student alone", "kd"], list("abcdefgh")])
def test_a_curve_has_the_color_of_its_name_in_the_key(names: list[str]) -> None:
    chart = drawn(charts.lines("Loss", dict.fromkeys(names, ((1, 2.0), (2, 3.0))), "value"))
    marks = drawn(charts.key(names)).all("line")
    colors = [each["class"] for each in chart.all("polyline")]
    assert [each["class"] for each in marks] == colors
    assert len(names) > 1 or colors == ["curve c1"]  # the first color is dashed
