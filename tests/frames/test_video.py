"""Videos are decoded with their times, upright, and as far as they are whole."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from segdistill.errors import UserError
from segdistill.frames import video as module
from segdistill.frames.video import Video, camera_device, open_camera, open_video
from tests.frames.videos import RATE, cut, frames_of, picture, turned, write_video

H264 = {"codec": "libx264", "pixels": "yuv420p"}


@pytest.mark.parametrize("size", [(48, 64), (241, 361)])
def test_frames_are_those_that_were_written(size: tuple[int, int], tmp_path: Path) -> None:
    pictures = [picture(number, *size) for number in range(7)]
    file = write_video(tmp_path / "x.mkv", pictures)
    with open_video(file) as video:
        frames = list(video)
        assert (video.name, video.rate, video.note()) == ("x.mkv", RATE, None)
        assert video.count == 7  # from the length in the file, which Matroska has instead
    assert all(np.array_equal(frame.pixels, each) for frame, each in zip(frames, pictures, strict=True))
    assert [float(frame.time) for frame in frames] == pytest.approx([n * 1001 / 30000 for n in range(7)], abs=6e-4)


def test_times_of_a_variable_rate(tmp_path: Path) -> None:
    times = [500, 540, 580, 900, 1900, 1910]
    for name, options in (("x.mkv", {}), ("x.mp4", H264)):
        frames = frames_of(write_video(tmp_path / name, [picture(n) for n in range(6)], times=times, **options))
        assert [frame.time for frame in frames] == [Fraction(time - 500, 1000) for time in times]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_frames_are_turned_as_a_player_does(quarters: int, tmp_path: Path) -> None:
    pictures = [picture(number) for number in range(3)]
    file = turned(write_video(tmp_path / "x.mp4", pictures, aspect=Fraction(4, 3), **H264), quarters)
    with open_video(file) as video:
        frames = list(video)
        assert video.pixel_aspect == (Fraction(4, 3) if quarters == 2 else Fraction(3, 4))
    for frame, each in zip(frames, pictures, strict=True):
        expected = np.rot90(each, -quarters)  # clockwise
        assert frame.pixels.shape == expected.shape
        assert frame.pixels.flags.c_contiguous
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 4


def test_a_file_that_breaks_off_keeps_what_is_before(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (60, 48, 64, 3), dtype=np.uint8)
    pictures = [picture(number) // 2 + noise[number] for number in range(60)]
    front = write_video(tmp_path / "x.mp4", pictures, options={"movflags": "faststart"}, **H264)
    for file, options in ((front, H264), (write_video(tmp_path / "x.mkv", pictures), {})):
        with open_video(cut(file, 0.6)) as video:
            frames = list(video)
            assert 20 < len(frames) < 50
            end = f"{float(frames[-1].time + 1 / RATE):.1f} s of 2.0 s"
            assert video.note() == f"{file.name} breaks off at {end}; the frames before are kept"
        tolerance = 16 if options else 0  # noise is hard to encode
        for frame, each in zip(frames, pictures, strict=False):
            assert np.abs(frame.pixels.astype(int) - each).mean() <= tolerance


def test_half_a_frame_is_no_frame(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    file = write_video(tmp_path / "x.avi", list(noise), codec="mjpeg", pixels="yuvj444p")
    whole = frames_of(file)
    with open_video(cut(file, 0.6)) as video:
        frames = list(video)
        assert "breaks off" in (video.note() or "")
    assert 30 < len(frames) < 40
    assert all(
        np.array_equal(*pair) for pair in zip([f.pixels for f in frames], [f.pixels for f in whole], strict=False)
    )


def test_packets_that_cannot_be_decoded_are_left_out(tmp_path: Path) -> None:
    file = write_video(
        tmp_path / "x.mp4", [picture(n) for n in range(60)], key_every=5, options={"movflags": "faststart"}, **H264
    )
    content = bytearray(file.read_bytes())
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
    content[middle : middle + 400] = b"\xff" * 400
    file.write_bytes(content)
    with open_video(file) as video:
        frames = list(video)
        assert 30 < len(frames) < 60
        assert (
            video.note() == f"x.mp4 is damaged: {60 - len(frames)} packets cannot be decoded; the other frames are kept"
        )
    assert frames[-1].time == 59 / RATE


def test_a_video_that_is_not_read_to_its_end_has_its_first_frames(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "x.mkv", [picture(n) for n in range(9)])) as video:
        assert np.array_equal(next(iter(video)).pixels, picture(0))


@pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 99])
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    message = (
        r"cannot read .*x\.mp4: Invalid data found when processing input; it is no video or a damaged one: replace"
    )
    with pytest.raises(UserError, match=message), open_video(tmp_path / "x.mp4"):
        pass


def test_a_file_with_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"x\.mp4 has no video stream"), open_video(tmp_path / "x.mp4"):
        pass


def test_a_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "x.mkv", [picture(0)])
    (tmp_path / "concat:x.mkv").touch()
    with pytest.raises(UserError, match="Invalid data"), open_video(Path("concat:x.mkv")):
        pass


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match=r'x\.mp4 needs the package av: pip install "segdistill\[video\]"'),
        open_video(tmp_path / "x.mp4"),
    ):
        pass
    with pytest.raises(UserError, match="camera 0 needs the package av"):
        camera_device(0)


class Container:
    """A container of PyAV that gives packets, or raises errors, as they are listed."""

    def __init__(self, *events: object, **facts: object) -> None:
        stream = {"average_rate": 10, "guessed_rate": 10, "time_base": Fraction(1, 1000), "frames": 0, "duration": None}
        decoder = SimpleNamespace(decode=lambda packet: packet.frames if packet is not None else [])
        self.stream = SimpleNamespace(**{**stream, "sample_aspect_ratio": None, "codec_context": decoder, **facts})
        self.streams = SimpleNamespace(video=[self.stream])
        self.events, self.duration = list(events), None

    def demux(self, stream: object):
        while self.events:
            event = self.events.pop(0)
            if isinstance(event, Exception):
                raise event
            yield event


def packet(*times: int | None) -> SimpleNamespace:
    frames = []
    for time in times:
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        frame.pts, frame.time_base = time, Fraction(1, 1000)
        frames.append(frame)
    return SimpleNamespace(frames=frames, is_corrupt=False, size=9, dts=None if None in times else min(times))


def test_times_grow_even_if_those_of_the_file_do_not() -> None:
    video = Video(Container(packet(40), packet(None), packet(90), packet(250), packet(None)), "x")
    assert [frame.time * 1000 for frame in video] == [0, 100, 101, 210, 310]


def test_times_that_jump_back_keep_their_distances() -> None:
    """A second recording begins one frame after the first. A step back within a frame is no jump."""
    times = (40, 140, 240, 340, 0, 100, 150, 400, 390, 500, 20, 120)
    video = Video(Container(*map(packet, times)), "x")
    expected = [0, 100, 200, 300, 400, 500, 550, 800, 801, 900, 1000, 1100]
    assert [frame.time * 1000 for frame in video] == expected


def test_frames_that_are_late_after_damage_are_no_jump() -> None:
    late = packet(0, 100, 400, 200, 300)  # of one packet, so that the times of packets grow
    video = Video(Container(late, packet(500), packet(600)), "x")
    assert [frame.time * 1000 for frame in video] == [0, 100, 400, 401, 402, 500, 600]


def test_two_joined_files_are_as_long_as_both(tmp_path: Path) -> None:
    file = write_video(tmp_path / "x.ts", [picture(n) for n in range(30)], codec="mpeg2video", pixels="yuv420p")
    single = frames_of(file)
    file.write_bytes(2 * file.read_bytes())
    times = [frame.time for frame in frames_of(file)]
    steps = [late - early for early, late in pairwise(times)]
    assert len(times) >= 2 * len(single) - 1  # FFmpeg calls the packet at the joint corrupt
    assert min(steps) > Fraction(9, 10) / RATE
    assert 2 * len(single) - 3 <= times[-1] * RATE <= 2 * len(single)


def test_a_corrupt_packet_in_the_middle_is_no_end() -> None:
    corrupt = SimpleNamespace(frames=[], is_corrupt=True, size=9, dts=None)
    last = SimpleNamespace(frames=[], is_corrupt=False, size=0, dts=None)  # empty: the decoder gives what it holds
    video = Video(Container(packet(0), corrupt, packet(200), last), "x")
    assert [frame.time * 1000 for frame in video] == [0, 200]
    assert video.note() == "x is damaged: 1 packet cannot be decoded; the other frames are kept"
    video = Video(Container(packet(0), packet(100), corrupt, last), "x")
    assert len(list(video)) == 2
    assert video.note() == "x breaks off at 0.2 s; the frames before are kept"
    video = Video(Container(packet(0), corrupt, packet(200), corrupt, last), "x")
    assert len(list(video)) == 2
    assert video.note() == "x breaks off at 0.3 s; the frames before are kept"


def test_no_note_on_what_was_not_wanted() -> None:
    """A camera whose end is wanted is not said to have stopped, even if it does so while a frame is read ahead."""
    for live in (True, False):
        error = av.OSError(19, "No such device")
        video = Video(Container(packet(0), packet(100), error), "x", live=live)
        assert len(list(video)) == 2
        assert video.note(0.2) is None
        assert video.note(0.15) is None
        assert video.note(0.25) == video.note()
        assert "0.2 s" in str(video.note())


def test_an_error_while_reading_keeps_the_frames_that_the_decoder_holds() -> None:
    held: list[list[av.VideoFrame]] = [[]]

    def decode(packet: SimpleNamespace | None) -> list[av.VideoFrame]:
        held.append([] if packet is None else packet.frames)
        return held[-2]

    error = av.InvalidDataError(1094995529, "Invalid data found when processing input")
    decoder = SimpleNamespace(decode=decode)
    video = Video(Container(packet(0), packet(100), error, packet(200), codec_context=decoder), "x")
    assert [frame.time for frame in video] == [0, Fraction(1, 10)]
    assert video.note() == "x breaks off at 0.2 s; the frames before are kept"


def test_a_camera_that_has_no_frame_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = av.BlockingIOError(11, "Resource temporarily unavailable")
    video = Video(Container(waiting, packet(1000), waiting, waiting, packet(1200)), "camera 0", live=True)
    assert [frame.time for frame in video] == [0, Fraction(1, 5)]
    assert video.note() is None
    assert video.count is None
    monkeypatch.setattr(module, "CAMERA_TIMEOUT", 0)
    video = Video(Container(packet(1000), waiting, packet(1200)), "camera 0", live=True)
    assert len(list(video)) == 1
    assert video.note() == "camera 0 stopped after 0.1 s"


def test_a_camera_that_is_unplugged() -> None:
    video = Video(Container(packet(0), av.OSError(19, "No such device"), packet(9)), "camera 0", live=True)
    assert len(list(video)) == 1
    assert video.note() == "camera 0 stopped after 0.1 s"


def test_an_unknown_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    with pytest.raises(UserError, match=r"no camera 97: /dev/video97 does not exist; there are"):
        camera_device(97)
    monkeypatch.setattr(module.sys, "platform", "win32")
    with pytest.raises(UserError, match="cameras are read on Linux and macOS only; record a video and give its file"):
        camera_device(0)
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert camera_device(1) == ("1", "avfoundation", {"framerate": "30"})


def test_a_camera_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr(module, "camera_device", lambda index: (str(tmp_path / "video0"), "v4l2", {}))
    with (
        pytest.raises(UserError, match=r"cannot open camera 0 \(.*video0\): .*; close programs that use it"),
        open_camera(0),
    ):
        pass
