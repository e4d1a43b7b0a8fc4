"""What a run is made from beside its recipe: its data and weights, in short, so that a change is noticed."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.data import ClassificationDataset, SegmentationDataset
from segdistill.data.layouts import Split
from segdistill.recipes import Recipe
from segdistill.recipes.schema import Teacher

ImageSet = SegmentationDataset | ClassificationDataset
Inputs = dict[str, dict[str, Any]]

# Of larger sets the sizes of so many files, spread over them, are looked at: asking costs time on a network.
WEIGHED = 10_000


def describe_inputs(recipe: Recipe, teacher: Teacher | None, sets: Mapping[str, ImageSet]) -> Inputs:
    """Return what a checkpoint remembers of a run's inputs.

    Args:
        recipe: Whose student may begin with weights.
        teacher: The teacher with its weights, if there is one.
        sets: The data that is trained and validated on, by split.

    Returns:
        For each split the number of images, a digest of their names below the data set's folder, and the size of
        their files; for each file of weights a digest of its content.
    """
    found: Inputs = {split: _of_images(images, recipe.data.root) for split, images in sets.items()}
    networks = dict(teacher.each) if teacher is not None else {}
    files = {name: network.weights for name, network in networks.items()}
    for name, weights in {**files, "student": recipe.student.weights}.items():
        if weights is not None:
            found[f"{name}'s weights"] = {"sha256": _digest_of(Path(weights).expanduser())}
    return found


def changed_inputs(there: Mapping[str, Mapping[str, Any]], now: Inputs) -> list[str]:
    """Return what is not as it was: other images, or other weights."""
    found = []
    for name, old in there.items():
        new = now.get(name, {})
        if "images" in old and old["images"] != new.get("images"):
            found.append(f"{name}: {old['images']} images there, {new.get('images')} now")
        elif old.get("names") != new.get("names"):
            found.append(f"{name}: other names among its {old['images']} images")
        elif old.get("sha256") != new.get("sha256"):
            found.append(f"{name}: another content of the file")
    return found


def resized_inputs(there: Mapping[str, Mapping[str, Any]], now: Inputs) -> list[str]:
    """Return where files have another size under their old names, as one that was damaged and is replaced."""
    return [
        f"{name}: {old['bytes']} bytes there, {now[name]['bytes']} now"
        for name, old in there.items()
        if "bytes" in old and name in now and old["bytes"] != now[name]["bytes"]
    ]


def _of_images(images: ImageSet, root: str | None) -> dict[str, Any]:
    files = _files(images)
    base = None if root is None else Path(root).expanduser()
    names = [_below(file, base) for file in files] or [images.name(index) for index in range(len(images))]
    weighed = files[:: max(1, len(files) // WEIGHED)]
    return {
        "images": len(images),
        "names": hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest(),
        "bytes": sum(file.stat().st_size for file in weighed if file.exists()),
    }


def _files(images: ImageSet) -> Sequence[Path]:
    """Return the images and masks, or the tables that hold them; none where the data is generated."""
    split = getattr(images, "split", None)
    return (*split.images, *split.labels, *split.tables) if isinstance(split, Split) else ()


def _below(file: Path, base: Path | None) -> str:
    return str(file.relative_to(base)) if base is not None and file.is_relative_to(base) else file.name


def _digest_of(weights: Path) -> str | None:
    """Return the digest of a file of weights, or of the student in a run's folder; None where there is none."""
    file = weights / "student.safetensors" if weights.is_dir() else weights
    if not file.is_file():  # which the loading of weights will say
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
