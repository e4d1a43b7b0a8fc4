"""Parts of charts: texts, lines and circles as SVG, and names that fit. Everything in them is escaped."""

import unicodedata
from collections.abc import Sequence

from markupsafe import Markup

# Charts are drawn for this width in pixels, near the width of a phone, so that their text is never scaled down much.
WIDTH = 420

# Where names of rows end, and where the axis next to them starts.
NAMES, START = 144, 152

# Letters of a sans-serif font at 12 pixels, by their width in pixels. Others are as wide as most small letters.
WIDTHS = {**dict.fromkeys("fijlrtI.,:;'|!()[]/\\- ", 4.6), "w": 9.8, **dict.fromkeys("mMW@%#+<>=~…", 12.0)}


def width_of(text: str) -> float:
    """Return the estimated width of a text in pixels, for a wide font such as DejaVu Sans."""
    return sum(
        WIDTHS.get(each) or (12.0 if unicodedata.east_asian_width(each) in "WF" else 9.2 if each.isupper() else 7.4)
        for each in text
    )


def shortened(name: str, room: float) -> str:
    """Return a name that fits into a width. Its middle is left out: long names often differ at the end alone."""
    for kept in range(len(name), 1, -1):
        short = name if kept == len(name) else f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
        if width_of(short) <= room:
            return short
    return "…"


def row_name(name: str, middle: float) -> Markup:
    """Return the name of a row, whole in its title."""
    return Markup('<text class="name end" x="{}" y="{:.1f}">{}<title>{}</title></text>').format(
        NAMES, middle + 4, shortened(name, NAMES - 2), name
    )


def tick_below(x: float, y: float, label: str) -> Markup:
    """Return the label of a mark, centered below it, or at the edge of the chart if it would reach beyond."""
    if x + width_of(label) / 2 > WIDTH:
        return text_at(WIDTH - 1, y, label, "tick end")
    return text_at(x, y, label, "tick middle")


def chart_of(title: str, description: str, height: float, parts: Sequence[Markup], attributes: str = "") -> Markup:
    """Return a chart with its title and description."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h:.0f}" role="img" aria-label="{title}" {a}>'
        "<title>{title}</title><desc>{text}</desc>{parts}</svg>"
    ).format(w=WIDTH, h=height, a=attributes, title=title, text=description, parts=Markup("").join(parts))


def text_at(x: float, y: float, text: str, kind: str) -> Markup:
    """Return a text."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a line."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def circle(x: float, y: float, radius: float, kind: str) -> Markup:
    """Return a circle."""
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)
