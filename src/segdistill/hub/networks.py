"""Weights and configuration of a student in the layout of its library, as ``from_pretrained`` reads them."""

from pathlib import Path
from typing import Any

from torch import nn

from segdistill.hub.layouts import layout_of
from segdistill.models.segmenter import Segmenter
from segdistill.models.wrapper import Wrapped


def write_network(network: nn.Module, description: dict[str, Any], folder: Path) -> None:
    """Write a network of smp or transformers into a folder, in its library's layout.

    Args:
        network: The network from :func:`segdistill.models.load`.
        description: Its description from :func:`segdistill.models.read_description`.
        folder: The folder; it exists.
    """
    inner = _inner(network)
    if layout_of(description["model"]) == "smp":
        _write_smp(inner, description, folder)
    else:
        _write_segformer(inner, description, folder)


def needed_multiple(network: nn.Module) -> int:
    """Return the number that must divide the sides of images for the network's library, which does not pad them."""
    inner = _inner(network)
    return inner.multiple if isinstance(inner, Segmenter) else 1


def _inner(network: nn.Module) -> nn.Module:
    return network.network if isinstance(network, Wrapped) else network


def _write_smp(inner: nn.Module, description: dict[str, Any], folder: Path) -> None:
    from segdistill.models.library import smp_network

    library = smp_network(description["model"], description["num_classes"], description["options"])
    library.load_state_dict(inner.state_dict(), strict=True)
    library.eval().save_pretrained(folder)


def _write_segformer(inner: nn.Module, description: dict[str, Any], folder: Path) -> None:
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    from segdistill.models.segformer import configuration

    size = description["model"].removeprefix("segformer_")
    config = configuration(description["num_classes"], size)
    if classes := description.get("classes"):
        config.id2label = dict(enumerate(classes))
        config.label2id = {name: index for index, name in enumerate(classes)}
    library = SegformerForSemanticSegmentation(config)
    library.load_state_dict(inner.state_dict(), strict=True)
    library.eval().save_pretrained(folder)
    processor = SegformerImageProcessor(
        do_resize=False, image_mean=description["network_mean"], image_std=description["network_std"]
    )
    processor.save_pretrained(folder)
