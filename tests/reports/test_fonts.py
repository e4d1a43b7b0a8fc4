"""Fonts of names: Pillow's own while it has the letters, otherwise an installed one."""

import pytest
from PIL import ImageFont

from segdistill.reports.fonts import INSTALLED, font, missing
from tests.fonts import Drawn, install

FIRST, LAST = INSTALLED[0], INSTALLED[-1]


def default(size: int = 14) -> ImageFont.FreeTypeFont:
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def test_letters_that_a_font_lacks() -> None:
    assert missing(default(), "road, 7") == set()
    assert missing(default(), "Straße\n\t жa 漢漢") == set("ßж漢")  # spaces and control characters have no letter


def test_ascii_has_the_own_font_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FIRST)
    for texts in ([], [""], ["road", "the sky (void)"]):
        assert type(font(14, texts)) is ImageFont.FreeTypeFont


@pytest.mark.parametrize("name", [FIRST, LAST])
def test_other_letters_have_an_installed_font(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install(monkeypatch, name)
    found = font(17, ["road", "Straße", "жш"])
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
