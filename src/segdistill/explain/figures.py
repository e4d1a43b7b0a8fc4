"""Figures drawn with Pillow: maps as colors, matrices and scatter plots with names, and sheets of titled pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from segdistill.data import Classes
from segdistill.explain.files import mark
from segdistill.reports.drawing import Pixels
from segdistill.reports.fonts import font as font_for
from segdistill.system.atomic import replacing

Values = npt.NDArray[np.floating]

# The colors of cividis (Nuñez et al., 2018, https://doi.org/10.1371/journal.pone.0199239) at equal steps: lightness
# grows with the value, and readers with and without color blindness see nearly the same colors.
CIVIDIS = np.array([
    (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115),
    (138, 134, 120), (165, 156, 116), (195, 179, 105), (225, 204, 85), (254, 232, 56),
])  # fmt: skip

GAP, LINE = 6, 18


@dataclass(frozen=True)
class Bar:
    """The legend of a map's colors.

    Attributes:
        label: What the values are, with their unit.
        low, high: The values of the first and the last color.
    """

    label: str
    low: float
    high: float


def heat(values: Values, low: float, high: float) -> Pixels:
    """Return values of shape (H, W) as colors of shape (H, W, 3); those outside ``low`` and ``high`` are cut off."""
    share = np.clip((np.asarray(values, np.float64) - low) / max(high - low, 1e-12), 0, 1) * (len(CIVIDIS) - 1)
    steps = np.arange(len(CIVIDIS))
    channels = [np.interp(share, steps, CIVIDIS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def over_gray(image: Pixels, colors: Pixels, opacity: float = 0.65) -> Pixels:
    """Return colors of shape (H, W, 3) over the image in gray."""
    gray = image.mean(axis=2, keepdims=True)
    mixed: Pixels = ((1 - opacity) * gray + opacity * colors).round().astype(np.uint8)
    return mixed


def marked(image: Pixels, places: Sequence[tuple[float, float]], labels: Sequence[int], classes: Classes) -> Pixels:
    """Return an image with a marker of the class's color and shape at each place, which is a row and a column."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for (row, column), label in zip(places, labels, strict=True):
        _marker(draw, column, row, label, classes.palette[label], max(3.0, min(image.shape[:2]) / 60))
    return np.asarray(picture)


def scatter(points: Values, labels: Sequence[int], classes: Classes, size: int) -> Pixels:
    """Return points (P, 2) as a plot of ``size`` pixels, each with the color and shape of its class."""
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 10
    scaled = margin + (points - low) / np.maximum(high - low, 1e-12) * (size - 2 * margin)
    for (x, y), label in zip(scaled.tolist(), labels, strict=True):
        _marker(draw, x, size - y, label, classes.palette[label], 4)
    draw.rectangle((0, 0, size - 1, size - 1), outline="gray")
    return np.asarray(picture)


def matrix(values: Values, names: Sequence[str], low: float, high: float, *, cell: int = 22) -> Pixels:
    """Return a matrix as colors with the names of rows (left) and columns (below)."""
    font = font_for(11, names)
    room = 6 + max((round(font.getlength(name)) for name in names), default=0)
    side = cell * len(names)
    picture = Image.new("RGB", (room + side, side + room), "white")
    picture.paste(Image.fromarray(heat(values, low, high)).resize((side, side), Image.Resampling.NEAREST), (room, 0))
    draw = ImageDraw.Draw(picture)
    below = Image.new("RGB", (room, side), "white")
    turned = ImageDraw.Draw(below)
    for index, name in enumerate(names):
        top = index * cell + cell // 2
        draw.text((room - 4, top), name, fill="black", font=font, anchor="rm")
        turned.text((room - 4, top), name, fill="black", font=font, anchor="rm")
    picture.paste(_upright(below), (room, side))
    return np.asarray(picture)


