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
from segdistill.data.decoding.images import read_image
from segdistill.errors import UserError
from segdistill.evaluation.finite import check_loaded
from segdistill.evaluation.picture_files import pictures_in, results_of
from segdistill.evaluation.scoring import predict
from segdistill.reports.drawing import overlaid
from segdistill.system.atomic import replacing


@torch.no_grad()
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
    network, description = models.load(run, trust=trust), models.read_description(run)
    check_loaded(network, f"{run}: the student's")
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    device = next(network.parameters()).device
    if not description.get("classes"):
        raise UserError(f"{run / 'student.json'} names no classes; it was not written by a run")
    palette = tuple(tuple(color) for color in description.get("palette", ()))
    classes = Classes(tuple(description["classes"]), palette, void=tuple(description.get("void", ())))
    for target, file in files.items():
        pixels = read_image(file)
        height, width = pixels.shape[:2]
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        scale = float(description.get("scale", 1.0))
        if scale != 1.0:  # as the student was trained
            image = F.resize(image, [max(1, round(height * scale)), max(1, round(width * scale))], antialias=True)
        tensor = evaluation_transform()(image)
        labels = (
            predict(network, tensor[None].to(device), (height, width), classes.void)[0].cpu().numpy().astype(np.uint8)
        )
        marked = Image.fromarray(labels, mode="P")
        marked.putpalette([value for color in classes.palette for value in color])
        pictures = (marked, Image.fromarray(overlaid(pixels, labels, classes)))
        for written, picture in zip(results_of(target), pictures, strict=True):
            with replacing(written) as opened:
                picture.save(opened, format="PNG")
    return len(files)
