"""Segment pictures with a trained student: an overlay and a label PNG for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from segdistill import models
from segdistill.atomic import replacing
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

    Pictures of a folder keep their place below it. What an earlier prediction left among them is not segmented again.
    Nothing outside ``out`` is written to, whatever links lie in it, and no picture is overwritten.

    Returns:
        How many pictures there were.

    Raises:
        UserError: No such picture, none in a folder, one that cannot be read, or a result that would lie where a
            picture does or outside ``out``.
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
        pictures = (marked, Image.fromarray(overlaid(pixels, labels, classes)))
        for written, picture in zip(_results(target), pictures, strict=True):
            with replacing(written) as opened:
                picture.save(opened, format="PNG")
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
            if path.resolve() == out.resolve():
                raise UserError(f"--out is the folder of the pictures, {path}; give another folder")
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            inside = [file for file in inside if not _is_result(file, out)]
            if not inside:
                raise UserError(f"no pictures in {path}; looked for {', '.join(SUFFIXES)}")
            for file in inside:
                add(out / file.relative_to(path).with_suffix(""), file)
        elif path.is_file():
            if not _is_result(path, out):
                add(out / path.stem, path)
        else:
            raise UserError(f"no such picture or folder: {path}")
    _check_targets(files, out)
    return files


def _results(target: Path) -> tuple[Path, Path]:
    """Return the files of labels and overlay."""
    return target.with_name(f"{target.name}_labels.png"), target.with_name(f"{target.name}_overlay.png")


def _is_result(file: Path, out: Path) -> bool:
    """Tell whether a picture in ``out`` is what an earlier prediction wrote: one of a pair."""
    if not file.resolve().is_relative_to(out.resolve()):
        return False
    name, _, kind = file.stem.rpartition("_")
    return (
        bool(name) and kind in ("labels", "overlay") and all(each.is_file() for each in _results(file.with_name(name)))
    )


def _check_targets(files: Mapping[Path, Path], out: Path) -> None:
    """Refuse to write over a picture, or through a link to another folder."""
    pictures = {file.resolve(): file for file in files.values()}
    for target, file in files.items():
        for written in _results(target):
            if written.parent.resolve() / written.name in pictures:
                raise UserError(f"the results of {file} would overwrite the picture {written}; give another --out")
        for folder in target.parents[: len(target.parents) - len(out.parents) - 1]:
            if folder.is_symlink():
                raise UserError(f"{folder} is a link and leads out of --out {out}; remove it, or give another --out")
