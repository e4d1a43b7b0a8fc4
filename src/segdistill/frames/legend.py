"""Legend of the overlays: each class with its color, index and name."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from segdistill.data import Classes
from segdistill.frames.inputs import LEGEND, LEGEND_TITLE
from segdistill.reports.fonts import font as font_for
from segdistill.reports.fonts import missing
from segdistill.system.atomic import replacing

ROWS = 32
"""The number of classes in a column."""

GAP, LINE, SWATCH, TEXT = 10, 24, 34, 14


def write_legend(classes: Classes, out: Path) -> Path:
    """Write ``legend.png`` and return its path.

    The index is there for readers who cannot tell two colors of a palette apart: the masks hold it. Classes that mean
    void are left out, because they are not predicted.

    Args:
        classes: The classes.
        out: The folder.

    Raises:
        UserError: The file cannot be written.
    """
    shown = _shown(classes)
    columns = [shown[start : start + ROWS] for start in range(0, len(shown), ROWS)]
    font = _font(classes)
    widths = [
        GAP + 2 * SWATCH + GAP + round(max(font.getlength(classes.names[index]) for index in column))
        for column in columns
    ]
    height = 2 * GAP + LINE * max(map(len, columns), default=0)
    sheet = Image.new("RGB", (sum(widths) + GAP * (1 + len(columns)), height), "white")
    draw = ImageDraw.Draw(sheet)
    left = GAP
    for column, width in zip(columns, widths, strict=True):
        for row, index in enumerate(column):
            _entry(draw, left, GAP + row * LINE, index, classes, font)
        left += width + GAP
    stored = PngImagePlugin.PngInfo()
    stored.add_text("Title", LEGEND_TITLE)
    with replacing(out / LEGEND) as file:
        sheet.save(file, format="PNG", pnginfo=stored)
    return out / LEGEND


def has_boxes(classes: Classes) -> bool:
    """Return True if the legend shows a letter of a name as a box, because no installed font has it."""
    return bool(missing(_font(classes), "".join(classes.names[index] for index in _shown(classes))))


def _shown(classes: Classes) -> list[int]:
    return [index for index in range(len(classes)) if index not in classes.void]


def _font(classes: Classes) -> ImageFont.FreeTypeFont:
    return font_for(TEXT, [classes.names[index] for index in _shown(classes)])


def _entry(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    index: int,
    classes: Classes,
    font: ImageFont.FreeTypeFont,
) -> None:
    color = classes.palette[index]
    bottom, middle = top + LINE - 4, top + (LINE - 4) // 2
    draw.rectangle((left, top, left + SWATCH, bottom), fill="white", outline="black")
    draw.text((left + SWATCH // 2, middle), str(index), fill="black", font=font, anchor="mm")
    draw.rectangle((left + SWATCH, top, left + 2 * SWATCH, bottom), fill=color, outline="black")
    draw.text((left + 2 * SWATCH + GAP, middle), classes.names[index], fill="black", font=font, anchor="lm")
