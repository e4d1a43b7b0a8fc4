"""Pictures and videos are segmented frame by frame, and results appear when they are complete."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.errors import UserError
from segdistill.frames.inputs import inputs_in
from segdistill.frames.segment import Student, segment_pictures, segment_video
from segdistill.frames.video import open_video
from segdistill.reports.drawing import overlaid
from segdistill.system.progress import listening
from tests.frames.videos import CLASSES, RATE, STUDENT, bright, frames_of, picture, write_video
from tests.heard import Heard


def masks(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]


@pytest.mark.parametrize("size", [(48, 64), (241, 361)])
def test_a_video_becomes_masks_and_a_video_of_overlays(size: tuple[int, int], tmp_path: Path) -> None:
    pictures = [picture(number, *size) for number in range(9)]
    heard = Heard()
    with open_video(write_video(tmp_path / "x.mkv", pictures)) as video, listening(heard):
        watch = segment_video(video, STUDENT, tmp_path / "out" / "x")
    assert watch.frames == 9
    assert all(seconds > 0 for seconds in watch.seconds.values())
    assert heard.lines[3] == ("segmenting x.mkv", 4, 9)
    found = masks(tmp_path / "out" / "x_labels")
    assert [file.name for file in sorted((tmp_path / "out" / "x_labels").iterdir())][8] == "000008.png"
    overlays = frames_of(tmp_path / "out" / "x_overlay.mp4")
    for each, mask, overlay in zip(pictures, found, overlays, strict=True):
        assert np.array_equal(mask, bright(each))
        expected = overlaid(each, bright(each), CLASSES)
        assert overlay.pixels.shape == each.shape
        assert np.abs(overlay.pixels.astype(int) - expected).mean() < 6
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"x_labels", "x_overlay.mp4"}


def test_the_first_seconds_only(tmp_path: Path) -> None:
    file = write_video(tmp_path / "x.mp4", [picture(n) for n in range(30)], codec="libx264rgb", pixels="rgb24")
    with open_video(file) as video:
        assert segment_video(video, STUDENT, tmp_path / "x", seconds=4.5 / 29.97).frames == 5
    assert len(masks(tmp_path / "x_labels")) == 5
    assert frames_of(tmp_path / "x_overlay.mp4")[-1].time == 4 / RATE


def test_until_it_is_stopped_and_without_masks(tmp_path: Path) -> None:
    seen: list[int] = []

    def labels(pixels: np.ndarray) -> np.ndarray:
        seen.append(1)
        return bright(pixels)

    with open_video(write_video(tmp_path / "x.mkv", [picture(n) for n in range(30)])) as video:
        student = Student(labels, CLASSES)
        watch = segment_video(video, student, tmp_path / "out/x", masks=False, stopped=lambda: len(seen) == 4)
    assert watch.frames == 4
    assert len(frames_of(tmp_path / "out/x_overlay.mp4")) == 4
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_nothing_is_left(error: type[BaseException], tmp_path: Path) -> None:
    seen: list[int] = []

    def labels(pixels: np.ndarray) -> np.ndarray:
        seen.append(1)
        if len(seen) == 12:
            raise error
        return bright(pixels)

    with (
        pytest.raises(error),
        open_video(write_video(tmp_path / "x.mkv", [picture(n) for n in range(30)])) as video,
    ):
        segment_video(video, Student(labels, CLASSES), tmp_path / "out/x")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_video_without_frames(tmp_path: Path) -> None:
    with open_video(write_video(tmp_path / "x.mkv", [picture(0)])) as video:
        list(video)  # nothing is left
        with pytest.raises(UserError, match=r"x\.mkv has no frames that can be decoded; replace or convert it"):
            segment_video(video, STUDENT, tmp_path / "out/x")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_student_that_classifies_images(tmp_path: Path) -> None:
    student = Student(lambda pixels: np.zeros((), np.uint8), CLASSES)
    with (
        open_video(write_video(tmp_path / "x.mkv", [picture(0)])) as video,
        pytest.raises(
            UserError, match=r"x\.mkv: the student gives no class for each pixel; predict needs one that seg"
        ),
    ):
        segment_video(video, student, tmp_path / "x")


def test_pictures_keep_their_size_and_name(tmp_path: Path) -> None:
    files = {}
    for number in range(6):
        file = tmp_path / f"{number}.png"
        Image.fromarray(picture(number, 30 + number, 41)).save(file)
        files[tmp_path / "out" / f"picture {number}"] = file
    assert segment_pictures(files, STUDENT).frames == 6
    for number in range(6):
        pixels = picture(number, 30 + number, 41)
        mask, overlay = (tmp_path / "out" / f"picture {number}_{kind}.png" for kind in ("labels", "overlay"))
        assert np.array_equal(np.asarray(Image.open(mask)), bright(pixels))
        assert np.array_equal(np.asarray(Image.open(overlay)), overlaid(pixels, bright(pixels), CLASSES))


@pytest.mark.parametrize("failing", ["save", "fsync"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_labels_without_their_overlay_are_not_left(
    failing: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "p0.png", tmp_path / "out"
    Image.fromarray(picture(0)).save(file)
    owner, calls = {"save": (Image.Image, []), "fsync": (os, [])}[failing]
    original = getattr(owner, failing)

    def second_fails(*arguments: object, **more: object) -> None:
        calls.append(1)
        if len(calls) == 2:  # the labels are complete, the overlay is not
            raise error
        original(*arguments, **more)

    monkeypatch.setattr(owner, failing, second_fails)
    with pytest.raises((UserError, KeyboardInterrupt)):
        segment_pictures(inputs_in([file], out).pictures, STUDENT)
    assert list(out.iterdir()) == []
    monkeypatch.undo()
    segment_pictures(inputs_in([file], out).pictures, STUDENT)  # the same command again
    assert {each.name for each in out.iterdir()} == {"p0_labels.png", "p0_overlay.png"}


def test_no_network_is_imported() -> None:
    code = "import segdistill.frames.segment, segdistill.frames.legend, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
