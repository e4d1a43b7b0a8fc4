"""Frames of a video file or of a camera, decoded by PyAV, with their times."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segdistill.data.decoding.images import Array
from segdistill.errors import UserError

CAMERA_TIMEOUT = 10.0
"""Seconds after which a camera that gives no frame is given up."""


class Frame(NamedTuple):
    """One frame of a video.

    Attributes:
        pixels: RGB, uint8, shape (H, W, 3), upright.
        time: Seconds since the first frame.
    """

    pixels: Array
    time: Fraction


class Video:
    """Open video whose frames are read once, by iterating over it.

    Frames are turned as the file asks for, which phones do, and keep their times: a variable frame rate stays one.
    Packets that cannot be decoded are left out.

    Args:
        container: The open container of PyAV.
        name: The name for messages.
        live: Whether it is a camera, which has no end.

    Attributes:
        name: The name for messages.
        rate: The mean number of frames per second that the file states.
        time_base: The unit of the frames' times in seconds.
        count: The number of frames, as far as the file states it; None if it does not.
        pixel_aspect: The width of a pixel divided by its height, known with the first frame.
    """

    def __init__(self, container: Any, name: str, *, live: bool = False) -> None:
        self.name, self._container, self._live = name, container, live
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.time_base = Fraction(self._stream.time_base or 1 / self.rate)
        self.count = None if live else self._stream.frames or self._estimate()
        self.pixel_aspect = Fraction(1)
        self._damaged = 0
        self._broken = False
        self._joined = False  # whether the packets, but not yet the frames, have come to another recording
        self._decoding_time = -math.inf
        self._start = Fraction(0)
        self._last: Fraction | None = None

    def __iter__(self) -> Iterator[Frame]:
        for packet in self._packets():
            for frame in self._decoded(packet):
                turns = round(frame.rotation / 90) % 4  # counterclockwise
                pixels = frame.to_ndarray(format="rgb24")
                aspect = Fraction(self._stream.sample_aspect_ratio or 1) or Fraction(1)
                self.pixel_aspect = 1 / aspect if turns % 2 else aspect
                self._last = self._time(frame)
                yield Frame(np.ascontiguousarray(np.rot90(pixels, turns)), self._last)

    def note(self, seconds: float | None = None) -> str | None:
        """Return a line on what could not be read, or None if all was. Call it after the last frame.

        Args:
            seconds: The end that was wanted, as for :func:`segdistill.frames.segment.segment_video`. A video or camera
                that has reached it has no note.
        """
        end = 0 if self._last is None else self._last + 1 / self.rate
        if seconds is not None and float(end) >= seconds:
            return None
        if self._live:
            return f"{self.name} stopped after {float(end):.1f} s" if self._broken else None
        expected = self._seconds()
        short = expected is not None and end < expected - max(Fraction(1, 2), 2 / self.rate)
        if self._broken or short:
            whole = "" if expected is None else f" of {float(expected):.1f} s"
            return f"{self.name} breaks off at {float(end):.1f} s{whole}; the frames before are kept"
        if self._damaged:
            packets = "1 packet" if self._damaged == 1 else f"{self._damaged} packets"
            return f"{self.name} is damaged: {packets} cannot be decoded; the other frames are kept"
        return None

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of the video; the last one is empty, and makes the decoder give its last frames."""
        import av

        packets = self._container.demux(self._stream)
        heard = time.monotonic()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                # A camera of macOS has no frame yet.
                if isinstance(error, BlockingIOError) and time.monotonic() - heard < CAMERA_TIMEOUT:
                    time.sleep(0.005)
                    packets = self._container.demux(self._stream)
                    continue
                self._broken = True
                yield None
                return
            heard = time.monotonic()
            if packet.dts is not None:
                self._joined |= packet.dts < self._decoding_time
                self._decoding_time = packet.dts
            if packet.is_corrupt and not self._live:  # if no other follows, the file is cut in the middle of it
                self._broken = True
                self._damaged += 1
            else:
                yield packet

    def _decoded(self, packet: Any) -> list[Any]:
        import av

        try:
            frames = list(self._stream.codec_context.decode(packet))
            if packet is not None and packet.size:  # the decoder may give its frame later
                self._broken = False
            return frames
        except EOFError:  # the last frames were given before
            return []
        except av.FFmpegError:
            self._damaged += 1
            return []

    def _time(self, frame: Any) -> Fraction:
        """Return the time of a frame. Times grow, even if those in the file are missing or do not.

        If another recording is joined to this one, so that they jump back, its first frame follows the last one, and
        later frames keep their distances. After damage single frames are late, which is no jump: packets keep theirs.
        """
        if frame.pts is None:
            return Fraction(0) if self._last is None else self._last + 1 / self.rate
        stated = Fraction(frame.pts) * Fraction(frame.time_base or self.time_base)
        if self._last is None:
            self._start = stated
            return Fraction(0)
        if self._joined and stated - self._start < self._last - 1 / self.rate:
            self._joined = False
            self._start = stated - self._last - 1 / self.rate
        return max(stated - self._start, self._last + self.time_base)

    def _estimate(self) -> int | None:
        seconds = self._container.duration
        return None if seconds is None else round(seconds * self.rate / 1_000_000) or None

    def _seconds(self) -> Fraction | None:
        """Return the length of the video that the file states. Sound may be longer."""
        if self._stream.duration is not None:
            return Fraction(self._stream.duration) * Fraction(self._stream.time_base)
        if self._container.duration is not None and len(self._container.streams) == 1:
            return Fraction(self._container.duration, 1_000_000)
        return None


