"""Pictures of labels: overlays, and a grid that shows networks side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from segdistill.data import Classes
from segdistill.reports.fonts import font as font_for
from segdistill.system.atomic import replacing

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer]

END = b"IEND\xaeB`\x82"  # the last bytes of every PNG

GAP, TITLE, KEY, TEXT = 4, 16, 16, 10


def colored(labels: Labels, classes: Classes) -> Pixels:
    """Return labels of shape (H, W) as colors of shape (H, W, 3); void is black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.palette
    return palette[np.clip(labels, 0, 255)]


def overlaid(image: Pixels, labels: Labels, classes: Classes, opacity: float = 0.5) -> Pixels:
    """Return an image of shape (H, W, 3) with the labels' colors blended in; void pixels do not change.

    The opacity is rounded to 1/256: a mean in whole numbers is much faster than in floats, which videos need.
    """
    share = round(256 * opacity)
    palette = np.zeros((256, 3), np.uint16)
    palette[: len(classes)] = classes.palette
    mixed = image.astype(np.uint16)
    mixed *= 256 - share
    mixed += np.take(palette * np.uint16(share), labels, axis=0, mode="clip")
    mixed >>= 8
    found: Pixels = mixed.astype(np.uint8)
    void = labels == classes.ignore_index
    found[void] = image[void]
    return found


def is_whole(file: Path) -> bool:
    """Return True if a PNG exists and is complete."""
    return file.is_file() and file.read_bytes().endswith(END)


def grid(rows: Sequence[Mapping[str, Pixels]], classes: Classes, file: Path, *, width: int = 320) -> None:
    """Write a PNG with rows of titled pictures, and a key of the classes below them.

    The pictures of a row have one size; rows may differ. Each picture is scaled to ``width`` and keeps its ratio.
    """
    titles = list(rows[0])
    heights = [_height(next(iter(row.values())), width) for row in rows]
    across = len(titles) * (width + GAP) - GAP
    font = font_for(TEXT, [*titles, *classes.names])
    key_rows = _key_rows(classes, across, font)
    sheet = Image.new("RGB", (across, TITLE + sum(heights) + GAP * len(rows) + KEY * len(key_rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * (width + GAP), 1), title, fill="black", font=font)
    top = TITLE
    for row, height in zip(rows, heights, strict=True):
        for column, title in enumerate(titles):
            picture = Image.fromarray(row[title]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (column * (width + GAP), top))
        top += height + GAP
    for line, entries in enumerate(key_rows):
        top = sheet.height - KEY * (len(key_rows) - line)
        for left, index in entries:
            draw.rectangle((left, top + 2, left + 11, top + 13), fill=classes.palette[index], outline="gray")
            draw.text((left + 15, top + 2), classes.names[index], fill="black", font=font)
    with replacing(file) as opened:
        sheet.save(opened, format="PNG")


def _height(picture: Pixels, width: int) -> int:
    """Return the height of a picture that is scaled to a width."""
    high, wide = map(int, picture.shape[:2])
    return max(1, round(high * width / wide))


def _key_rows(classes: Classes, across: int, font: ImageFont.FreeTypeFont) -> list[list[tuple[int, int]]]:
    """Return the layout of the key: for each line, a list of (left edge, class)."""
    rows: list[list[tuple[int, int]]] = [[]]
    left = 0
    for index, name in enumerate(classes.names):
        size = 30 + round(font.getlength(name))
        if rows[-1] and left + size > across:
            rows.append([])
            left = 0
        rows[-1].append((left, index))
        left += size
    return rows
