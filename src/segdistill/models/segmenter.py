"""Encoder, decoder and classifier joined into one network that publishes its features."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.outputs import SegOutput


class Segmenter(nn.Module):
    """Class scores from an encoder's maps, at the decoder's own stride.

    The children are named as in segmentation_models_pytorch, so weights files of smp's networks fit and a
    student file loads into smp's network of the same kind.

    Args:
        encoder: Images to a list of maps, finest first: ``[images, stride 2, stride 4, ...]``; has
            ``out_channels``, the maps' numbers of channels.
        decoder: That list to one map.
        segmentation_head: That map to logits.
        dropout: Probability of dropout before the classifier.
        aux_head: The map before the encoder's last to auxiliary logits; always computed.
        multiple: The encoder needs image sides that are multiples of this. Others are padded with zeros (the
            mean color) at the right and bottom, and the logits cropped back; features keep the padding.

    Attributes:
        roles: Where the features are: ``stage1`` (stride 4) .. ``stage4``, and ``head``, the classifier's
            input.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        segmentation_head: nn.Module,
        *,
        dropout: float = 0.0,
        aux_head: nn.Module | None = None,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.dropout = nn.Dropout(dropout)
        self.segmentation_head = segmentation_head
        self.aux_head = aux_head
        self.multiple = multiple
        self.roles = {**_stages(encoder), "head": "segmentation_head:input"}
        if aux_head is not None:
            self.roles["aux"] = "aux_head"

    def forward(self, images: Tensor) -> SegOutput:
        """Return logits (N, C, h, w) of images (N, 3, H, W)."""
        height, width = images.shape[-2:]
        right, bottom = -width % self.multiple, -height % self.multiple
        if right or bottom:
            images = F.pad(images, (0, right, 0, bottom))
        features = self.encoder(images)
        # Vision transformers give (maps, class tokens), which their decoder takes as two arguments.
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        logits = self.segmentation_head(self.dropout(decoded))
        if right or bottom:
            rows = -(-height * logits.shape[-2] // (height + bottom))  # rounded up
            columns = -(-width * logits.shape[-1] // (width + right))
            logits = logits[..., :rows, :columns]
        return SegOutput(logits, None if self.aux_head is None else self.aux_head(features[-2]))


def _stages(encoder: nn.Module) -> dict[str, str]:
    if hasattr(encoder, "output_strides"):  # a vision transformer: all maps at one stride
        return {}
    channels: list[int] = list(encoder.out_channels)  # type: ignore[arg-type]
    # Encoders without a map at stride 2 put one without channels in its place, so stage1 is always item 2.
    return {f"stage{item - 1}": f"encoder[{item}]" for item in range(2, len(channels)) if channels[item]}
