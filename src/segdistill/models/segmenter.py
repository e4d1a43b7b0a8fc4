"""A segmentation network made of an encoder, a decoder and a classifier, which publishes its features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.outputs import SegOutput


class Segmenter(nn.Module):
    """An encoder, a decoder and a classifier; the logits have the stride of the decoder.

    The children are named as in segmentation_models_pytorch, so weights files of smp's networks fit, and a student's
    file loads into smp's network of the same kind.

    Args:
        encoder: A module that maps images to a list of maps, finest first: ``[images, stride 2, stride 4, ...]``. Its
            ``out_channels`` lists the maps' numbers of channels.
        decoder: A module that maps that list to one map.
        segmentation_head: A module that maps that map to logits.
        dropout: Probability of dropout before the classifier.
        aux_head: A module that maps the second-last map of the encoder to auxiliary logits; always computed.
        multiple: The number that the encoder needs to divide the image sides. Other images are padded with zeros (the
            mean color) at the right and bottom, and the logits are cropped; features keep the padding.

    Attributes:
        align_corners: Whether the logits are upsampled with aligned corners: True, as in smp and in CIRKD's code.
        roles: The taps of the features: ``stage1`` (stride 4) .. ``stage4``, or the maps of a vision transformer, which
            all have one stride; ``head``, which is the classifier's input, and ``aux`` if there is an auxiliary head.
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
        self.align_corners = True
        self.roles = {**_stages(encoder), "head": "segmentation_head:input"}
        if aux_head is not None:
            self.roles["aux"] = "aux_head"

    def forward(self, images: Tensor) -> SegOutput:
        """Return logits of shape (N, C, h, w) for images of shape (N, 3, H, W)."""
        height, width = images.shape[-2:]
        # Without a negative number, whose remainder some runtimes of exported programs make negative.
        right, bottom = ((self.multiple - side % self.multiple) % self.multiple for side in (width, height))
        # An exported program takes any size, so it has no branch on the size: it pads by 0 where nothing is missing.
        pads = self.multiple > 1 and (torch.compiler.is_exporting() or right > 0 or bottom > 0)
        if pads:
            images = F.pad(images, (0, right, 0, bottom))
        features = self.encoder(images)
        # Vision transformers return (maps, class tokens), which their decoder takes as two arguments.
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        logits = self.segmentation_head(self.dropout(decoded))
        if pads:
            rows = _inside(height, height + bottom, logits.shape[-2])
            columns = _inside(width, width + right, logits.shape[-1])
            logits = _cropped(logits, rows, columns) if torch.compiler.is_exporting() else logits[..., :rows, :columns]
        return SegOutput(logits, None if self.aux_head is None else self.aux_head(features[-2]))


def _inside(length: int, padded: int, count: int) -> int:
    """Return how many of the ``count`` logits along a padded side belong to the image: its share, rounded up.

    The usual strides come first, because ONNX rounds the division of a negative number towards 0.
    """
    for stride in (1, 2, 4, 8, 16, 32):
        if count * stride == padded:
            return (length - 1) // stride + 1
    return -(-length * count // padded)


def _cropped(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Return the first rows and columns as a new tensor. A view would make the exported program check its layout."""
    first, second = (torch.arange(count, device=maps.device) for count in (rows, columns))
    return maps.index_select(2, first).index_select(3, second)


def _stages(encoder: nn.Module) -> dict[str, str]:
    if hasattr(encoder, "output_strides"):  # a vision transformer: (maps, prefix tokens), all maps at one stride
        count = len(encoder.out_channels)  # type: ignore[arg-type]
        return {f"stage{number}": f"encoder[0][{number - 1}]" for number in range(1, count + 1)}
    channels: list[int] = list(encoder.out_channels)  # type: ignore[arg-type]
    # Encoders without a map at stride 2 return one with 0 channels instead, so stage1 is always item 2.
    return {f"stage{item - 1}": f"encoder[{item}]" for item in range(2, len(channels)) if channels[item]}
