"""Small videos made for tests, and a student that needs no network."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from segdistill.data import Classes
from segdistill.data.decoding.images import Array
from segdistill.frames.segment import Student
from segdistill.frames.video import Frame, open_video
from segdistill.reports.drawing import Labels

RATE = Fraction(30000, 1001)
CLASSES = Classes(("dark", "bright", "never"), ((128, 64, 128), (244, 35, 232), (0, 0, 142)), void=(2,))


def picture(number: int, height: int = 48, width: int = 64) -> Array:
    """Return a picture whose upper left is white, and whose left part is bright up to a column that grows by 4."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[:, : 4 * (number % 12 + 1)] = 180
    pixels[:8, :8] = 255
    return pixels


def bright(pixels: Array) -> Labels:
    """Return 1 where the pixels are bright."""
    return (pixels.mean(axis=2) > 110).astype(np.uint8)


STUDENT = Student(bright, CLASSES)


def write_video(
    file: Path,
    frames: Sequence[Array],
    *,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    key_every: int | None = None,
) -> Path:
    """Write a video.

    Args:
        file: The file; its suffix is the container.
        frames: The frames, of one size.
        codec, pixels: The encoder and its pixel format. The default loses nothing.
        times: The time of each frame in milliseconds; by default, 30000/1001 frames per second.
        options: Options of the container.
        aspect: The width of a pixel divided by its height.
        key_every: The distance of key frames.
    """
    with av.open(str(file), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        if key_every is not None:
            stream.codec_context.gop_size = key_every
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, each in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(each, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def turned(file: Path, quarters: int) -> Path:
    """Ask players of an MP4 file to turn its frames clockwise by quarters, as phones do."""
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 4
    at += 4 + (32 if content[at] else 20) + 16
    one = 1 << 16
    matrix = {1: (0, one, -one, 0), 2: (-one, 0, 0, -one), 3: (0, -one, one, 0)}[quarters]
    content[at : at + 36] = struct.pack(">9i", matrix[0], matrix[1], 0, matrix[2], matrix[3], 0, 0, 0, 1 << 30)
    file.write_bytes(content)
    return file


def cut(file: Path, share: float) -> Path:
    """Cut a file off after a share of its bytes."""
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    return file


def frames_of(file: Path) -> list[Frame]:
    """Return all frames of a video."""
    with open_video(file) as video:
        return list(video)
