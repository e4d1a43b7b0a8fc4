"""The split of a run, applied to a folder that has changed since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from segdistill.data.layouts.layout import Layout, Split
from segdistill.errors import UserError, few

SPLIT_FILE = "split.json"
"""The record of a split in the folder of a run."""


def with_recorded_split(layout: Layout, recorded: Mapping[str, Sequence[str]]) -> Layout:
    """Return a layout whose splits hold the images that a run trained on and was validated with.

    Images that were added later are in no split. A folder without any of the recorded images is another data set, and
    keeps its splits.

    Args:
        layout: The layout, as ``data.split`` divides the folder now.
        recorded: The stems of the images of each split at the time of the run.

    Raises:
        UserError: An image of the run is missing, or its name is no longer unique.
    """
    pairs: dict[str, list[tuple[Path, Path]]] = {}
    for split in layout.splits:
        for image, mask in zip(split.images, split.labels, strict=True):
            pairs.setdefault(image.stem, []).append((image, mask))
    now = {split.name: [image.stem for image in split.images] for split in layout.splits}
    names = [name for split in recorded.values() for name in split]
    if now == dict(recorded) or not any(name in pairs for name in names):
        return layout
    missing = [name for name in names if len(pairs.get(name, ())) != 1]
    if missing:
        raise UserError(
            f"'{layout.place}' has changed since the run: {few(missing, 3)} of its images cannot be found, or their "
            "names are not unique; restore them, so that no image is scored that the run trained on"
        )
    return replace(layout, splits=tuple(_split(name, recorded[name], pairs) for name in recorded))


def _split(name: str, stems: Sequence[str], pairs: Mapping[str, Sequence[tuple[Path, Path]]]) -> Split:
    images, labels = zip(*(pairs[stem][0] for stem in stems), strict=True)
    return Split(name, images, labels, source=f"{len(stems)} images, as in the run")
