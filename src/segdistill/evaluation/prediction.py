"""Predictions of a trained student for pictures."""

from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill import models
from segdistill.data import Classes, evaluation_transform
from segdistill.data.decoding.images import Array, read_image
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.scoring import predict
from segdistill.recipes.schema import Evaluation


class Predictor:
    """The student of a run, which segments pictures at the size, and in the windows, in which the run scored it.

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
        self._description = (folder if folder.is_dir() else folder.parent) / "student.json"
        self.network, description = models.load(folder, trust=trust), models.read_description(folder)
        check_loaded(self.network, f"{folder}: the student's")
        self.network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        if not description.get("classes"):
            raise UserError(f"{self._description} names no classes; give the folder of a run")
        palette = tuple(tuple(color) for color in description.get("palette", ()))
        self.classes = Classes(tuple(description["classes"]), palette, void=tuple(description.get("void", ())))
        self._scale = float(description.get("scale", 1.0))
        self._transform = evaluation_transform(description.get("short_side"))
        try:
            self._protocol = Evaluation(window=description.get("window"), stride=description.get("stride"))
        except ValueError as error:
            raise UserError(f"{self._description}: 'stride' must be at most 'window'; correct or remove it") from error

    @torch.no_grad()
    def __call__(self, image: str | Path | Array) -> Array:
        """Return the class index of every pixel, as uint8 of shape (H, W).

        Args:
            image: A file, or RGB pixels as uint8 of shape (H, W, 3).

        Raises:
            UserError: The file cannot be read, the pixels have another shape or type, or the network cannot take them.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(Path(image))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise UserError(f"pixels are uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}; convert them to RGB first")
        height, width = pixels.shape[:2]
        scaled = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        if self._scale != 1.0:  # the student was trained at this scale
            size = [max(1, round(height * self._scale)), max(1, round(width * self._scale))]
            scaled = F.resize(scaled, size, antialias=True)
        tensor = self._transform(scaled)[None].to(next(self.network.parameters()).device)
        try:
            labels = predict(self.network, tensor, (height, width), self.classes.void, self._protocol)[0]
        except UserError:
            raise
        except FOREIGN as error:
            raise self._refusal(error, tensor.shape[-2], tensor.shape[-1]) from error
        classes: Array = labels.cpu().numpy().astype(np.uint8)
        return classes

    def _refusal(self, error: Exception, height: int, width: int) -> UserError:
        window = self._protocol.window
        if window is None:
            remedy = f'add "window": [HEIGHT, WIDTH], a size that it takes, to {self._description}, or resize the image'
        elif height < window[0] or width < window[1]:
            remedy = f"the image is smaller than the window, {window[0]}x{window[1]}; enlarge it"
        else:
            remedy = f'change "window" in {self._description} to a size that it takes'
        reason = first_line(error)[:200].rstrip(".")
        return UserError(f"the student cannot take an image of {height}x{width}: {reason}; {remedy}")
