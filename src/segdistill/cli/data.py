"""Command `segdistill data`: description of a data set, check of its folder, frequencies of its classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segdistill.cli.screen import console
from segdistill.data import DATASET_CARDS, DatasetCard, Layout, dataset_card, open_layout
from segdistill.errors import UserError, few, unknown
from segdistill.reports.screen import screen_table

if TYPE_CHECKING:
    from segdistill.data import SegmentationDataset

KEYS = ("data.root", "data.split", "split")


def show(name: str | None, changes: Sequence[str]) -> None:
    """List the data sets; or describe one, check its folder and count the classes of a split."""
    if name is None:
        _list()
        return
    card = dataset_card(name)
    values = _parsed(changes)
    root, split = values.get("data.root"), values.get("split")
    share = _share(values.get("data.split"))
    has_values = root is not None or split is not None or share is not None
    layout = open_layout(name, root, share) if has_values else None
    if split is not None and layout is not None:
        layout.split(split)
    _describe(card)
    if layout is not None:
        _count_images(layout, root, share)
    if split is not None:
        _count_classes(name, root, split, share)


def _list() -> None:
    table = screen_table("data set", "task", "description")
    for card in DATASET_CARDS.values():
        table.add_row(card.name, card.task or "either", card.about)
    console.print(table)


def _parsed(changes: Sequence[str]) -> dict[str, str]:
    values = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if key not in KEYS:
            raise unknown("key", key, KEYS, hint="of `segdistill data`")
        if not equals or not value:
            raise UserError(f"'{change}' has no value; expected {key}=VALUE")
        values[key] = value
    return values


def _share(given: str | None) -> float | None:
    """Return the share of a folder without train/ and val/ to train on, as in the recipe's key ``data.split``."""
    if given is None:
        return None
    try:
        share = float(given)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UserError(f"data.split={given} is not a share; expected a number between 0 and 1, for instance 0.9")
    return share


def _describe(card: DatasetCard) -> None:
    table = screen_table("", "", show_header=False)
    for row in (("data.name", card.name), ("about", card.about), ("source", card.source), ("terms", card.terms)):
        table.add_row(*row)
    if card.layout:
        table.add_row("data.root", card.layout)
    console.print(table)


def _count_images(layout: Layout, root: str | None, share: float | None) -> None:
    console.print()
    table = screen_table("split", "images", "")
    for split in layout.splits:
        count = len(split.images) or len(_open(layout.name, root, split.name, share))  # no files to count
        table.add_row(split.name, str(count), split.source)
    console.print(table)
    if layout.classes is not None:
        console.print(f"{len(layout.classes)} classes: {few(layout.classes.names, 20)}", soft_wrap=True)


def _count_classes(name: str, root: str | None, split: str, share: float | None) -> None:
    from segdistill.data import class_frequencies

    dataset = _open(name, root, split, share)
    counted = class_frequencies(dataset)
    console.print()
    if dataset.task == "classification":
        table = screen_table("class", "images", "% of images")
        for index in counted.order:
            table.add_row(counted.names[index], str(counted.images[index]), f"{100 * counted.shares[index]:.2f}")
        console.print(table)
        return
    rare = counted.rare()
    table = screen_table("class", "% of pixels", "images", "")
    for index in counted.order:
        name, images = counted.names[index], counted.images[index]
        group = ("rare" if name in rare else "common") if images else "absent"
        table.add_row(name, f"{100 * counted.shares[index]:.3f}", str(images), group)
    console.print(table)
    labeled = sum(counted.counts)
    void = 100 * counted.void / max(1, labeled + counted.void)
    console.print(f"{split}: {labeled} labeled pixels in {len(dataset)} images, {void:.2f} % of all pixels are void")


def _open(name: str, root: str | None, split: str, share: float | None) -> "SegmentationDataset | Any":
    from segdistill.data import open_dataset

    return open_dataset(name, root, split, share=share)
