"""Networks built by name."""

import inspect
import logging
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from segdistill.errors import UserError, unknown
from segdistill.models.names import PAPERS, check_name, is_import_path
from segdistill.models.weights import load_weights
from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD, Wrapped, wrap
from segdistill.outputs import aligns_corners
from segdistill.system.importing import import_callable

log = logging.getLogger("segdistill")


def build(
    name: str,
    num_classes: int,
    weights: str | Path | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    align_corners: bool | None = None,
    **options: object,
) -> nn.Module:
    """Return a network that returns :class:`~segdistill.outputs.SegOutput`, with logits at the network's stride.

    Args:
        name: One of :func:`segdistill.models.names`; ``"arch/encoder"`` for a network of
            segmentation_models_pytorch with an encoder of smp or, after ``tu-``, of timm; ``"torchvision/name"`` for a
            segmentation network of torchvision; or
            ``"package.module:callable"``, called with ``num_classes`` and the options.
        num_classes: Number of classes.
        weights: A file for :func:`segdistill.models.load_weights`. Tensors that it does not have keep random values.
            The report of what was loaded is logged, as a warning if tensors have other shapes, as those of a classifier
            of other classes. Nothing is ever downloaded. A run's weights come without its
            normalization and options; :func:`segdistill.models.load` builds its student with them.
        mean, std: The mean and standard deviation with which the network expects RGB images in 0..1 to be normalized.
            By default those that timm records for the weights of the encoder, those of a callable's
            :func:`~segdistill.models.wrap`, or ImageNet's. The returned network takes images normalized with
            ImageNet's values and converts them once; values other than ImageNet's are logged.
        align_corners: Whether the logits are upsampled with aligned corners, in the task loss and in every score; by
            default as the network's library does: True for the papers' networks (CIRKD's code) and smp's, False for any
            other network without an attribute ``align_corners``.
        options: For the papers' convolutional networks ``encoder`` and ``output_stride``; for instance
            ``encoder="resnet18"`` gives deeplabv3_resnet18 torchvision's encoder instead of the papers' deep stem.
            Otherwise the arguments of smp's architecture or of the callable.

    Raises:
        UserError: An unknown name, encoder or option (the message suggests the nearest), a package that is not
            installed, or weights that do not fit.
    """
    check_name(name)
    if num_classes < 1:
        raise UserError(f"num_classes must be at least 1, got {num_classes}")
    if name in PAPERS:
        network = _build_paper(name, num_classes, options)
    elif is_import_path(name):
        network = _build_imported(name, num_classes, options)
    elif name.startswith("torchvision/"):
        from segdistill.models.from_torchvision import build_torchvision

        network = build_torchvision(name.removeprefix("torchvision/"), num_classes, options)
    else:
        from segdistill.models.library import build_library

        network = build_library(name, num_classes, options)
    if align_corners is not None:
        network.align_corners = align_corners  # type: ignore[assignment]
    network = _normalizing(network, name, mean, std)
    if weights is not None:
        report = load_weights(network, weights)
        log.log(logging.WARNING if report.mismatched else logging.INFO, "%s: %s", name, report)
    return network


def _normalizing(network: nn.Module, name: str, mean: Sequence[float] | None, std: Sequence[float] | None) -> nn.Module:
    """Return a network that converts ImageNet-normalized images to the given mean and std; unchanged if it does so.

    The values of a network that a callable has wrapped are replaced, so that images are converted once.
    """
    if mean is None and std is None and "/" in name and not name.startswith("torchvision/"):
        from segdistill.models.library import normalization

        mean, std = normalization(name.partition("/")[2])
    own = (network.mean, network.std) if isinstance(network, Wrapped) else (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = expected = tuple(mean or own[0]), tuple(std or own[1])
    if expected != own:
        if isinstance(network, Wrapped):
            network.expect(mean, std)
        else:
            network = wrap(network, mean=mean, std=std, align_corners=aligns_corners(network))
    if expected != own or own != (IMAGENET_MEAN, IMAGENET_STD):
        log.info("%s: images are normalized with mean %s and deviation %s", name, list(mean), list(std))
    return network


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
