"""Layouts of a hub folder, by the name of the network. This module does not import PyTorch."""

from typing import Literal

Layout = Literal["smp", "transformers", "segdistill"]


def layout_of(model: str) -> Layout:
    """Return the library whose ``from_pretrained`` loads a network: ``segdistill`` if no other library builds it.

    Args:
        model: The name of the network, as for :func:`segdistill.models.build`.
    """
    if model.startswith("segformer_"):
        return "transformers"
    architecture, slash, _ = model.partition("/")
    is_smp = bool(slash) and ":" not in model and architecture not in ("linear", "torchvision")
    return "smp" if is_smp else "segdistill"
