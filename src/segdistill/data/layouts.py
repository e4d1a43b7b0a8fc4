"""Where the files of a dataset lie. Standard library only, so that a wrong folder is answered at once."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from segdistill.data.classes import CAMVID, SCENES, VOID, Classes, Colour
from segdistill.errors import UserError, unknown

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})  # JPEG and most WebP files alter class indices
SPLITS = ("train", "val", "test")
REQUIRED = ("train", "val")


@dataclass(frozen=True)
class Split:
    """The files of one split, in the order of their names; ``labels[i]`` belongs to ``images[i]``."""

    name: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """The files of a dataset and how to read its masks.

    Attributes:
        name: The dataset's name, one of :data:`DATASETS`.
        classes: None where only the masks can tell how many there are (``folder`` without a classes.json).
        splits: Empty for generated data.
        void: The value in the mask files that means void, besides 255.
        colours: Where masks are RGB: the colour of each class, and of void if there is one more.
    """

    name: str
    classes: Classes | None
    splits: tuple[Split, ...] = ()
    void: int = VOID
    colours: tuple[Colour, ...] | None = None

    def split(self, name: str) -> Split:
        """Return the split of that name.

        Raises:
            UserError: If there is none.
        """
        for split in self.splits:
            if split.name == name:
                return split
        raise unknown("split", name, [split.name for split in self.splits], hint=f"in dataset '{self.name}'")


def open_layout(name: str, root: str | Path | None = None) -> Layout:
    """Find the files of a dataset, without reading any image.

    Args:
        name: ``camvid``: root/{train,val[,test]}/ and root/{train,val[,test]}annot/, flat.
            ``folder``: root/images/{train,val[,test]}/ and root/labels/{train,val[,test]}/, at any depth,
            and an optional root/classes.json (see :func:`read_classes`).
            ``scenes``: generated, no files.
            An image and its mask have the same name up to the suffix.
        root: The dataset's folder; ``~`` is expanded.

    Raises:
        UserError: For an unknown name, no or a wrong root, a wrong layout, a split without images or
            missing, an image without mask, a mask without image, a bad classes.json.
    """
    if name not in _OPENERS:
        raise unknown("dataset", name, DATASETS)
    if name == "scenes":
        if root is not None:
            raise UserError(f"dataset 'scenes' is generated but root '{root}' was given; use 'folder' or 'camvid'")
        return Layout("scenes", SCENES)
    if root is None:
        raise UserError(f"dataset '{name}' needs a root: set data.root to the folder that holds it")
    return _OPENERS[name](_existing_folder(Path(root).expanduser()))


def _camvid(root: Path) -> Layout:
    _expect(root, "camvid", [part for split in REQUIRED for part in (split, f"{split}annot")])
    splits = (_pair(split, root / split, root / f"{split}annot", deep=False) for split in _present(root))
    return Layout("camvid", CAMVID, tuple(splits), void=11)


def _folder(root: Path) -> Layout:
    parts = [f"{kind}/{split}" for kind in ("images", "labels") for split in REQUIRED]
    _expect(root, "folder", parts)
    images, labels = root / "images", root / "labels"
    splits = tuple(_pair(split, images / split, labels / split, deep=True) for split in _present(images))
    description = root / "classes.json"
    if not description.exists():
        return Layout("folder", None, splits)
    return read_classes(description, splits)


_OPENERS: dict[str, Callable[[Path], Layout]] = {
    "camvid": _camvid,
    "folder": _folder,
    "scenes": lambda root: Layout("scenes", SCENES),
}
DATASETS = tuple(_OPENERS)
"""The names that :func:`open_layout` knows."""


def read_classes(path: Path, splits: tuple[Split, ...] = ()) -> Layout:
    """Read a classes.json, for instance ``{"classes": ["background", "leaf"], "ignore_index": 255}``.

    ``classes`` (required) names class 0, 1, ... ``ignore_index`` is the value in the masks that means void
    besides 255; it becomes 255 on reading. ``palette``, one [red, green, blue] per class, gives the colours
    of pictures; if the masks are RGB it is also what turns a colour into its class, and one further colour
    then means void.

    Raises:
        UserError: If the file is not that.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not JSON, or not UTF-8
        raise UserError(f"cannot read '{path}' as JSON: {error}") from error
    if not isinstance(data, dict) or "classes" not in data:
        raise UserError(f'\'{path}\' must be an object with "classes", for instance {{"classes": ["a", "b"]}}')
    for key in data:
        if key not in ("classes", "ignore_index", "palette"):
            raise unknown("key", key, ("classes", "ignore_index", "palette"), hint=f"in '{path}'")
    names, void, palette = data["classes"], data.get("ignore_index", VOID), data.get("palette")
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"\"classes\" in '{path}' must be a list of names, got {names!r}")
    if not 2 <= len(set(names)) == len(names) <= VOID:
        raise UserError(f"\"classes\" in '{path}' must be 2 to {VOID} distinct names, got {len(names)}")
    if type(void) is not int or not 0 <= void < 2**16:
        raise UserError(f"\"ignore_index\" in '{path}' must be a label value in 0..65535, got {void!r}")
    if palette is None:
        return Layout("folder", Classes(tuple(names)), splits, void)
    if not isinstance(palette, list) or len(palette) not in (len(names), len(names) + 1):
        raise UserError(
            f"\"palette\" in '{path}' must be {len(names)} colours (one per class; one more = void), "
            f"got {len(palette) if isinstance(palette, list) else repr(palette)}"
        )
    if bad := [entry for entry in palette if not _is_colour(entry)]:
        raise UserError(f"\"palette\" in '{path}' must hold [red, green, blue] with 0..255, got {bad[0]!r}")
    colours = tuple((red, green, blue) for red, green, blue in palette)
    if len(set(colours)) < len(colours):
        raise UserError(f"\"palette\" in '{path}' must hold distinct colours, one occurs twice")
    return Layout("folder", Classes(tuple(names), colours[: len(names)]), splits, void, colours)


