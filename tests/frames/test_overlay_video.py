"""The overlay video: size, times and colors stay, and it appears when it is complete."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from segdistill.errors import UserError
from segdistill.frames import overlay_video
from segdistill.frames.overlay_video import encoder_for, replacing_video
from segdistill.frames.video import open_video
from tests.frames.videos import RATE, frames_of, picture, write_video

COLORS = ((128, 64, 128), (244, 35, 232), (70, 70, 70), (107, 142, 35), (220, 20, 60), (0, 0, 142))


def copied(source: Path, target: Path) -> Path:
    """Write the frames of a video again."""
    with open_video(source) as video, replacing_video(target, video) as written:
        for frame in video:
            written.add(frame.pixels, frame.time)
    return target


@pytest.mark.parametrize(
    ("size", "codec"), [((48, 64), "h264"), ((241, 361), "vp9"), ((48, 63), "vp9"), ((47, 64), "vp9")]
)
def test_the_size_and_the_rate_stay(size: tuple[int, int], codec: str, tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mp4", [picture(n, *size) for n in range(9)], codec="libx264rgb", pixels="rgb24")
    file = copied(source, tmp_path / "new" / "y.mp4")
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width, stream.codec_context.name) == (*size, codec)
        assert (stream.average_rate, stream.frames) == (RATE, 9)
    frames = frames_of(file)
    assert [frame.time for frame in frames] == [n / RATE for n in range(9)]
    for number, frame in enumerate(frames):
        assert np.abs(frame.pixels.astype(int) - picture(number, *size)).mean() < 6


def test_times_of_a_variable_rate_stay(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 1500, 1510]
    source = write_video(tmp_path / "x.mkv", [picture(n) for n in range(6)], times=times)
    frames = frames_of(copied(source, tmp_path / "y.mp4"))
    assert [frame.time for frame in frames] == [Fraction(time, 1000) for time in times]


@pytest.mark.parametrize("width", [96, 95])
def test_colors_stay(width: int, tmp_path: Path) -> None:
    pixels = np.repeat(np.array(COLORS, np.uint8), 16, axis=0)[None].repeat(48, axis=0)[:, :width]
    pixels = np.ascontiguousarray(pixels)
    file = copied(write_video(tmp_path / "x.mkv", [pixels] * 3), tmp_path / "y.mp4")
    found = frames_of(file)[1].pixels
    for index, color in enumerate(COLORS):
        assert np.abs(found[24, 16 * index + 8].astype(int) - color).max() <= 6
    with av.open(str(file)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, which a player would have to guess


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_times_of_a_camera_are_microseconds(size: tuple[int, int], tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "x.mkv", [picture(0, *size)])) as video:
        video.time_base = Fraction(1, 1_000_000)
        times = [Fraction(n, 1_000_000) for n in (0, 33_371, 66_702, 166_667)]
        with replacing_video(tmp_path / "y.mp4", video) as written:
            for time in times:
                written.add(picture(0, *size), time)
    assert [frame.time for frame in frames_of(tmp_path / "y.mp4")] == times


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mp4", [picture(0)], aspect=Fraction(4, 3), codec="libx264", pixels="yuv420p")
    with av.open(str(copied(source, tmp_path / "y.mp4"))) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_a_frame_of_another_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mkv", [picture(0)])
    with open_video(source) as video, replacing_video(tmp_path / "y.mp4", video) as written:
        written.add(picture(3), Fraction(0))
        written.add(picture(3, 96, 128), Fraction(1, 10))
    frames = frames_of(tmp_path / "y.mp4")
    assert [frame.pixels.shape for frame in frames] == [(48, 64, 3)] * 2


def test_times_that_round_to_the_same_unit_are_kept_apart(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mkv", [picture(0)])
    with open_video(source) as video, replacing_video(tmp_path / "y.mp4", video) as written:
        for time in (0, Fraction(1, 10_000), Fraction(2, 10_000)):
            written.add(picture(0), Fraction(time))
    assert [frame.time for frame in frames_of(tmp_path / "y.mp4")] == [0, Fraction(1, 1000), Fraction(2, 1000)]


def test_after_an_error_the_file_is_as_before(tmp_path: Path) -> None:
    source, file = write_video(tmp_path / "x.mkv", [picture(0)]), tmp_path / "y.mp4"
    file.write_bytes(b"before")
    for count in (0, 5):
        with pytest.raises(KeyboardInterrupt), open_video(source) as video, replacing_video(file, video) as written:
            for number in range(count):
                written.add(picture(number), Fraction(number, 10))
            raise KeyboardInterrupt
        assert file.read_bytes() == b"before"
        assert {each.name for each in tmp_path.iterdir()} == {"x.mkv", "y.mp4"}


def test_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoder_for(240, 360).name == "libx264"
    monkeypatch.setattr(av, "codecs_available", {"libvpx-vp9"})
    assert encoder_for(240, 360).name == "libvpx-vp9"
    monkeypatch.setattr(av, "codecs_available", {"libx264"})
    with pytest.raises(UserError, match="FFmpeg has no encoder for frames of 361x240: looked for libx264, libvpx-vp9"):
        encoder_for(240, 361)


def test_an_encoder_that_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = overlay_video.Encoder("libx264", False, {})
    monkeypatch.setattr(overlay_video, "ENCODERS", (wrong,))
    source = write_video(tmp_path / "x.mkv", [picture(0, 47, 63)])
    with pytest.raises(UserError, match=r"x\.mkv: FFmpeg cannot write the overlays: .*; convert the video"):
        copied(source, tmp_path / "y.mp4")
    assert {each.name for each in tmp_path.iterdir()} == {"x.mkv"}
