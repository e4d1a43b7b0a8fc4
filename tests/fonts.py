"""Fonts for tests: the machine has a font for a few letters that Pillow's own font lacks, or it has none."""

import io
from typing import Any

import pytest
from PIL import ImageFont

LETTERS = str.maketrans("жшßщ", "fgBh")
"""Letters of the installed font, each with the Latin letter that it is drawn as."""

TRUETYPE = ImageFont.truetype


class Drawn(ImageFont.FreeTypeFont):
    """Pillow's own font with more letters."""

    def getmask(self, text: Any, *args: Any, **options: Any) -> Any:
        return super().getmask(text.translate(LETTERS), *args, **options)

    def getmask2(self, text: Any, *args: Any, **options: Any) -> Any:
        return super().getmask2(text.translate(LETTERS), *args, **options)

    def getlength(self, text: Any, *args: Any, **options: Any) -> float:
        return super().getlength(text.translate(LETTERS), *args, **options)


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Install fonts of these names, and remove all others."""

    def truetype(name: Any, size: float = 10, *args: Any, **options: Any) -> ImageFont.FreeTypeFont:
        if not isinstance(name, str):
            return TRUETYPE(name, size, *args, **options)  # Pillow's own font
        if name not in names:
            raise OSError("cannot open resource")
        default = ImageFont.load_default(size)
        assert isinstance(default, ImageFont.FreeTypeFont)
        return Drawn(io.BytesIO(default.font_bytes), size, layout_engine=ImageFont.Layout.BASIC)  # as the default

    monkeypatch.setattr(ImageFont, "truetype", truetype)
