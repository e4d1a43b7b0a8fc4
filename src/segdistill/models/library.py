"""Networks of segmentation_models_pytorch with any encoder of smp or timm. Nothing is downloaded."""

import inspect
from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import nn

from segdistill.errors import UserError, unknown
from segdistill.models.segmenter import Segmenter

# Arguments that this package sets itself: logits for num_classes, at the network's stride, from RGB images.
_DECIDED = {
    "encoder_name",
    "encoder_weights",
    "classes",
    "in_channels",
    "activation",
    "upsampling",
    "aux_params",
}


def build_library(name: str, num_classes: int, options: dict[str, object]) -> Segmenter:
    """Return the network ``"arch/encoder"``, for instance ``"deeplabv3/tu-mobilenetv2_035"``.

    Args:
        name: An architecture of smp or ``linear``, a slash, and an encoder of smp or, after ``tu-``, of timm.
        num_classes: Number of classes.
        options: Arguments of smp's architecture (``decoder_channels``, ``encoder_output_stride``, ...); for
            ``tu-`` encoders also arguments of timm's model.

    Raises:
        UserError: An unknown encoder or option, or an architecture that does not work with the encoder.
    """
    architecture, encoder = name.split("/", 1)
    check_encoder(encoder)
    if architecture == "linear":
        from segdistill.models.linear import build_linear

        return build_linear(encoder, num_classes, options)
    network = smp_network(name, num_classes, options)
    head = _without_upsampling(network.segmentation_head)
    multiple = network.encoder.output_stride if network.requires_divisible_input_shape else 1
    return Segmenter(network.encoder, network.decoder, head, multiple=multiple)


def smp_network(name: str, num_classes: int, options: Mapping[str, object]) -> Any:
    """Return smp's network ``"arch/encoder"``, with logits at the size of the images.

    Args:
        name, num_classes, options: As for :func:`build_library`, without ``linear``.

    Raises:
        UserError: As for :func:`build_library`.
    """
    architecture, encoder = name.split("/", 1)
    network_class = smp.MODEL_ARCHITECTURES_MAPPING[architecture]
    parameters = inspect.signature(network_class).parameters.values()
    known = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - _DECIDED
    for option, value in options.items():
        # smp ignores unknown options; for timm's encoders it passes them to timm, which checks all values but None.
        unchecked = option in _DECIDED or value is None or not encoder.startswith("tu-")
        if option not in known and unchecked:
            raise unknown(f"option of {name}", option, known)
    try:
        return network_class(encoder_name=encoder, encoder_weights=None, in_channels=3, classes=num_classes, **options)
    except Exception as error:  # smp and timm raise anything from KeyError to RuntimeError
        raise UserError(f"cannot build {name} with {options or 'no options'}: {error}") from error


def check_encoder(name: str) -> None:
    """Raise unless smp has an encoder of this name or, for a name after ``tu-``, timm has a model.

    Raises:
        UserError: An unknown name; the message suggests the nearest.
    """
    if timm.is_model(name.removeprefix("tu-")) if name.startswith("tu-") else name in smp.encoders.encoders:
        return
    from_smp = [known for known in smp.encoders.encoders if not known.startswith("timm-")]
    raise unknown("encoder", name, [*from_smp, *(f"tu-{known}" for known in timm.list_models())])


def normalization(encoder: str) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return the mean and standard deviation of the images that an encoder's published weights were trained on.

    timm records them. For smp's encoders this returns (None, None), which means ImageNet's values. Some of smp's
    Inception and Xception weights need other values, which smp records with the weights: give ``mean`` and ``std`` for
    these.
    """
    if not encoder.startswith("tu-"):
        return None, None
    known = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
    return (None, None) if known is None else (tuple(known.mean), tuple(known.std))


def _without_upsampling(head: nn.Module) -> nn.Module:
    for name, child in head.named_children():
        if isinstance(child, nn.Upsample):
            setattr(head, name, nn.Identity())
    if hasattr(head, "upsampling_factor"):  # DPT
        head.upsampling_factor = 1.0  # type: ignore[assignment]
    return head
