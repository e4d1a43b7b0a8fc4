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
from segdistill.data.reading import read_image
from segdistill.errors import UserError
from segdistill.reports.pictures import overlaid
from segdistill.training.evaluation import predict
from segdistill.training.finite import check_loaded

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@torch.no_grad()
def predict_files(run: Path, images: Sequence[Path], out: Path) -> int:
    """Write ``STEM_overlay.png`` and ``STEM_labels.png`` (class indices, with a palette) for every picture.

    Pictures of a folder keep their place below it.

    Returns:
        How many pictures there were.

    Raises:
        UserError: No such picture, none in a folder, or one that cannot be read.
    """
    files = _files(images, out)
    network, description = models.load(run)
    check_loaded(network, f"{run}: the student's")
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    device = next(network.parameters()).device
    if not description.get("classes"):
        raise UserError(f"{run / 'student.json'} names no classes; it was not written by a run")
    palette = tuple(tuple(colour) for colour in description.get("palette", ()))
    classes = Classes(tuple(description["classes"]), palette)
    for target, file in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = read_image(file)
        height, width = pixels.shape[:2]
        image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
        scale = float(description.get("scale", 1.0))
        if scale != 1.0:  # as the student was trained
            image = F.resize(image, [max(1, round(height * scale)), max(1, round(width * scale))], antialias=True)
        tensor = evaluation_transform()(image)
        labels = predict(network, tensor[None].to(device), (height, width))[0].cpu().numpy().astype(np.uint8)
        marked = Image.fromarray(labels, mode="P")
        marked.putpalette([value for colour in classes.palette for value in colour])
        marked.save(target.with_name(f"{target.name}_labels.png"))
        Image.fromarray(overlaid(pixels, labels, classes)).save(target.with_name(f"{target.name}_overlay.png"))
    return len(files)


def _files(images: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Find the pictures: what each one's results are called, without their endings, to the picture."""
    files: dict[Path, Path] = {}

    def add(target: Path, file: Path) -> None:
        if target in files:
            raise UserError(f"{files[target]} and {file} would both be written to {target}_*.png; predict them apart")
        files[target] = file

    for path in images:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise UserError(f"no pictures in {path}; looked for {', '.join(SUFFIXES)}")
            for file in inside:
                add(out / file.relative_to(path).with_suffix(""), file)
        elif path.is_file():
            add(out / path.stem, path)
        else:
            raise UserError(f"no such picture or folder: {path}")
    return files
