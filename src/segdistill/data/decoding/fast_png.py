"""Faster decoding of plain RGB PNGs with kornia-rs, if the extra ``fast`` is installed. Pillow decodes all others."""

import struct
from collections.abc import Callable
from functools import cache as remember
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segdistill.data.decoding.sources import Array, Source

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = 33  # bytes of the signature and the chunk IHDR
_RGB_OF_8_BITS = bytes((8, 2, 0, 0, 0))  # depth, color, compression, filter, interlace

# Chunks and texts that Pillow does not apply to the pixels. Others may turn the picture (eXIf, texts with EXIF or XMP),
# give it an alpha channel (tRNS) or further frames (acTL).
_PLAIN = {b"IHDR", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"sBIT", b"bKGD", b"tIME"}
_PLAIN_TEXTS = {b"Software", b"Author", b"Title", b"Description", b"Comment", b"Copyright", b"Source", b"Creation Time"}


def decoded_png(path: Source) -> Array | None:
    """Return the pixels of a plain PNG, (H, W, 3), equal to Pillow's; None if Pillow has to decode the file.

    A file is plain if it has 3 channels of 8 bits, no interlacing, and no metadata that Pillow would apply. Pillow also
    gets the damaged files, and its error names them.
    """
    decode = _decoder()
    if decode is None:
        return None
    try:
        with path.open("rb") if isinstance(path, Path) else BytesIO(path.getvalue()) as file:
            header = file.read(_HEADER)
            if len(header) < _HEADER or header[:8] != _SIGNATURE or header[24:29] != _RGB_OF_8_BITS:
                return None
            content = header + file.read()
    except OSError:
        return None
    width, height = struct.unpack_from(">II", content, 16)
    limit = Image.MAX_IMAGE_PIXELS
    if not _is_plain(content) or (limit is not None and width * height > limit):
        return None
    try:
        return np.asarray(decode(content, (height, width), "rgb"))
    except Exception:  # kornia-rs raises no narrower type
        return None


@remember
def _decoder() -> Callable[..., Any] | None:
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:
        return None
    decoder: Callable[..., Any] = decode_image_png_u8
    return decoder


def _is_plain(content: bytes) -> bool:
    """Return True if all chunks leave the pixels as they are, and the last one ends the file."""
    position, name = len(_SIGNATURE), b""
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        text = content[position + 8 : position + 8 + length].partition(b"\0")[0] if name == b"tEXt" else None
        if name not in _PLAIN and text not in _PLAIN_TEXTS:
            return False
        position += length + 12
    return name == b"IEND" and position == len(content)
