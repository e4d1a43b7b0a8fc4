"""Fonts of names: Pillow's own while it has the letters, otherwise an installed one."""

import io
import string
from typing import Any

import pytest
from PIL import ImageFont

from segdistill.reports.fonts import INSTALLED, font, missing
from tests.fonts import Drawn, install

FIRST, LAST = INSTALLED[0], INSTALLED[-1]


def default(size: int = 14) -> ImageFont.FreeTypeFont:
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


@pytest.mark.parametrize("size", range(8, 30))  # in some sizes, letters are as large as the box
def test_letters_that_a_font_lacks(size: int) -> None:
    assert missing(default(size), string.printable) == set()
    assert missing(default(size), "Straße\n\x07 жa 漢漢\u200d") == set("ßж漢")  # control characters have no picture


def test_a_space_is_no_letter_that_is_drawn_as_nothing() -> None:
    class Empty(Drawn):
        def getmask(self, text: Any, *args: Any, **options: Any) -> Any:
            return super().getmask(text if text.isascii() else " ", *args, **options)

    found = Empty(io.BytesIO(default().font_bytes), 14)
    assert missing(found, "a ж") == {"ж"}


def test_ascii_has_the_own_font_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FIRST)
    for texts in ([], [""], ["road", "the sky (void)"]):
        assert type(font(14, texts)) is ImageFont.FreeTypeFont


@pytest.mark.parametrize("name", [FIRST, LAST])
@pytest.mark.parametrize("texts", [["road", "Straße", "жш"], ["ß"]])
def test_other_letters_have_an_installed_font(monkeypatch: pytest.MonkeyPatch, name: str, texts: list[str]) -> None:
    install(monkeypatch, name)
    found = font(17, texts)
    assert isinstance(found, Drawn)
    assert found.size == 17


def test_a_font_that_lacks_a_letter_is_better_than_one_that_lacks_all(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FIRST)
    assert isinstance(font(14, ["Straße", "漢"]), Drawn)
    assert not isinstance(font(14, ["road", "漢"]), Drawn)


def test_without_installed_fonts_the_own_font_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert type(font(14, ["Straße"])) is ImageFont.FreeTypeFont


def test_a_font_of_this_machine() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 14)
    except OSError:
        pytest.skip("needs DejaVu Sans")
    assert missing(font(14, ["Straße", "дорога"]), "Straße дорога") == set()
