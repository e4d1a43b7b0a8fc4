"""Fonts for names in pictures. Pillow's own font ends at ASCII, so other names are drawn with an installed font."""

from collections.abc import Iterable, Iterator

from PIL import ImageFont

# Files that systems install, by which Pillow finds them in the folders of the system; those with more scripts are last.
INSTALLED = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "FreeSans.ttf",  # Linux
    "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf",
    "NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "unifont.ttf",
    "Arial Unicode.ttf", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc",  # macOS
    "segoeui.ttf", "arial.ttf", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "Nirmala.ttf", "Nirmala.ttc",  # Windows
)  # fmt: skip

NO_LETTER = "\U0010ffff"  # a code point that Unicode assigns to no letter: every font draws its box


def font(size: int, texts: Iterable[str]) -> ImageFont.FreeTypeFont:
    """Return a font that has all letters of the texts: Pillow's own, otherwise the first installed one.

    If no font has all letters, the font that lacks the fewest is returned, and Pillow's own among equals.
    """
    letters = "".join(texts)
    best, fewest = None, len(letters) + 1
    for found in _fonts(size):
        count = len(missing(found, letters))
        if count < fewest:
            best, fewest = found, count
        if count == 0:
            break
    assert best is not None
    return best


def missing(found: ImageFont.FreeTypeFont, text: str) -> set[str]:
    """Return the letters that a font draws as the box of an unknown letter."""
    box = _drawn(found, NO_LETTER)
    letters = {letter for letter in text if letter.isprintable() and not letter.isspace()}
    return {letter for letter in letters if _drawn(found, letter) == box}


def _fonts(size: int) -> Iterator[ImageFont.FreeTypeFont]:
    default = ImageFont.load_default(size)
    assert isinstance(default, ImageFont.FreeTypeFont)
    yield default
    for name in INSTALLED:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:  # not installed, or damaged
            continue


def _drawn(found: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = found.getmask(letter)
    return mask.size, bytes(mask)
