"""Image classification with a folder of images for each class, as in ImageNet-1K."""

import os
from pathlib import Path

from segdistill.data.classes import Classes
from segdistill.data.layouts.layout import DatasetCard, Layout, Split
from segdistill.data.layouts.pairing import IMAGE_SUFFIXES, expect, present, shown
from segdistill.errors import UserError


def open_imagenet(root: Path) -> Layout:
    """Return the images. The classes are the folders of the training split, sorted by name."""
    expect(root, "imagenet", ["train", "val"], inside=("*", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC"))
    folders = {split: _folders(root / split) for split in present(root, ("train", "val"))}
    names = folders["train"]
    if len(names) < 2:
        raise UserError(f"'{root / 'train'}' holds {len(names)} class folder; expected at least 2, one for each class")
    if unknown := set(folders["val"]) - set(names):
        raise UserError(
            f"'{root / 'val'}' has class folders that '{root / 'train'}' lacks: {shown(unknown)}; "
            "both must have the same class names"
        )
    splits = (Split(split, _images(root / split, names)) for split, names in folders.items())
    return Layout("imagenet", Classes(names), tuple(splits), task="classification")


def _folders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))
    if not names:
        held = shown(entry.name for entry in folder.iterdir())
        raise UserError(
            f"'{folder}' holds no class folders but {held}; move each image into the folder of its class "
            "(ImageNet's validation archive has none of them)"
        )
    return names


def _images(folder: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    images: list[Path] = []
    for name in names:
        with os.scandir(folder / name) as entries:  # reads only the names, because there are 1.28 million files
            files = sorted(entry.name for entry in entries if _is_image(entry.name))
        if not files:
            raise UserError(f"no images in '{folder / name}'; expected files {shown(IMAGE_SUFFIXES, 99)}")
        images += [folder / name / file for file in files]
    return tuple(images)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")  # noqa: PTH122, faster


CARD = DatasetCard(
    name="imagenet",
    about="image classification; ImageNet-1K: 1000 classes, 1.28 million train and 50000 val images",
    source="image-net.org, after registration: ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar",
    terms="its own: non-commercial research and education",
    layout="""\
train/CLASS/*.JPEG    a folder for each class; class 0, 1, ... in the order of their names
val/CLASS/*.JPEG      the same folders""",
    open=open_imagenet,
    task="classification",
)