def check_package(what: str) -> None:
    """Raise unless PyAV is installed.

    Raises:
        UserError: It is missing; the message starts with ``what``.
    """
    if find_spec("av") is None:
        raise UserError(f'{what} needs the package av: pip install "segdistill[video]"')


@contextmanager
def open_video(file: Path) -> Iterator[Video]:
    """Open a video file.

    Raises:
        UserError: PyAV is missing, or the file is damaged or has no video.
    """
    check_package(str(file))
    import av

    try:
        container = av.open(f"file:{file}")  # a name such as "concat:x" is no address
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or "FFmpeg cannot open it"
        raise UserError(f"cannot read {file}: {reason}; it is no video or a damaged one: replace it") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{file} has no video stream; give a file with pictures")
        if container.streams.video[0].codec_context is None:
            raise UserError(f"{file} has a format that FFmpeg cannot decode; convert it to H.264")
        yield Video(container, file.name)


def camera_device(index: int) -> tuple[str, str, dict[str, str]]:
    """Return address, format and options of FFmpeg for a camera.

    Raises:
        UserError: PyAV is missing, or there is no such camera.
    """
    check_package(f"camera {index}")
    if sys.platform == "darwin":
        return str(index), "avfoundation", {"framerate": "30"}
    if sys.platform != "linux":
        raise UserError(f"camera {index}: cameras are read on Linux and macOS only; record a video and give its file")
    device = Path(f"/dev/video{index}")
    if not device.exists():
        there = sorted(int(file.name[5:]) for file in device.parent.glob("video*") if file.name[5:].isdecimal())
        known = f"there are: {', '.join(map(str, there))}" if there else "there are no cameras"
        raise UserError(f"no camera {index}: {device} does not exist; {known}")
    return str(device), "v4l2", {}


@contextmanager
def open_camera(index: int) -> Iterator[Video]:
    """Open a camera by its index.

    Raises:
        UserError: PyAV is missing, there is no such camera, or it is in use.
    """
    address, format, options = camera_device(index)
    import av

    try:
        container = av.open(address, format=format, options=options, timeout=CAMERA_TIMEOUT)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot open camera {index} ({address}): {reason}; close programs that use it") from error
    with container:
        yield Video(container, f"camera {index}", live=True)
