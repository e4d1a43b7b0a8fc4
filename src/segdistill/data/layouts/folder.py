"""A user's own images and masks, with the classes in an optional classes.json."""

import json
import logging
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache as remember
from pathlib import Path

from segdistill.data.classes import VOID, Classes
from segdistill.data.layouts.foreign import refuse_foreign
from segdistill.data.layouts.layout import SPLIT_OF, DatasetCard, Layout, Split
from segdistill.data.layouts.pairing import LABEL_SUFFIXES, expect, pair, shown, split_folders
from segdistill.errors import UserError, nearest, unknown
from segdistill.system.walk import files_below

KEYS = ("classes", "ignore_index", "palette")

# A word for a split, not inside another word.
_WORD = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_OF)})(?![a-z])", re.IGNORECASE)

_BYTE_ORDER_MARK = "\ufeff"
_log = logging.getLogger(__name__)


def open_folder(root: Path, share: float | None = None) -> Layout:
    """Return the images and masks, with the classes of classes.json if there is one.

    Args:
        root: The folder.
        share: For a flat folder, without train/ and val/: the share of the pairs to train on; the others are val.
    """
    if not _has_masks(root / "labels"):
        refuse_foreign(root)
    images, labels = root / "images", root / "labels"
    of_images, of_labels = split_folders(images), split_folders(labels)
    if images.is_dir() and labels.is_dir() and not of_images:
        splits = _split(pair("train", images, labels, deep=True), share, root)
    elif share is not None:
        raise UserError(f"data.split={share} splits a flat folder, and '{images}' has splits; leave data.split out")
    else:
        parts = (("images", of_images), ("labels", of_labels)) if labels.is_dir() else (("images", {}), ("labels", {}))
        expect(root, "folder", [f"{kind}/{of.get(split, split)}" for kind, of in parts for split in ("train", "val")])
        masks = {split: labels / of_labels.get(split, split) for split in of_images}
        splits = tuple(
            replace(pair(split, images / name, masks[split], deep=True), source=_source(split, name))
            for split, name in of_images.items()
            if split != "test" or _is_labeled(masks[split], images / name)
        )
    description = root / "classes.json"
    return read_classes(description, splits) if description.exists() else Layout("folder", None, splits)


def _source(split: str, name: str) -> str:
    """Return what is logged of a split: its folder, if that has another name."""
    return "" if name == split else f"the images in {name}/"


def _has_masks(folder: Path) -> bool:
    return any(file.suffix.lower() in LABEL_SUFFIXES for file in files_below(folder))


def _split(pairs: Split, share: float | None, root: Path) -> tuple[Split, ...]:
    """Split the pairs of a flat folder. The split depends on the share only, not on a recipe's seed."""
    if share is None:
        _refuse_other_names(root / "images")
        raise UserError(
            f"'{root}' holds images/ and labels/ without train/ and val/; give data.split=0.9 to train on nine tenths "
            "and validate on the others, or sort them into images/train, images/val, labels/train, labels/val"
        )
    count = len(pairs.images)
    if count < 2:
        raise UserError(f"'{root}' holds {count} image; data.split needs at least 2")
    order = list(range(count))
    random.Random(0).shuffle(order)
    first = min(count - 1, max(1, round(share * count)))
    return tuple(
        Split(
            name,
            tuple(pairs.images[index] for index in chosen),
            tuple(pairs.labels[index] for index in chosen),
            source=f"{len(chosen)} of {count} pairs, by data.split={share:g}",
        )
        for name, chosen in (("train", sorted(order[:first])), ("val", sorted(order[first:])))
    )


def _refuse_other_names(images: Path) -> None:
    """Raise if subfolders look like splits, as train2017/ does. To split them by a share would mix train and val."""
    names = sorted(entry.name for entry in images.iterdir() if entry.is_dir() and _WORD.search(entry.name))
    if names:
        raise UserError(
            f"'{images}' holds {shown(f'{name}/' for name in names)}, which look like splits; rename them to train/ "
            "and val/ (test/ is optional), and those in labels/ too"
        )