def _is_colour(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and all(type(v) is int and 0 <= v <= 255 for v in entry)


def _existing_folder(root: Path) -> Path:
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
    remedy = f"did you mean '{parent / near[0]}'?" if near else f"'{parent}' exists and holds {_shown(folders)}"
    raise UserError(f"no folder '{root}'; {remedy}")


def _expect(root: Path, name: str, parts: Sequence[str]) -> None:
    """Check that ``root`` holds the folders ``parts``."""
    missing = [part for part in parts if not (root / part).is_dir()]
    if not missing:
        return
    if len(missing) < len(parts):
        raise UserError(f"'{root}' lacks {_listed(missing)}; dataset '{name}' needs {_listed(parts)}")
    inside = [child for child in root.iterdir() if all((child / part).is_dir() for part in parts)]
    if inside:
        remedy = f"did you mean '{inside[0]}'?"
    elif name != "folder" and all((root / part).is_dir() for part in ("images", "labels")):
        remedy = "it looks like dataset 'folder': set data.name=folder"
    elif name != "camvid" and (root / "trainannot").is_dir():
        remedy = "it looks like dataset 'camvid': set data.name=camvid"
    else:
        remedy = f"it holds {_shown(entry.name for entry in root.iterdir())}"
    raise UserError(f"'{root}' is not laid out as '{name}': expected {_listed(parts)}; {remedy}")


def _present(folder: Path) -> list[str]:
    return [split for split in SPLITS if (folder / split).is_dir()]


def _pair(name: str, image_folder: Path, label_folder: Path, *, deep: bool) -> Split:
    """Match images with masks by their name up to the suffix."""
    images = _files(image_folder, IMAGE_SUFFIXES, deep)
    if not images:
        raise UserError(f"no images in '{image_folder}'; expected files {_shown(IMAGE_SUFFIXES, len(IMAGE_SUFFIXES))}")
    if not label_folder.is_dir():
        raise UserError(f"no folder '{label_folder}' for the masks of the images in '{image_folder}'")
    labels = _files(label_folder, LABEL_SUFFIXES, deep)
    if alone := images.keys() - labels.keys():
        raise UserError(
            f"{len(alone)} of {len(images)} images in '{image_folder}' have no mask in '{label_folder}': "
            f"{_shown(alone)}; a mask has its image's name and ends in {_shown(LABEL_SUFFIXES)}"
        )
    if alone := labels.keys() - images.keys():
        raise UserError(
            f"{len(alone)} of {len(labels)} masks in '{label_folder}' have no image in '{image_folder}': "
            f"{_shown(alone)}; remove them or add their images"
        )
    stems = sorted(images)
    return Split(name, tuple(images[stem] for stem in stems), tuple(labels[stem] for stem in stems))


def _files(folder: Path, suffixes: frozenset[str], deep: bool) -> dict[str, Path]:
    """The files under ``folder`` by their path up to the suffix; names that begin with a dot are not data."""
    found: dict[str, Path] = {}
    for path in folder.rglob("*") if deep else folder.glob("*"):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise UserError(f"'{found[stem]}' and '{path}' differ only in their suffix; remove one")
            found[stem] = path
    return found


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(f"{part}/" for part in parts)


def _shown(names: Iterable[str], limit: int = 4) -> str:
    names = sorted(names)
    return (", ".join(names[:limit]) or "nothing") + (", ..." if len(names) > limit else "")
