"""Predictions of a trained student for pictures: an overlay and a PNG of labels for each."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill import models
from segdistill.data import Classes, evaluation_transform
from segdistill.data.decoding.images import Array, read_image, reading_threads
from segdistill.errors import UserError
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.picture_files import pictures_in, results_of
from segdistill.evaluation.scoring import predict
from segdistill.reports.drawing import overlaid
from segdistill.system.atomic import replacing
from segdistill.system.progress import tracked

AHEAD = 4
"""The number of pictures that are read before the network needs them, and of results that wait to be written."""


class Predictor:
    """The student of a run, which segments pictures at the scale that it was trained on.

    Args:
        folder: The run's folder.
        trust: See :func:`segdistill.models.load`.

    Attributes:
        network: The student, in eval mode, on a GPU if there is one.
        classes: The classes of the student.

    Raises:
        UserError: The folder holds no student with named classes, or the student's weights are not finite.
    """

    def __init__(self, folder: Path, *, trust: bool = False) -> None:
        self.network, description = models.load(folder, trust=trust), models.read_description(folder)
        check_loaded(self.network, f"{folder}: the student's")
        self.network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        if not description.get("classes"):
            raise UserError(f"{folder / 'student.json'} names no classes; give the folder of a run")
        palette = tuple(tuple(color) for color in description.get("palette", ()))
        self.classes = Classes(tuple(description["classes"]), palette, void=tuple(description.get("void", ())))
        self._scale = float(description.get("scale", 1.0))

    @torch.no_grad()
    def __call__(self, image: str | Path | Array) -> Array:
        """Return the class index of every pixel, as uint8 of shape (H, W).

        Args:
            image: A file, or RGB pixels as uint8 of shape (H, W, 3).

        Raises:
            UserError: The file cannot be read, or the pixels have another shape or type.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(Path(image))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise UserError(f"pixels are uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}; convert them to RGB first")
        height, width = pixels.shape[:2]
        scaled = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        if self._scale != 1.0:  # the student was trained at this scale
            size = [max(1, round(height * self._scale)), max(1, round(width * self._scale))]
            scaled = F.resize(scaled, size, antialias=True)
        tensor = evaluation_transform()(scaled)[None].to(next(self.network.parameters()).device)
        labels: Array = predict(self.network, tensor, (height, width), self.classes.void)[0].cpu().numpy()
        return labels.astype(np.uint8)


def predict_files(run: Path, images: Sequence[Path], out: Path, *, trust: bool = False) -> int:
    """Write ``STEM_overlay.png`` and ``STEM_labels.png`` (class indices, with a palette) for every picture.

    The results of a folder's pictures have the same subfolders in ``out``. Results of an earlier prediction are not
    segmented. The function writes only inside ``out``, even if links in it point elsewhere, and overwrites no picture.

    Args:
        run: The folder of the student's run.
        images: Pictures, or folders of pictures.
        out: The folder to write to.
        trust: See :func:`segdistill.models.load`.

    Returns:
        The number of pictures.

    Raises:
        UserError: A picture does not exist or cannot be read, a folder has none, or a result would overwrite a picture
            or be outside ``out``.
    """
    files = pictures_in(images, out)
    predictor = Predictor(run, trust=trust)
    writing: deque[Future[None]] = deque()
    with ThreadPoolExecutor(reading_threads()) as pool:  # threads read and write while the network works
        pictures = zip(files, _read_ahead(pool, list(files.values())), strict=True)
        for target, pixels in tracked(pictures, "segmenting", len(files)):
            writing.append(pool.submit(_write, target, pixels, predictor(pixels), predictor.classes))
            while len(writing) > AHEAD:
                writing.popleft().result()
        for each in writing:
            each.result()
    return len(files)


def _read_ahead(pool: ThreadPoolExecutor, files: Sequence[Path]) -> Iterator[Array]:
    """Yield the pixels of each picture, read by the pool a few pictures ahead."""
    reading = deque(pool.submit(read_image, file) for file in files[:AHEAD])
    for following in [*files[AHEAD:], *[None] * len(reading)]:
        pixels = reading.popleft().result()
        if following is not None:
            reading.append(pool.submit(read_image, following))
        yield pixels


def _write(target: Path, pixels: Array, labels: Array, classes: Classes) -> None:
    marked = Image.fromarray(labels, mode="P")
    marked.putpalette([value for color in classes.palette for value in color])
    pictures = (marked, Image.fromarray(overlaid(pixels, labels, classes)))
    for written, picture in zip(results_of(target), pictures, strict=True):
        with replacing(written) as opened:
            picture.save(opened, format="PNG")
