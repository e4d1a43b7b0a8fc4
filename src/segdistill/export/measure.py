"""Measurements of an exported file: agreement with PyTorch, score on images, milliseconds of one image."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segdistill.data.decoding.images import Array
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.evaluation.scoring import Score
from segdistill.export.images import LabeledImages
from segdistill.export.program import Program, classes_of
from segdistill.system.progress import tracked

Outputs = Callable[[Array], tuple[NDArray[Any], NDArray[Any]]]
"""A function of images, uint8 (N, H, W, 3), that returns scores and classes."""

Predict = Callable[[Array], NDArray[Any]]
"""A function of images, uint8 (N, H, W, 3), that returns classes."""

# Batch, height and width, besides one image of the data set's size. The second has odd sides.
SIZES = ((3, 128, 192), (1, 97, 131))

_SECONDS, _REPEATS = 3.0, 7


@dataclass(frozen=True)
class Check:
    """Agreement of a file with PyTorch at one size.

    Attributes:
        batch, height, width: The size.
        difference: The largest difference of a score.
        equal: The share of equal pixels.
    """

    batch: int
    height: int
    width: int
    difference: float
    equal: float

    def record(self) -> dict[str, Any]:
        """Return the values for ``export.json``."""
        return asdict(self)


def reference(program: Program) -> Outputs:
    """Return the scores and classes of a program in PyTorch."""

    @torch.no_grad()
    def outputs(images: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        scores = program.scores(torch.from_numpy(images))
        return scores.numpy(), classes_of(scores).numpy()

    return outputs


def batches(image: Array, *, resizes: bool = True) -> list[Array]:
    """Return an image of the data set in the sizes to check; without ``resizes``, only a batch of three of its size."""
    if not resizes:
        return [image[None], np.stack([np.roll(image, 17 * number, axis=1) for number in range(3)])]
    picture = Image.fromarray(image)
    resized = [
        np.stack([np.asarray(picture.resize((width, height))).copy() for _ in range(count)])
        for count, height, width in SIZES
    ]
    for number, each in enumerate(resized[0]):  # three different images
        each[:] = np.roll(each, 17 * number, axis=1)
    return [image[None], *resized]


def check(outputs: Outputs, expected: Outputs, images: Sequence[Array]) -> list[Check]:
    """Compare a file with PyTorch.

    Args:
        outputs: The scores and classes of the file.
        expected: Those of PyTorch.
        images: The batches to compare on.

    Raises:
        UserError: PyTorch or the file cannot take one of the sizes.
    """
    checks = []
    for batch in images:
        count, height, width = batch.shape[:3]
        try:
            (scores, classes), (wanted, labels) = outputs(batch), expected(batch)
            if classes.shape != labels.shape:
                raise UserError(f"it returned the shape {classes.shape}, not {labels.shape}")
        except FOREIGN as error:
            raise _failure(batch, error) from error
        finite = np.isfinite(wanted)
        difference = float(np.abs(scores[finite] - wanted[finite]).max(initial=0.0))
        checks.append(Check(count, height, width, difference, float((classes == labels).mean())))
    return checks


def predictions(predict: Predict, images: LabeledImages, what: str = "") -> list[NDArray[Any]]:
    """Return the classes of all images.

    Args:
        predict: The function that computes them.
        images: The images.
        what: The name of the work, for its progress; empty for a part of other work.

    Raises:
        UserError: The student cannot take one of the images.
    """
    predicted = []
    for image, _ in tracked(images, what, len(images)) if what else images:
        try:
            predicted.append(predict(image[None])[0])
        except UserError:
            raise
        except FOREIGN as error:
            raise _failure(image[None], error) from error
    return predicted


def _failure(images: Array, error: Exception) -> UserError:
    count, height, width = images.shape[:3]
    return UserError(
        f"the student fails on {count} images of {height}x{width}: {first_line(error)[:200]}; only networks that take "
        "images of any size can be exported"
    )


def score(predicted: Sequence[NDArray[Any]], images: LabeledImages) -> float:
    """Return the mIoU of predictions, or for image classification the top-1 accuracy, in 0..1."""
    count = len(images.classes)
    confusion = np.zeros((count, count), dtype=np.int64)
    for classes, labels in zip(predicted, images.labels, strict=True):
        valid = labels != images.ignore_index
        pairs = labels[valid].astype(np.int64) * count + classes[valid]
        confusion += np.bincount(pairs.ravel(), minlength=count * count).reshape(count, count)
    matrix = torch.from_numpy(confusion)
    if images.classifies:
        return Score.of_classification(matrix, images.classes.names).value
    return Score.of_segmentation(matrix, images.classes.names, counted=images.counted).value


def agreement(predicted: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> float:
    """Return the share of equal pixels over all images."""
    equal = sum(int((one == other).sum()) for one, other in zip(predicted, wanted, strict=True))
    return equal / max(1, sum(one.size for one in wanted))


def milliseconds(predict: Predict, image: Array) -> float:
    """Return the processor time of one image in milliseconds, the least of several calls on this thread.

    The processor time, unlike the time on the clock, does not count the work of other programs.

    Args:
        predict: A function that computes on one thread, the calling one.
        image: The image, uint8 (H, W, 3).
    """
    predict(image[None])
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _SECONDS and len(times) < _REPEATS):
        start = time.thread_time()
        predict(image[None])
        times.append(time.thread_time() - start)
    return 1000 * min(times)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
