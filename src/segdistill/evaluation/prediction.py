"""Predictions of a trained student for pictures."""

from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill import models
from segdistill.data import Classes, evaluation_transform
from segdistill.data.decoding.images import Array, read_image
from segdistill.errors import UserError
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.scoring import predict


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
