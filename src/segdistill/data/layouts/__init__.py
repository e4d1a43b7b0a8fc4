"""Where the files of a dataset lie. Standard library only, so that a wrong folder is answered at once."""

from pathlib import Path

from segdistill.data.layouts import ade20k, camvid, cityscapes, folder, generated, hf, imagenet, voc
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
        folder.CARD,
        imagenet.CARD,
        hf.CARD,
        generated.SCENES_CARD,
        generated.SHAPES_CARD,
    )
}
"""What there is to know about each dataset, by name."""

DATASETS = tuple(DATASET_CARDS)
"""The names that :func:`open_layout` knows."""

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
    """Return what there is to know about a dataset.

    Raises:
        UserError: If there is none of that name; offers the nearest.
    """
    if name not in DATASET_CARDS:
        raise unknown("dataset", name, DATASETS)
    return DATASET_CARDS[name]


def open_layout(name: str, root: str | Path | None = None, share: float | None = None) -> Layout:
    """Find the files of a dataset, without reading any image.

    Args:
        name: One of :data:`DATASETS`; :attr:`DatasetCard.layout` says what must lie where.
        root: The dataset's folder; ``~`` is expanded. None for generated data.
        share: Of a flat ``folder``, what share of it is the training split; None for all others.

    Raises:
        UserError: For an unknown name, no or a wrong root, a wrong layout, a split without images or
            missing, an image without mask, a mask without image, a bad classes.json.
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
    where = existing_folder(Path(root).expanduser())
    return folder.open_folder(where, share) if name == "folder" else card.open(where)
