"""Segment pictures with a trained student: an overlay and a label PNG for each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill import models
from segdistill.data import Classes, evaluation_transform
from segdistill.data.decoding.images import Array, read_image
from segdistill.errors import UserError
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.picture_files import pictures_in, results_of
from segdistill.evaluation.scoring import predict
from segdistill.reports.drawing import overlaid
from segdistill.system.atomic import replacing


class Predictor:
    """A run's student, ready to segment pictures as it was trained to see them.

    Args:
        folder: The run's folder.
        trust: See :func:`segdistill.models.load`.

    Attributes:
        network: The student, in eval mode, on a GPU where there is one.
        classes: Its classes.

    Raises:
        UserError: The folder holds no student with named classes, or its weights are not finite.
    """

    def __init__(self, folder: Path, *, trust: bool = False) -> None:
        self.network, description = models.load(folder, trust=trust), models.read_description(folder)
        check_loaded(self.network, f"{folder}: the student's")
        self.network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        if not description.get("classes"):
            raise UserError(f"{folder / 'student.json'} names no classes; it was not written by a run")
        palette = tuple(tuple(color) for color in description.get("palette", ()))
        self.classes = Classes(tuple(description["classes"]), palette, void=tuple(description.get("void", ())))
        self._scale = float(description.get("scale", 1.0))

    @torch.no_grad()
    def __call__(self, image: str | Path | Array) -> Array:
        """Return the class index of every pixel, uint8 (H, W).

        Args:
            image: A file, or pixels, uint8 (H, W, 3) in RGB.

        Raises:
            UserError: The file cannot be read, or the pixels have another shape or type.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(Path(image))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise UserError(f"pixels are uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}; convert them to RGB first")
        height, width = pixels.shape[:2]
        shown = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        if self._scale != 1.0:  # as the student was trained
            size = [max(1, round(height * self._scale)), max(1, round(width * self._scale))]
            shown = F.resize(shown, size, antialias=True)
        tensor = evaluation_transform()(shown)[None].to(next(self.network.parameters()).device)
        labels: Array = predict(self.network, tensor, (height, width), self.classes.void)[0].cpu().numpy()
        return labels.astype(np.uint8)


def predict_files(run: Path, images: Sequence[Path], out: Path, *, trust: bool = False) -> int:
    """Write ``STEM_overlay.png`` and ``STEM_labels.png`` (class indices, with a palette) for every picture.

    Pictures of a folder keep their place below it. What an earlier prediction left among them is not segmented again.
    Nothing outside ``out`` is written to, whatever links lie in it, and no picture is overwritten.

    Args:
        run: The student's run.
        images: Pictures, or folders of pictures.
        out: The folder to write to.
        trust: See :func:`segdistill.models.load`.

    Returns:
        How many pictures there were.

    Raises:
        UserError: No such picture, none in a folder, one that cannot be read, or a result that would lie where a
            picture does or outside ``out``.
    """
    files = pictures_in(images, out)
    predictor = Predictor(run, trust=trust)
    for target, file in files.items():
        pixels = read_image(file)
        labels = predictor(pixels)
        marked = Image.fromarray(labels, mode="P")
        marked.putpalette([value for color in predictor.classes.palette for value in color])
        pictures = (marked, Image.fromarray(overlaid(pixels, labels, predictor.classes)))
        for written, picture in zip(results_of(target), pictures, strict=True):
            with replacing(written) as opened:
                picture.save(opened, format="PNG")
    return len(files)
