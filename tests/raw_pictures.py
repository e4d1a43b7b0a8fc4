"""PNG and TIFF files written byte by byte, of depths that Pillow does not write."""

import struct
import zlib

import numpy as np

GRAY, RGB, INDEXED, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Color types of PNG."""


def png(values: np.ndarray, bits: int = 8, color: int = GRAY, size: tuple[int, int] | None = None) -> bytes:
    """Return a PNG of values (H, W) or (H, W, channels).

    Args:
        values: What the file holds, each below 2 ** bits.
        bits: Per channel: 1, 2, 4, 8 or 16.
        color: The color type; INDEXED gets a palette of (0, 0, i).
        size: Width and height that the header claims, where they are not those of ``values``.
    """
    rows = values.reshape(len(values), -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        singles = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        packed = np.packbits(singles.reshape(len(rows), -1), axis=1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", *(size or (values.shape[1], len(values))), bits, color, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(v for i in range(2**bits) for v in (0, 0, i))) if color == INDEXED else b""
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, *, white_is_zero: bool = False) -> bytes:
    """Return an uncompressed TIFF of values (H, W) or (H, W, 3), whose dtype is that of the file."""
    height, width, channels = np.atleast_3d(values).shape
    bits, kind = values.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    meaning = 2 if channels == 3 else 0 if white_is_zero else 1
    short, long = 3, 4
    entries = 10
    after = 8 + 2 + 12 * entries + 4  # what does not fit into an entry, then the pixels
    fields = [
        (256, short, 1, width),
        (257, short, 1, height),
        (258, short, channels, after if channels == 3 else bits),
        (259, short, 1, 1),
        (262, short, 1, meaning),
        (273, long, 1, after + 12),
        (277, short, 1, channels),
        (278, short, 1, height),
        (279, long, 1, values.nbytes),
        (339, short, channels, after + 6 if channels == 3 else kind),
    ]
    table = b"".join(struct.pack("<HHII", *field) for field in fields)
    triples = struct.pack("<6H", *[bits] * 3, *[kind] * 3)
    little = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return struct.pack("<2sHIH", b"II", 42, 8, entries) + table + bytes(4) + triples + little


def bmp_of_8_bits(values: np.ndarray, palette: list[tuple[int, int, int]]) -> bytes:
    """Return a BMP of palette indices (H, W), one byte each; the width must be a multiple of 4."""
    height, width = values.shape
    colors = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    start = 14 + 40 + len(colors)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, values.size, 0, 0, len(palette), 0)
    pixels = values[::-1].astype(np.uint8).tobytes()
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + colors + pixels
