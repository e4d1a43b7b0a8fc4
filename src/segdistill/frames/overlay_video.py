"""Video of overlays, encoded by PyAV: the size and the times of the frames stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from segdistill.data.decoding.images import Array
from segdistill.errors import UserError
from segdistill.frames.video import Video
from segdistill.system.atomic import replacing


class Encoder(NamedTuple):
    """An encoder of FFmpeg that players and browsers can read in an MP4 file.

    Attributes:
        name: The name in FFmpeg.
        even: Whether it encodes only even widths and heights, with colors at half of the resolution.
        options: Options for a good quality at a high speed.
    """

    name: str
    even: bool
    options: dict[str, str]


# H.264 plays everywhere, but its frames of odd size need a profile that few players know. VP9 takes any size.
ENCODERS = (
    Encoder("libx264", True, {"preset": "veryfast", "crf": "18"}),
    Encoder("libvpx-vp9", False, {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "20", "b": "0"}),
)

_BT709 = 1
"""The number of ITU-R BT.709 in H.273, for matrix, primaries and transfer. Players assume it for large videos only."""


class OverlayVideo:
    """Video that is being written. The first frame decides on its size; later ones are scaled to it.

    Args:
        container: The open container of PyAV.
        source: The video that is segmented, which gives the rate and the unit of times.
    """

    def __init__(self, container: Any, source: Video) -> None:
        self._container, self._source = container, source
        self._stream: Any = None
        self._last = -1

    def add(self, pixels: Array, time: Fraction) -> None:
        """Encode a frame, RGB, uint8, shape (H, W, 3).

        Raises:
            UserError: FFmpeg cannot encode it.
        """
        import av
        from av.video.reformatter import ColorRange, Colorspace

        try:
            if self._stream is None:
                self._open(*pixels.shape[:2])
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                width=self._stream.width,
                height=self._stream.height,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            self._last = max(round(time / self._source.time_base), self._last + 1)
            frame.pts, frame.time_base = self._last, self._source.time_base
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise _refused(self._source, error) from error

    def finish(self) -> None:
        """Encode what is left.

        Raises:
            UserError: FFmpeg cannot encode it.
        """
        import av

        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
        except av.FFmpegError as error:
            raise _refused(self._source, error) from error

    def _open(self, height: int, width: int) -> None:
        encoder = encoder_for(height, width)
        self._stream = self._container.add_stream(encoder.name, rate=self._source.rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.options = encoder.options
        context = self._stream.codec_context
        context.time_base = self._source.time_base
        context.sample_aspect_ratio = self._source.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1  # values in 16..235, as in nearly all videos


@contextmanager
def replacing_video(file: Path, source: Video) -> Iterator[OverlayVideo]:
    """Open a temporary video that replaces ``file`` at the end. After an error, ``file`` is as before.

    Raises:
        UserError: The video cannot be written.
    """
    import av

    with replacing(file) as opened:
        try:
            container = av.open(opened, "w", format="mp4")
            with container:
                video = OverlayVideo(container, source)
                yield video
                video.finish()
        except av.FFmpegError as error:
            raise _refused(source, error) from error


def encoder_for(height: int, width: int) -> Encoder:
    """Return the first encoder that is installed and takes this size.

    Raises:
        UserError: There is none.
    """
    import av

    for encoder in ENCODERS:
        if encoder.name in av.codecs_available and not (encoder.even and (height % 2 or width % 2)):
            return encoder
    names = ", ".join(encoder.name for encoder in ENCODERS)
    raise UserError(
        f"FFmpeg has no encoder for frames of {width}x{height}: looked for {names}; pip install av has them"
    )


def _refused(source: Video, error: Exception) -> UserError:
    return UserError(f"{source.name}: FFmpeg cannot write the overlays: {error}; convert the video to MP4 first")