@remember
def _is_labeled(labels: Path, images: Path) -> bool:
    """Return True if a test split has masks; log it once if it has none."""
    if _has_masks(labels):
        return True
    _log.info(f"'{images}' has no labels: networks are scored on val; use `segdistill predict` for these images")
    return False


@remember
def _say_passed_over(keys: tuple[str, ...], path: Path) -> None:
    _log.info(f"'{path}' has unknown keys, which are ignored: {', '.join(keys)}")


def _check_keys(data: Mapping[str, object], path: Path) -> None:
    """Raise for an unknown key that is similar to a known one; log other unknown keys once."""
    others = [key for key in data if key not in KEYS]
    for key in others:
        if nearest(key, KEYS):
            raise unknown("key", key, KEYS, hint=f"in '{path}'")
    if others:
        _say_passed_over(tuple(others), path)


def read_classes(path: Path, splits: tuple[Split, ...] = ()) -> Layout:
    """Return the layout that a classes.json describes, as ``{"classes": ["background", "leaf"], "ignore_index": 255}``.

    ``classes`` (required) names class 0, 1, ... ``ignore_index`` is a value in the masks that means void, in addition
    to 255; it is read as 255, and a class of that index is neither predicted nor scored. ``palette`` has one
    [red, green, blue] per class, for pictures. If the masks are RGB, it also maps colors to classes, and one additional
    color means void.

    Raises:
        UserError: If the file has another form.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith(_BYTE_ORDER_MARK):
            _say_marked(str(path))
        data = json.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        raise UserError(f"cannot read '{path}' as JSON: {error}") from error
    if not isinstance(data, dict) or "classes" not in data:
        raise UserError(f'\'{path}\' must be an object with "classes", for instance {{"classes": ["a", "b"]}}')
    _check_keys(data, path)
    names, void, palette = data["classes"], data.get("ignore_index", VOID), data.get("palette")
    given = "ignore_index" in data
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"\"classes\" in '{path}' must be a list of names, got {names!r}")
    if not 2 <= len(set(names)) == len(names) <= VOID:
        raise UserError(f"\"classes\" in '{path}' must be 2 to {VOID} distinct names, got {len(names)}")
    if type(void) is not int or not 0 <= void < 2**16:
        raise UserError(f"\"ignore_index\" in '{path}' must be a label value in 0..65535, got {void!r}")
    hidden = (void,) if given and void < len(names) else ()
    if palette is None:
        return Layout("folder", Classes(tuple(names), void=hidden), splits, void=void, has_given_void=given)
    if not isinstance(palette, list) or len(palette) not in (len(names), len(names) + 1):
        raise UserError(
            f"\"palette\" in '{path}' must be {len(names)} colors (one per class; one more = void), "
            f"got {len(palette) if isinstance(palette, list) else repr(palette)}"
        )
    if bad := [entry for entry in palette if not _is_color(entry)]:
        raise UserError(f"\"palette\" in '{path}' must hold [red, green, blue] with 0..255, got {bad[0]!r}")
    colors = tuple((red, green, blue) for red, green, blue in palette)
    if len(set(colors)) < len(colors):
        raise UserError(f"\"palette\" in '{path}' must hold distinct colors, one occurs twice")
    classes = Classes(tuple(names), colors[: len(names)], void=hidden)
    return Layout("folder", classes, splits, void=void, colors=colors, has_given_void=given)


@remember
def _say_marked(path: str) -> None:
    """Log the byte-order mark of a file once per process."""
    _log.info(f"'{path}' begins with a byte-order mark, which is ignored")


def _is_color(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and all(type(v) is int and 0 <= v <= 255 for v in entry)


CARD = DatasetCard(
    name="folder",
    about="your own images, with one mask each",
    source="your own",
    terms="your own",
    layout="""\
images/train/**.jpg    labels/train/**.png    same names; class indices 0, 1, 2, ...; 255 = void
images/val/**.jpg      labels/val/**.png
images/test/**.jpg     labels/test/**.png     optional
images/**.jpg          labels/**.png          instead of these, with data.split=0.9
classes.json           optional: {"classes": ["road", "car"], "ignore_index": 255, "palette": [[128, 64, 128], ...]}""",
    open=open_folder,
)
