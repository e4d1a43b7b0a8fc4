"""The key of a record: everything that the teacher's answers depend on. Another key is another folder."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segdistill.data import ClassificationDataset, SegmentationDataset
from segdistill.data.layouts import Split
from segdistill.recipes.own_code import code_of_networks
from segdistill.recipes.schema import Data, Teacher
from segdistill.system.own_code import source_digest

FORMAT = 1

Key = dict[str, Any]

# Keys that change no answer, or whose effect is in the weights or the images. All other keys count, new ones too.
_NOT_OF_NETWORK = {"weights", "weights_key", "members", "train", "min_miou", "replay", "replay_type", "replay_folder"}
_NOT_OF_CROPS = {"name", "root", "split", "cache", "workers", "allow_empty_classes"}
_OF_GENERATED = {"size", "images"}


def record_key(section: Teacher, weights: str, data: Data, images: SegmentationDataset | ClassificationDataset) -> Key:
    """Return the key of the answers of a teacher to the crops of a data set.

    Args:
        section: The recipe's section of the teacher.
        weights: The digest of the teacher, from :func:`network_digest`.
        data: The recipe's section of the data.
        images: The training images.
    """
    teachers = {name: each.model_dump(mode="json", exclude=_NOT_OF_NETWORK) for name, each in section.each.items()}
    code = {name: source_digest(name) for name in code_of_networks(section.each.values())}
    unused = _NOT_OF_CROPS | (_OF_GENERATED if _files(images) else set())
    augmentation = {"task": images.task, **data.model_dump(mode="json", exclude=unused)}
    if data.cache == "device":  # resizing on a GPU rounds differently
        augmentation["cache"] = "device"
    return {
        "format": FORMAT,
        "teacher": teachers,
        "weights": weights,
        "crops": section.replay,
        "type": section.replay_type,
        "augmentation": augmentation,
        "data": data.name,
        "images": images_digest(images, data.root),
        **({"code": code} if code else {}),  # keys of other teachers stay those of earlier versions
    }


def digest(key: Key) -> str:
    """Return the name of a key's folder: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def network_digest(network: nn.Module) -> str:
    """Return a digest of all parameters and buffers of a network, with their names."""
    sha = hashlib.sha256()
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def images_digest(images: SegmentationDataset | ClassificationDataset, root: str | None) -> str:
    """Return a digest of the names of all images and of the sizes and times of their files.

    The names are relative to the data set's folder, so that the folder may be moved.
    """
    base = None if root is None else Path(root).expanduser()
    lines = [_line(file, base) for file in _files(images)] or [images.name(index) for index in range(len(images))]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _files(images: SegmentationDataset | ClassificationDataset) -> list[Path]:
    """Return the files of the images, or the tables that hold them; empty if the images are generated."""
    split = getattr(images, "split", None)
    if not isinstance(split, Split):
        return []
    return [file for path in (*split.images, *split.tables) for file in _within(path)]


def _within(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    else:
        yield path


def _line(file: Path, base: Path | None) -> str:
    name = str(file.relative_to(base)) if base is not None and file.is_relative_to(base) else file.name
    if not file.exists():  # reading the image will raise the error
        return f"{name} missing"
    status = file.stat()
    return f"{name} {status.st_size} {status.st_mtime_ns}"
