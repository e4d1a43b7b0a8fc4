"""Inputs of a run other than its recipe: digests of its data, weights and own code, so that a change is noticed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.data import ClassificationDataset, SegmentationDataset
from segdistill.data.layouts import Split
from segdistill.errors import UserError
from segdistill.recipes import Recipe
from segdistill.recipes.own_code import code_of_networks, code_of_terms
from segdistill.recipes.schema import Teacher
from segdistill.system.own_code import source_digest

ImageSet = SegmentationDataset | ClassificationDataset
Inputs = dict[str, dict[str, Any]]

# The largest number of files whose sizes are read, spread evenly over a set: on a network drive, each takes time.
WEIGHED = 10_000


def describe_inputs(recipe: Recipe, teacher: Teacher | None, sets: Mapping[str, ImageSet]) -> Inputs:
    """Return the description of a run's inputs that its checkpoints hold.

    Args:
        recipe: The recipe; its student may start from weights.
        teacher: The teacher with its weights, if there is one.
        sets: The data to train and validate on, by split.

    Returns:
        For each split, the number of images, a digest of their paths relative to the data set's folder, and the size of
        their files; for each weights file, a digest of its content; for each network and loss of the user's own, a
        digest of its source.
    """
    inputs: Inputs = {split: _of_images(images, recipe.data.root) for split, images in sets.items()}
    networks = dict(teacher.each) if teacher is not None else {}
    files = {name: network.weights for name, network in networks.items()}
    for name, weights in {**files, "student": recipe.student.weights}.items():
        if weights is not None:
            inputs[f"{name}'s weights"] = {"sha256": _digest_of(Path(weights).expanduser())}
    code = [*code_of_networks([recipe.student, *networks.values()]), *code_of_terms(recipe)]
    return inputs | describe_code(code)


def describe_code(names: Iterable[str]) -> Inputs:
    """Return a digest of the source of each ``package.module:callable``. Code without a file is left out."""
    digests = {name: source_digest(name) for name in names}
    return {name: {"code": digest} for name, digest in digests.items() if digest is not None}


def changed_inputs(there: Mapping[str, Mapping[str, Any]], now: Inputs) -> list[str]:
    """Return one line for each input that changed: other images, weights or code.

    Code that is not there now is no change: a recipe that names it fails when it is imported.
    """
    changes = []
    for name, old in there.items():
        new = now.get(name, {})
        if "images" in old and old["images"] != new.get("images"):
            changes.append(f"{name}: {old['images']} images there, {new.get('images')} now")
        elif old.get("names") != new.get("names"):
            changes.append(f"{name}: other names among its {old['images']} images")
        elif old.get("sha256") != new.get("sha256"):
            changes.append(f"{name}: the content of the file has changed")
        elif "code" in old and old["code"] != new.get("code", old["code"]):
            changes.append(f"{name}: its source file has changed")
    return changes


def resized_inputs(there: Mapping[str, Mapping[str, Any]], now: Inputs) -> list[str]:
    """Return one line for each split whose files changed in size, for instance because a damaged one was replaced."""
    return [
        f"{name}: {old['bytes']} bytes there, {now[name]['bytes']} now"
        for name, old in there.items()
        if "bytes" in old and name in now and old["bytes"] != now[name]["bytes"]
    ]


def refuse_changes(folder: Path, changes: Sequence[str], remedy: str) -> None:
    """Raise a UserError with the changes of the inputs of a folder's runs, if there are any."""
    if changes:
        raise UserError(f"{folder} was begun with other inputs ({'; '.join(changes)}); {remedy}")


def _of_images(images: ImageSet, root: str | None) -> dict[str, Any]:
    files = _files(images)
    base = None if root is None else Path(root).expanduser()
    names = [_below(file, base) for file in files] or [images.name(index) for index in range(len(images))]
    sample = files[:: max(1, len(files) // WEIGHED)]
    return {
        "images": len(images),
        "names": hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest(),
        "bytes": sum(file.stat().st_size for file in sample if file.exists()),
    }


def _files(images: ImageSet) -> Sequence[Path]:
    """Return the files of images and masks, or the tables that hold them; empty if the data is generated."""
    split = getattr(images, "split", None)
    return (*split.images, *split.labels, *split.tables) if isinstance(split, Split) else ()


def _below(file: Path, base: Path | None) -> str:
    return str(file.relative_to(base)) if base is not None and file.is_relative_to(base) else file.name


def _digest_of(weights: Path) -> str | None:
    """Return the digest of a weights file, or of the student in a run's folder; None if the file does not exist."""
    file = weights / "student.safetensors" if weights.is_dir() else weights
    if not file.is_file():  # loading the weights will raise the error
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
