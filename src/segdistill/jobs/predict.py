"""Job that segments images, videos or a camera with a student."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from segdistill.errors import UserError
from segdistill.frames.inputs import Inputs, camera_target, inputs_in, results_of
from segdistill.jobs.checks import check_run_folder
from segdistill.jobs.threads import idle_threads, shown_progress
from segdistill.system import threads
from segdistill.system.interrupt import deferred_interrupt
from segdistill.system.terminal import open_console

if TYPE_CHECKING:
    from segdistill.frames.segment import Student

OUT = Path("predictions")
"""The default folder for results."""

MOST_CLASSES = 256
"""The number of values of a mask's pixel."""


def predict(
    student: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path = OUT,
    seconds: float | None = None,
    trust: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """Write overlays, masks of class indices and a legend; return the files and, for a video, the folder of masks.

    The command ``segdistill predict`` calls this function. An ONNX file needs no PyTorch.

    Args:
        student: The folder of a run, or a file of ``segdistill export``.
        inputs: Images, folders of images, videos, or the index of one camera as text, as in ``["0"]``.
        out: The folder for results. The results of a folder's images have the same subfolders in it.
        seconds: Where to stop in each video, or when to stop the camera. By default, videos are read to the end and
            the camera until Ctrl-C.
        trust: Import the code that a run's folder names as its network.
        console: The console to print on; by default standard output.

    Raises:
        UserError: The student or an input does not exist, is damaged or does not fit, a result would overwrite an
            input or a recording of a camera, or a package is missing.
    """
    student, out, console = Path(student), Path(out), console or open_console()
    if student.is_dir():
        check_run_folder(student)
    elif not student.exists():
        raise UserError(f"{student} does not exist; give the folder of a run or a file of segdistill export")
    found = inputs_in(inputs, out)
    _check_videos(found, seconds)
    with _computing(student, console) as count:
        from segdistill.frames.legend import has_boxes, write_legend
        from segdistill.frames.segment import segment_pictures

        loaded = _loaded(student, count, trust)
        written = [write_legend(loaded.classes, out)]
        if found.pictures:
            rate = segment_pictures(found.pictures, loaded)
            _say(console, f"{rate.frames} overlays and label PNGs in {out}", str(rate))
            written += [file for target in found.pictures for file in results_of(target)]
        for target, file in found.videos.items():
            written += _segment_file(file, target, loaded, seconds, console)
        if found.camera is not None:
            written += _segment_camera(found.camera, out, loaded, seconds, console)
        _say(console, f"colors of the classes: {written[0]}")
        if has_boxes(loaded.classes):
            names = student / "student.json" if student.is_dir() else f"segdistill.load({str(student)!r}).classes"
            _say(console, f"letters that no installed font has are boxes in it; the names by index are in {names}")
    return written


def _check_videos(found: Inputs, seconds: float | None) -> None:
    """Open and close each video, so that a damaged one is reported before the network is loaded."""
    if seconds is not None and not found.videos and found.camera is None:
        raise UserError("--seconds is for videos and cameras; leave it out for pictures")
    if found.camera is not None:
        from segdistill.frames.video import camera_device

        camera_device(found.camera)
    for target, file in found.videos.items():
        from segdistill.frames.masks import check_masks_only
        from segdistill.frames.video import open_video

        with open_video(file):
            check_masks_only(results_of(target, video=True).labels)


@contextmanager
def _computing(student: Path, console: Console) -> Iterator[int]:
    """Yield the number of threads. PyTorch is imported unless the student is an ONNX file."""
    if student.suffix == ".onnx":
        with shown_progress(console):
            yield threads.choose().count
        return
    with idle_threads(console, silent=True):
        import torch

        yield torch.get_num_threads()


def _loaded(student: Path, count: int, trust: bool) -> "Student":
    from segdistill.data import Classes
    from segdistill.export.runtime import load
    from segdistill.frames.segment import Student

    loaded = load(student, trust=trust, threads=count)
    if not loaded.classes:
        raise UserError(f"{student} names no classes; give the folder of a run or a file of segdistill export")
    if len(loaded.classes) > MOST_CLASSES:
        raise UserError(f"{student} has {len(loaded.classes)} classes; a mask's pixel holds {MOST_CLASSES} values")
    void = tuple(loaded.metadata.get("void") or ())
    return Student(loaded.predict, Classes(loaded.classes, loaded.palette, void=void))


def _segment_file(
    file: Path, target: Path, student: "Student", seconds: float | None, console: Console
) -> tuple[Path, ...]:
    from segdistill.frames.segment import segment_video
    from segdistill.frames.video import open_video

    with open_video(file) as video:
        rate = segment_video(video, student, target, seconds=seconds)
        note = video.note(seconds)
    results = results_of(target, video=True)
    _say(console, *([note] if note else []), f"{results.overlay} and {rate.frames} label PNGs in {results.labels}")
    _say(console, str(rate))
    return results


def _segment_camera(
    index: int, out: Path, student: "Student", seconds: float | None, console: Console
) -> tuple[Path, ...]:
    from segdistill.frames.segment import segment_video
    from segdistill.frames.video import open_camera

    target = camera_target(index, out)
    with open_camera(index) as camera, deferred_interrupt() as interrupted:
        if seconds is None:
            _say(console, f"segmenting camera {index} until Ctrl-C")
        rate = segment_video(camera, student, target, masks=False, seconds=seconds, stopped=interrupted)
        note = camera.note(seconds)
    overlay = results_of(target, video=True).overlay
    _say(console, *([note] if note else []), str(overlay), str(rate))
    return (overlay,)


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)
