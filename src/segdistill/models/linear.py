"""A vision transformer with a linear head, as DINOv2 is evaluated on segmentation."""

from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from torch import Tensor, nn

from segdistill.errors import UserError
from segdistill.models.segmenter import Segmenter


class LastMap(nn.Module):
    """The last map of an encoder after batch normalization; the prefix tokens are not used."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: list[Tensor], prefix_tokens: object = None) -> Tensor:
        """Return a map of shape (N, channels, h, w)."""
        normalized: Tensor = self.norm(features[-1])
        return normalized


def build_linear(encoder: str, num_classes: int, options: dict[str, object]) -> Segmenter:
    """Return a vision transformer of timm with batch normalization and a 1x1 convolution, with logits at its stride.

    ``stage1`` to ``stage4`` are the outputs of four blocks, evenly spaced. Images of any size are accepted: they are
    padded to whole patches, and the position embedding is resized. Corners are not aligned, as in DINOv2's code.

    Args:
        encoder: ``tu-`` and a vision transformer of timm, for instance ``"tu-vit_small_patch14_dinov2"``.
        num_classes: Number of classes.
        options: Arguments of timm's model.

    Raises:
        UserError: The encoder is no vision transformer, or refuses an option.

    Reference: Oquab et al., 2023, https://arxiv.org/abs/2304.07193, section 7.4: a linear layer on the last patch
    tokens. Their encoder is frozen. Here it trains like any other, unless a recipe has ``freeze: [encoder]``.
    """
    arguments = {"dynamic_img_size": True, **options}
    try:
        built = TimmViTEncoder(encoder.removeprefix("tu-"), pretrained=False, **arguments)
    except Exception as error:  # timm raises anything from KeyError to RuntimeError
        raise UserError(
            f"cannot build linear/{encoder} with {arguments}: {error}; the encoder must be a vision transformer of "
            "timm, as in linear/tu-vit_small_patch14_dinov2"
        ) from error
    for unused in ("norm", "fc_norm", "head"):  # of the classifier; several processes would wait for their gradients
        if isinstance(layer := getattr(built.model, unused, None), nn.Module):
            layer.requires_grad_(False)
    channels = int(built.out_channels[-1])
    head = nn.Sequential(nn.Conv2d(channels, num_classes, 1))
    network = Segmenter(built, LastMap(channels), head, multiple=int(built.output_stride))
    network.align_corners = False
    return network
