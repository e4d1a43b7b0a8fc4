"""Layouts of data sets on disk. Only the standard library is imported, so that a wrong folder is reported at once."""

from pathlib import Path

from segdistill.data.layouts import ade20k, camvid, cityscapes, cocostuff, folder, generated, hf, imagenet, voc
from segdistill.data.layouts.layout import SPLITS, DatasetCard, Layout, Split, Task
from segdistill.data.layouts.pairing import existing_folder
from segdistill.errors import UserError, unknown

DATASET_CARDS = {
    card.name: card
    for card in (
        camvid.CARD,
        cityscapes.CARD,
        voc.CARD,
        ade20k.CARD,
        cocostuff.CARD,
        folder.CARD,
        imagenet.CARD,
        hf.CARD,
        generated.SCENES_CARD,
        generated.SHAPES_CARD,
    )
}
"""The card of each data set, by name."""

DATASETS = tuple(DATASET_CARDS)
"""The names that :func:`open_layout` takes."""

__all__ = [
    "DATASETS",
    "DATASET_CARDS",
    "SPLITS",
    "DatasetCard",
    "Layout",
    "Split",
    "Task",
    "dataset_card",
    "open_layout",
]


def dataset_card(name: str) -> DatasetCard:
    """Return the card of a data set.

    Raises:
        UserError: If no data set has that name. The message suggests the nearest.
    """
    if name not in DATASET_CARDS:
        raise unknown("dataset", name, DATASETS)
    return DATASET_CARDS[name]


def open_layout(name: str, root: str | Path | None = None, share: float | None = None) -> Layout:
    """Return the files of a data set, without reading any image.

    Args:
        name: One of :data:`DATASETS`; :attr:`DatasetCard.layout` lists the files that each needs.
        root: The data set's folder; ``~`` is expanded. None for generated data.
        share: The share of a flat ``folder`` that is the training split; None for all other data sets.

    Raises:
        UserError: For an unknown name, a missing or wrong root, a wrong layout, a missing split or one without images,
            an image without a mask, a mask without an image, or an invalid classes.json.
    """
    card = dataset_card(name)
    if share is not None and name != "folder":
        raise UserError(f"data.split={share:g} splits a flat folder, and dataset '{name}' has splits; leave it out")
    if card.generated:
        if root is not None:
            raise UserError(f"dataset '{name}' is generated but root '{root}' was given; use 'folder' or 'camvid'")
        return card.open(Path())
    if root is None:
        raise UserError(f"dataset '{name}' needs a root: set data.root to the folder that holds it")
    path = existing_folder(Path(root).expanduser())
    return folder.open_folder(path, share) if name == "folder" else card.open(path)
