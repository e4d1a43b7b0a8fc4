"""Charts as SVG: dots over seeds, dots by class, and curves. Colors are classes, which the page's style defines.

Each chart has a title and a description for screen readers. Everything in them is escaped.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from markupsafe import Markup

from segdistill.reports.html.curves import Points
from segdistill.reports.html.shapes import START, WIDTH, chart_of, circle, line, row_name, text_at, tick_below

ROW = 26
COLORS = 6

Ends = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A scale from values to positions in pixels.

    Attributes:
        low, high: The values at its ends.
        start, end: The positions of its ends.
        ticks: The values with a mark.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, wanted: int = 5) -> "Axis":
        """Return an axis that covers the values, with ends at round numbers."""
        least, most = min(values), max(values)
        if math.isclose(least, most):
            margin = abs(least) * 0.1 or 1.0
            least, most = least - margin, most + margin
        step = _round_step((most - least) / wanted)
        low, high = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
        return cls(low * step, high * step, start, end, tuple(k * step for k in range(low, high + 1)))

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, tick: float) -> str:
        """Return the text of a mark."""
        return f"{0.0 if abs(tick) < 1e-12 else tick:,.10g}"


def dots(title: str, rows: Mapping[str, Sequence[float]], unit: str, *, reference: float | None = None) -> Markup:
    """Return a chart with a row for each name: a ring for each value, their mean as a dot, their deviation as a bar.

    Args:
        title: The title.
        rows: The values of each row; rows without values are empty.
        unit: The title of the axis.
        reference: A value to mark with a dashed line.
    """
    shown = [value for values in rows.values() for value in values]
    if not shown:
        return Markup("")
    spreads = {name: (fmean(values), stdev(values)) for name, values in rows.items() if len(values) > 1}
    shown += [end for mean, spread in spreads.values() for end in (mean - spread, mean + spread)]
    shown += [] if reference is None else [reference]
    axis = Axis.over(shown, START, WIDTH - 14)
    bottom = ROW * len(rows) + 8
    parts = _across(axis, bottom, unit)
    if reference is not None:
        parts.append(line(axis(reference), 0, axis(reference), bottom, "reference"))
    said = []
    for number, (name, values) in enumerate(rows.items()):
        middle = ROW * number + ROW / 2 + 4
        parts.append(row_name(name, middle))
        if not values:
            continue
        mean, spread = spreads.get(name, (values[0], 0.0))
        if spread:
            parts.append(line(axis(mean - spread), middle, axis(mean + spread), middle, "spread"))
        parts += [circle(axis(value), middle, 4.5, "ring") for value in values]
        parts.append(circle(axis(mean), middle, 3.5, "mean"))
        around = f" ± {spread:.2f}" if spread else ""
        said.append(f"{name} {mean:.2f}{around}")
    return chart_of(title, f"{unit}: {', '.join(said)}.", bottom + 34, parts)


def intervals(
    title: str, rows: Mapping[str, tuple[float, Sequence[Ends | None]]], names: Sequence[str], unit: str
) -> Markup:
    """Return a chart with a row for each name: a dot for the value, and a bar with end marks for each known interval.

    The first interval is drawn below the dot, the second above it, thinner and dashed, so that no color is needed.

    Args:
        title: The title.
        rows: The value of each row, and its intervals or None.
        names: The names of the intervals.
        unit: The title of the axis. A dashed line marks 0.
    """
    shown = [value for value, _ in rows.values()]
    shown += [end for _, ranges in rows.values() for each in ranges if each is not None for end in each]
    if not shown:
        return Markup("")
    axis = Axis.over([0.0, *shown], START, WIDTH - 14)
    bottom = ROW * len(rows) + 8
    parts = [*_across(axis, bottom, unit), line(axis(0.0), 0, axis(0.0), bottom, "reference")]
    said = []
    for number, (name, (value, ranges)) in enumerate(rows.items()):
        middle = ROW * number + ROW / 2 + 4
        parts.append(row_name(name, middle))
        text = f"{name} {value:+.2f}"
        for which, ends, (offset, kind) in zip(names, ranges, ((5, "spread"), (-5, "interval")), strict=False):
            if ends is None:
                continue
            low, high = (axis(end) for end in ends)
            height = middle + offset
            parts.append(line(low, height, high, height, kind))
            parts += [line(x, height - 3, x, height + 3, f"{kind} end-mark") for x in (low, high)]
            text += f", {which} {ends[0]:+.2f} to {ends[1]:+.2f}"
        parts.append(circle(axis(value), middle, 3.5, "mean"))
        said.append(text)
    return chart_of(title, f"{unit}: {'; '.join(said)}.", bottom + 34, parts)


def key_of_intervals(names: Sequence[str], drawn: Sequence[bool]) -> Markup:
    """Return the key of :func:`intervals`: the names of those that are drawn."""
    items = [
        Markup('<li><svg viewBox="0 0 26 16" aria-hidden="true">{}</svg>{}</li>').format(line(0, 8, 26, 8, kind), name)
        for kind, name, is_drawn in zip(("spread", "interval"), names, drawn, strict=False)
        if is_drawn
    ]
    return Markup('<ul class="key">{}</ul>').format(Markup("").join(items))


def by_class(title: str, rows: Mapping[str, Mapping[str, float | None]], unit: str, *, top: float = 0.0) -> Markup:
    """Return a chart with a row for each class and a mark for each network; a line joins the first two networks.

    Args:
        title: The title.
        rows: For each class, the value of each network, in the order of their marks: ring, dot, bar.
        unit: The title of the axis.
        top: The axis reaches at least this value, so that charts of several groups can be compared.
    """
    shown = [value for row in rows.values() for value in row.values() if value is not None]
    if not shown:
        return Markup("")
    axis = Axis.over([0.0, top, *shown], START, WIDTH - 14)
    bottom = ROW * len(rows) + 8
    parts = _across(axis, bottom, unit)
    for number, (name, row) in enumerate(rows.items()):
        middle = ROW * number + ROW / 2 + 4
        parts.append(row_name(name, middle))
        values = list(row.values())
        first, second = (*values, None, None)[:2]
        if first is not None and second is not None:
            parts.append(line(axis(first), middle, axis(second), middle, "gain" if second >= first else "loss"))
        for mark, value in zip(_MARKS, values, strict=False):
            if value is not None:
                parts.append(mark(axis(value), middle))
    names = ", ".join(next(iter(rows.values())))
    return chart_of(title, f"{unit} of {len(rows)} classes for {names}; the table has the numbers.", bottom + 34, parts)


def lines(title: str, series: Mapping[str, Points], y_title: str, *, x_title: str = "step") -> Markup:
    """Return a chart of curves. The arrow keys move a cursor in it, whose values the page's script reads.

    Args:
        title: The title.
        series: The points of each curve, by name. The color of a curve follows from its place in the order.
        y_title: The title of the vertical axis.
        x_title: The title of the horizontal axis.
    """
    points = [point for each in series.values() for point in each]
    if not points:
        return Markup("")
    left, bottom, height = 52, 200, 236
    across = Axis.over([x for x, _ in points], left, WIDTH - 14)
    up = Axis.over([y for _, y in points], bottom, 8)
    parts = []
    for tick in up.ticks:
        parts.append(line(left, up(tick), WIDTH - 14, up(tick), "grid"))
        parts.append(text_at(left - 6, up(tick) + 4, up.label(tick), "tick end"))
    for tick in across.ticks:
        parts.append(tick_below(across(tick), bottom + 16, across.label(tick)))
    parts.append(text_at((left + WIDTH - 14) / 2, bottom + 32, x_title, "axis middle"))
    parts.append(
        Markup('<text class="axis middle" transform="translate(12 104) rotate(-90)">{}</text>').format(y_title)
    )
    for number, (name, curve) in enumerate(series.items(), start=_first_color(series)):
        if not curve:
            continue
        places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve)
        steps, values = " ".join(str(x) for x, _ in curve), " ".join(f"{y:.5g}" for _, y in curve)
        parts.append(
            Markup('<polyline class="curve c{}" points="{}" data-name="{}" data-steps="{}" data-values="{}"/>').format(
                number % COLORS, places, name, steps, values
            )
        )
        if len(curve) == 1:
            parts.append(circle(across(curve[0][0]), up(curve[0][1]), 3, f"point c{number % COLORS}"))
    parts.append(line(left, 8, left, bottom, "cursor"))
    ends = "; ".join(f"{name} from {each[0][1]:.4g} to {each[-1][1]:.4g}" for name, each in series.items() if each)
    scale = Markup('tabindex="0" data-x="{} {} {} {}"').format(across.low, across.high, across.start, across.end)
    return chart_of(title, f"{y_title} by {x_title}: {ends}.", height, parts, scale)


def key(names: Sequence[str], kind: str = "curve") -> Markup:
    """Return the key of a chart: the names with the colors of curves, or with the marks of :func:`by_class`."""
    items = []
    for number, name in enumerate(names, start=_first_color(names) if kind == "curve" else 0):
        if kind == "curve":
            mark = Markup('<line class="curve c{}" x1="0" y1="8" x2="26" y2="8"/>').format(number % COLORS)
        else:
            mark = _MARKS[number % len(_MARKS)](13, 8)
        items.append(Markup('<li><svg viewBox="0 0 26 16" aria-hidden="true">{}</svg>{}</li>').format(mark, name))
    return Markup('<ul class="key">{}</ul>').format(Markup("").join(items))


def _first_color(names: Collection[str]) -> int:
    """Return the color of the first curve. A single curve has the second color: the first one is dashed."""
    return int(len(names) == 1)


def _across(axis: Axis, bottom: float, unit: str) -> list[Markup]:
    parts = []
    for tick in axis.ticks:
        parts.append(line(axis(tick), 0, axis(tick), bottom, "grid"))
        parts.append(tick_below(axis(tick), bottom + 14, axis.label(tick)))
    parts.append(text_at((axis.start + axis.end) / 2, bottom + 29, unit, "axis middle"))
    return parts


_MARKS: tuple[Callable[[float, float], Markup], ...] = (
    lambda x, y: circle(x, y, 5, "ring"),
    lambda x, y: circle(x, y, 5, "mean"),
    lambda x, y: line(x, y - 8, x, y + 8, "bar"),
)


def _round_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
