"""Prediction of pictures and videos: frames are read, segmented and written at the same time, in threads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from itertools import repeat, takewhile
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from segdistill.data import Classes
from segdistill.data.decoding.images import Array, read_image, reading_threads
from segdistill.errors import UserError
from segdistill.frames.ahead import Backlog, read_ahead
from segdistill.frames.inputs import results_of
from segdistill.frames.masks import mask_picture, replacing_masks
from segdistill.frames.overlay_video import OverlayVideo, replacing_video
from segdistill.frames.stopwatch import Stopwatch
from segdistill.frames.video import Frame, Video
from segdistill.reports.drawing import Labels, overlaid
from segdistill.system.atomic import replacing_together
from segdistill.system.progress import tracked


class Student(NamedTuple):
    """A student, however it is stored.

    Attributes:
        labels: Returns the class index of every pixel, uint8 (H, W), of RGB pixels, uint8 (H, W, 3).
        classes: Names and colors of the classes.
    """

    labels: Callable[[Array], Labels]
    classes: Classes

    def segment(self, pixels: Array, name: str) -> Labels:
        """Return the class index of every pixel.

        Raises:
            UserError: The student cannot take the picture, or does not give a class for each pixel.
        """
        try:
            labels = self.labels(pixels)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if labels.shape != pixels.shape[:2]:
            raise UserError(f"{name}: the student gives no class for each pixel; predict needs one that segments")
        return labels


def segment_pictures(files: Mapping[Path, Path], student: Student) -> Stopwatch:
    """Write ``_labels.png`` and ``_overlay.png`` for every picture.

    Args:
        files: Pictures by the path of their results, see :func:`segdistill.frames.inputs.inputs_in`.
        student: The student.

    Returns:
        The number of pictures and the time.

    Raises:
        UserError: A picture cannot be read, or a result cannot be written.
    """
    stopwatch, written = Stopwatch(), Backlog()
    with ThreadPoolExecutor(reading_threads()) as pool:
        pixels = read_ahead(pool, (partial(read_image, file) for file in files.values()))
        pictures = zip(files.items(), stopwatch.reading(pixels), strict=True)
        for (target, file), image in tracked(pictures, "segmenting", len(files)):
            with stopwatch.part("network"):
                labels = student.segment(image, str(file))
            with stopwatch.part("writing"):
                written.add(pool, _write_picture, target, image, labels, student.classes)
        with stopwatch.part("writing"):
            written.finish()
    return stopwatch


def segment_video(
    video: Video,
    student: Student,
    target: Path,
    *,
    masks: bool = True,
    seconds: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Stopwatch:
    """Write the overlays of a video as a video, and its masks as a folder of PNGs.

    Args:
        video: The open video or camera.
        student: The student.
        target: The path of the results, without ``_labels`` and ``_overlay``.
        masks: Whether to write masks.
        seconds: The end, in seconds after the first frame; None is the end of the video.
        stopped: Returns True when no more frames are wanted.

    Returns:
        The number of frames and the time.

    Raises:
        UserError: The video has no frames, or a result cannot be written. Nothing is written, then.
    """
    results = results_of(target, video=True)
    stopwatch, written = Stopwatch(), Backlog()
    total = video.count if seconds is None else None
    with ExitStack() as opened:
        folder = opened.enter_context(replacing_masks(results.labels, student.classes)) if masks else None
        overlays = opened.enter_context(replacing_video(results.overlay, video))
        # One thread decodes and one encodes, because frames have an order; masks have none.
        reader, encoder = (opened.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        pool = opened.enter_context(ThreadPoolExecutor(reading_threads()))
        frames = stopwatch.reading(_wanted(_frames(reader, video), seconds, stopped))
        for number, frame in enumerate(tracked(frames, f"segmenting {video.name}", total)):
            with stopwatch.part("network"):
                labels = student.segment(frame.pixels, video.name)
            with stopwatch.part("writing"):
                if folder is not None:
                    written.add(pool, folder.write, number, labels)
                written.add(encoder, _add_overlay, overlays, frame, labels, student.classes)
        with stopwatch.part("writing"):
            written.finish()
        if not stopwatch.frames:
            raise UserError(f"{video.name} has no frames that can be decoded; replace or convert it")
    return stopwatch


def _frames(reader: Executor, video: Video) -> Iterator[Frame]:
    frames = iter(video)
    calls: Iterable[Callable[[], Frame | None]] = repeat(partial(next, frames, None))
    for frame in read_ahead(reader, calls):
        if frame is None:
            return
        yield frame


def _wanted(frames: Iterator[Frame], seconds: float | None, stopped: Callable[[], bool]) -> Iterator[Frame]:
    end = None if seconds is None else Fraction(seconds)
    return takewhile(lambda frame: not stopped() and (end is None or frame.time < end), frames)


def _write_picture(target: Path, pixels: Array, labels: Labels, classes: Classes) -> None:
    pictures = (mask_picture(labels, classes), Image.fromarray(overlaid(pixels, labels, classes)))
    with replacing_together(*results_of(target)) as files:  # one without the other would count as the user's
        for file, picture in zip(files, pictures, strict=True):
            picture.save(file, format="PNG")


def _add_overlay(overlays: OverlayVideo, frame: Frame, labels: Labels, classes: Classes) -> None:
    overlays.add(overlaid(frame.pixels, labels, classes), frame.time)
