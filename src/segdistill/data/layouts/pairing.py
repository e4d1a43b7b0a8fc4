"""Files of a layout: folders, and pairs of images and masks. Errors name what is missing and what exists instead."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from segdistill.data.layouts.layout import SPLIT_OF, SPLITS, Split
from segdistill.errors import UserError, few
from segdistill.system.walk import files_below

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})  # JPEG and most WebP files alter class indices

# The folders by which a data set is recognized if another one was named. The first match is suggested.
_MARKS = {
    "folder": ("images", "labels"),
    "camvid": ("trainannot",),
    "cityscapes": ("leftImg8bit", "gtFine"),
    "voc": ("JPEGImages", "ImageSets/Segmentation"),
    "ade20k": ("images", "annotations"),
}


def existing_folder(root: Path) -> Path:
    """Return ``root`` if it is a folder.

    Raises:
        UserError: If it is not. The message suggests the folder with the nearest name.
    """
    if root.is_dir():
        return root
    if root.exists():
        raise UserError(f"'{root}' is a file; expected the dataset's folder (an archive must be unpacked)")
    parent = root.absolute().parent
    missing = root.name
    while not parent.is_dir():
        parent, missing = parent.parent, parent.name
    folders = [entry.name for entry in parent.iterdir() if entry.is_dir()]
    near = get_close_matches(missing, folders, n=1, cutoff=0.7)
    remedy = f"did you mean '{parent / near[0]}'?" if near else f"'{parent}' exists and holds {shown(folders)}"
    raise UserError(f"no folder '{root}'; {remedy}")


def expect(root: Path, name: str, parts: Sequence[str], *, inside: Sequence[str] = ("*",)) -> None:
    """Raise unless ``root`` has the folders ``parts``.

    Args:
        root: The folder that was given.
        name: The name of the data set.
        parts: The folders that it must have.
        inside: Glob patterns of folders in ``root`` that may be the data set, if ``root`` is not.

    Raises:
        UserError: If a folder is missing. The message suggests the folder or the data set that was probably meant.
    """
    missing = [part for part in parts if not (root / part).is_dir()]
    if not missing:
        return
    if len(missing) < len(parts):
        raise UserError(f"'{root}' lacks {listed(missing)}; dataset '{name}' needs {listed(parts)}")
    below = (folder for pattern in inside for folder in root.glob(pattern) if _holds(folder, parts))
    if match := next(below, None):
        remedy = f"did you mean '{match}'?"
    elif other := next((other for other, marks in _MARKS.items() if other != name and _holds(root, marks)), None):
        remedy = f"it looks like dataset '{other}': set data.name={other}"
    else:
        remedy = f"it holds {shown(entry.name for entry in root.iterdir())}"
    raise UserError(f"'{root}' is not laid out as '{name}': expected {listed(parts)}; {remedy}")


def _holds(folder: Path, parts: Iterable[str]) -> bool:
    return all((folder / part).is_dir() for part in parts)


def present(folder: Path, names: Sequence[str] = SPLITS) -> list[str]:
    """Return the ``names`` that are folders in ``folder``.

    Raises:
        UserError: If there is none.
    """
    existing = [name for name in names if (folder / name).is_dir()]
    if not existing:
        held = shown(entry.name for entry in folder.iterdir())
        raise UserError(f"'{folder}' holds none of {listed(names)}; it holds {held}")
    return existing


def split_folders(folder: Path) -> dict[str, str]:
    """Return the names of the subfolders that are splits, by split: for example ``{"train": "Training"}``.

    Raises:
        UserError: If two subfolders are the same split.
    """
    found: dict[str, str] = {}
    for name in sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else ():
        split = SPLIT_OF.get(name.lower())
        if split is not None and found.setdefault(split, name) != name:
            raise UserError(f"'{folder}' holds {found[split]}/ and {name}/, both for {split}; rename or merge them")
    return {split: found[split] for split in SPLITS if split in found}


def pair(
    name: str, image_folder: Path, label_folder: Path, *, deep: bool, image_tail: str = "", label_tail: str = ""
) -> Split:
    """Return a split of images and masks, paired by their paths relative to the two folders without tail and suffix.

    Args:
        name: The name of the split.
        image_folder, label_folder: The folders of the images and of the masks.
        deep: Whether to search subfolders.
        image_tail, label_tail: The ends of the names of images and masks, before the suffix.

    Raises:
        UserError: If there are no images, an image has no mask, or a mask has no image.
    """
    images = files(image_folder, IMAGE_SUFFIXES, deep=deep, tail=image_tail)
    if not images:
        ends = shown((image_tail + suffix for suffix in IMAGE_SUFFIXES), len(IMAGE_SUFFIXES))
        raise UserError(f"no images in '{image_folder}'; expected files {ends}")
    if not label_folder.is_dir():
        raise UserError(f"no folder '{label_folder}' for the masks of the images in '{image_folder}'")
    labels = files(label_folder, LABEL_SUFFIXES, deep=deep, tail=label_tail)
    if alone := images.keys() - labels.keys():
        ends = shown(label_tail + suffix for suffix in LABEL_SUFFIXES)
        raise UserError(
            f"{len(alone)} of {len(images)} images in '{image_folder}' have no mask in '{label_folder}': "
            f"{shown(alone)}; a mask has its image's name and ends in {ends}"
        )
    if alone := labels.keys() - images.keys():
        raise UserError(
            f"{len(alone)} of {len(labels)} masks in '{label_folder}' have no image in '{image_folder}': "
            f"{shown(alone)}; remove them or add their images"
        )
    stems = sorted(images)
    return Split(name, tuple(images[stem] for stem in stems), tuple(labels[stem] for stem in stems))


def files(folder: Path, suffixes: frozenset[str], *, deep: bool, tail: str = "") -> dict[str, Path]:
    """Return the files in ``folder`` by their relative path without tail and suffix. Hidden files are skipped.

    Links to folders are followed; see :func:`~segdistill.system.walk.files_below`.

    Raises:
        UserError: If two files differ only in their suffix.
    """
    by_key: dict[str, Path] = {}
    for path in files_below(folder) if deep else (path for path in folder.glob("*") if path.is_file()):
        name = path.stem
        if path.suffix.lower() in suffixes and name.endswith(tail) and name[0] != ".":
            key = path.relative_to(folder).with_name(name.removesuffix(tail) or name).as_posix()
            if key in by_key:
                raise UserError(f"'{by_key[key]}' and '{path}' differ only in their suffix; remove one")
            by_key[key] = path
    return by_key


def listed(parts: Iterable[str]) -> str:
    """Return the names of folders as text for a message."""
    return ", ".join(f"{part}/" for part in parts)


def shown(names: Iterable[str], limit: int = 4) -> str:
    """Return the first names as text for a message."""
    return few(sorted(names), limit) or "nothing"