def sheet(
    file: Path,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Pixels]]],
    *,
    width: int = 240,
    bars: Sequence[Bar] = (),
    classes: Classes | None = None,
    shown: Sequence[int] = (),
    note: str = "",
) -> Path:
    """Write a PNG of titled pictures in rows and columns, with color bars, a key of classes and a note below.

    Args:
        file: The PNG.
        title: The title.
        columns: Titles of the columns.
        rows: For each row its name, and a picture of shape (H, W, 3) for each column.
        width: Width of a picture in pixels; its height keeps the ratio. A column is as wide as its title, if that is
            wider.
        bars: Legends of colors.
        classes, shown: The classes to name with their colors, and the indices of those that occur.
        note: A line of text.
    """
    named = [classes.names[index] for index in shown] if classes is not None else []
    font = font_for(12, [*columns, *(name for name, _ in rows), *(bar.label for bar in bars), *named, note])
    bold = font_for(15, [title])
    side = max((round(font.getlength(line)) + 10 for name, _ in rows for line in name.split("\n")), default=0)
    heights = [max(max(1, round(width * each.shape[0] / each.shape[1])) for each in cells) for _, cells in rows]
    step = max(width, *(round(font.getlength(text)) for text in columns)) + GAP
    across = max(side + len(columns) * step, 360, round(bold.getlength(title)) + 2 * GAP)
    key = _key(classes, shown, across, font) if classes is not None else []
    notes = _wrapped(note, across - 2 * GAP, font)
    top = LINE * 3
    bottom = top + sum(heights) + GAP * len(heights)
    picture = Image.new("RGB", (across, bottom + 2 * LINE * len(bars) + LINE * (len(key) + len(notes)) + GAP), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), title, fill="black", font=bold)
    for column, text in enumerate(columns):
        draw.text((side + column * step, top - LINE), text, fill="black", font=font)
    for (name, cells), height in zip(rows, heights, strict=True):
        draw.multiline_text((GAP, top + height // 2), name, fill="black", font=font, anchor="lm")
        for column, each in enumerate(cells):
            size = (width, max(1, round(width * each.shape[0] / each.shape[1])))
            way = Image.Resampling.BOX if size[0] < each.shape[1] else Image.Resampling.NEAREST
            picture.paste(Image.fromarray(each).resize(size, way), (side + column * step, top))
        top += height + GAP
    for bar in bars:
        _draw_bar(picture, draw, bar, top, font)
        top += 2 * LINE
    for line in key:
        for left, index, name in line:
            assert classes is not None
            _marker(draw, left + 6, top + LINE / 2, index, classes.palette[index], 5)
            draw.text((left + 16, top + 2), name, fill="black", font=font)
        top += LINE
    for text in notes:
        draw.text((GAP, top), text, fill="black", font=font)
        top += LINE
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as opened:
        picture.save(opened, format="PNG", pnginfo=mark())
    return file


def _upright(names: Image.Image) -> Image.Image:
    """Turn a column of names, so that they are read from below, the first on the left."""
    return names.transpose(Image.Transpose.ROTATE_90)


def _marker(draw: ImageDraw.ImageDraw, x: float, y: float, index: int, fill: tuple[int, int, int], r: float) -> None:
    """Draw a circle, square, diamond or triangle, by class, so that color is not the only difference."""
    shape = index % 4
    if shape == 0:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline="black")
    elif shape == 1:
        draw.rectangle((x - r, y - r, x + r, y + r), fill=fill, outline="black")
    elif shape == 2:
        draw.polygon(((x, y - r - 1), (x + r + 1, y), (x, y + r + 1), (x - r - 1, y)), fill=fill, outline="black")
    else:
        draw.polygon(((x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r)), fill=fill, outline="black")


def _draw_bar(
    picture: Image.Image, draw: ImageDraw.ImageDraw, bar: Bar, top: int, font: ImageFont.FreeTypeFont
) -> None:
    low, high, length = f"{bar.low:.3g}", f"{bar.high:.3g}", 150
    left = GAP + round(font.getlength(low)) + 4
    colors = heat(np.linspace(0, 1, length)[None].repeat(12, axis=0), 0, 1)
    picture.paste(Image.fromarray(colors), (left, top + 4))
    draw.text((GAP, top + 2), low, fill="black", font=font)
    draw.text((left + length + 4, top + 2), high, fill="black", font=font)
    draw.text((GAP, top + LINE), bar.label, fill="black", font=font)


def _key(
    classes: Classes, shown: Sequence[int], across: int, font: ImageFont.FreeTypeFont
) -> list[list[tuple[int, int, str]]]:
    """Return the layout of the key: for each line, a list of (left edge, class, name)."""
    lines: list[list[tuple[int, int, str]]] = [[]]
    left = GAP
    for index in shown:
        size = 28 + round(font.getlength(classes.names[index]))
        if lines[-1] and left + size > across:
            lines.append([])
            left = GAP
        lines[-1].append((left, index, classes.names[index]))
        left += size
    return lines


def _wrapped(text: str, across: int, font: ImageFont.FreeTypeFont) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= across:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
