"""From a name to a network."""

import inspect
import logging
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from segdistill.errors import UserError, unknown
from segdistill.models.names import PAPERS, check_name, is_import_path
from segdistill.models.weights import load_weights
from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD, Wrapped, wrap
from segdistill.system.importing import import_callable

log = logging.getLogger("segdistill")


def build(
    name: str,
    num_classes: int,
    weights: str | Path | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: object,
) -> nn.Module:
    """Build a network that returns :class:`~segdistill.outputs.SegOutput`, logits at its own stride.

    Args:
        name: One of :func:`segdistill.models.names`; ``"arch/encoder"`` for a network of
            segmentation_models_pytorch with an encoder of smp or (``tu-``) timm; or
            ``"package.module:callable"``, called with ``num_classes`` and the options.
        num_classes: Number of classes.
        weights: A file for :func:`segdistill.models.load_weights`; random values where it has none. What was
            loaded is logged. Nothing is ever downloaded.
        mean, std: What the network expects RGB images in 0..1 to be normalized with. By default what the weights of
            its encoder were made for, by timm's records, or ImageNet's. The network that is returned takes images
            normalized with ImageNet's, and converts them; values other than ImageNet's are logged.
        options: Of the papers' convolutional networks ``encoder`` (for instance ``"resnet18"``, torchvision's
            own, for deeplabv3_resnet18, whose default has the papers' deep stem) and ``output_stride``;
            otherwise the arguments of smp's architecture or of the callable.

    Raises:
        UserError: Unknown name, encoder or option, with the nearest there is; a package that is not
            installed; weights that do not fit.
    """
    check_name(name)
    if num_classes < 1:
        raise UserError(f"num_classes must be at least 1, got {num_classes}")
    if name in PAPERS:
        network = _build_paper(name, num_classes, options)
    elif is_import_path(name):
        network = _build_imported(name, num_classes, options)
    else:
        from segdistill.models.library import build_library

        network = build_library(name, num_classes, options)
    network = _normalizing(network, name, mean, std)
    if weights is not None:
        log.info("%s: %s", name, load_weights(network, weights))
    return network


def _normalizing(network: nn.Module, name: str, mean: Sequence[float] | None, std: Sequence[float] | None) -> nn.Module:
    """Let a network convert ImageNet-normalized images to what it expects; others stay as they are."""
    if mean is None and std is None and "/" in name:
        from segdistill.models.library import normalization

        mean, std = normalization(name.partition("/")[2])
    own = tuple(mean or IMAGENET_MEAN), tuple(std or IMAGENET_STD)
    if own == (IMAGENET_MEAN, IMAGENET_STD):
        return network
    log.info("%s: images are normalized with mean %s and deviation %s", name, list(own[0]), list(own[1]))
    inner = network.network if isinstance(network, Wrapped) and not network.converts else network
    return wrap(inner, mean=own[0], std=own[1])


def _build_paper(name: str, num_classes: int, options: dict[str, object]) -> nn.Module:
    if name.startswith("segformer_"):
        for option in options:
            raise unknown(f"option of {name}", option, [])
        from segdistill.models.segformer import SegFormer

        return SegFormer(num_classes, size=name.removeprefix("segformer_"))
    if name.startswith("resnet"):
        for option in options:
            raise unknown(f"option of {name}", option, [])
        from segdistill.models.classifiers import resnet

        return resnet(name, num_classes)

    from segdistill.models.papers import NETWORKS

    known = ("encoder", "output_stride")
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    if options.get("output_stride", 8) not in (8, 16, 32):
        raise UserError(f"output_stride of {name} must be 8, 16 or 32, got {options['output_stride']}")
    return NETWORKS[name](num_classes, **options)


def _build_imported(path: str, num_classes: int, options: dict[str, object]) -> nn.Module:
    factory = import_callable(path, "model")
    try:
        inspect.signature(factory).bind(num_classes=num_classes, **options)
    except TypeError as error:
        given = ", ".join(["num_classes", *options])
        raise UserError(f"model '{path}' cannot be called with {given}: {error}") from error
    network = factory(num_classes=num_classes, **options)
    if not isinstance(network, nn.Module):
        raise UserError(f"model '{path}' returned {type(network).__name__}; expected a torch.nn.Module")
    return network if isinstance(network, Wrapped) else wrap(network)
