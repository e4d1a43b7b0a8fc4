"""The program in an exported file: images in, classes out, with normalization, scaling and upsampling inside."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD
from segdistill.outputs import aligns_corners, read_output


class Program(nn.Module):
    """A network with all that is done to an image before it and to its logits after it.

    The result is the same as that of :meth:`segdistill.Run.predict`, which also resizes images to a short side and
    segments in windows, if the run was scored so. Scaled images may differ by 1 in a few values in a thousand, because
    torchvision scales in whole numbers, but on a processor without AVX2 it does not. Sizes are computed with whole
    numbers only, so that the exported program takes any batch, height and width.

    Args:
        network: A network that takes images normalized with ``mean`` and ``std``.
        mean, std: Three numbers each.
        scale: The factor by which images are resized first, as in the training.
        void: Classes that are never predicted.
        raw: Return the scores instead of the classes.
    """

    mean: Tensor
    std: Tensor
    void: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        scale: float = 1.0,
        void: Sequence[int] = (),
        raw: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.align_corners = aligns_corners(network)
        self.scale = Fraction(scale).limit_denominator(1000)
        self.raw = raw
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.register_buffer("void", torch.tensor(tuple(void)) if void else None)

    @classmethod
    def of(cls, network: nn.Module, description: Mapping[str, Any], *, raw: bool = False) -> "Program":
        """Return the program of a student, in eval mode on the CPU.

        Args:
            network: The student.
            description: The content of ``student.json``.
            raw: Return the scores instead of the classes.
        """
        values = {key: description[key] for key in ("mean", "std", "scale", "void") if key in description}
        return cls(network, raw=raw, **values).cpu().eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the class of every pixel, (N, H, W), or with ``raw`` the scores, (N, C, H, W), float32.

        The classes are uint8, or int32 if there are more than 256. For a network that classifies images the shapes are
        (N,) and (N, C).

        Args:
            images: RGB images, uint8, shape (N, H, W, 3).
        """
        scores = self.scores(images)
        return scores if self.raw else classes_of(scores)

    def scores(self, images: Tensor) -> Tensor:
        """Return the scores at the size of the images; those of void classes are minus infinity."""
        height, width = images.shape[1:3]
        pixels = images.float().permute(0, 3, 1, 2)  # in this order, because TensorRT takes uint8 into a cast only
        if self.scale != 1:
            rows, columns = scaled_length(height, self.scale), scaled_length(width, self.scale)
            # As torchvision scales uint8 in training, scoring and prediction: first the rows of pixels, then the
            # columns, each rounded to whole values.
            pixels = _resized(_resized(pixels, height, columns), rows, columns)
        logits = read_output(self.network((pixels / 255 - self.mean) / self.std)).logits.float()
        if logits.dim() == 4:
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=self.align_corners)
        return logits if self.void is None else logits.index_fill(1, self.void, -torch.inf)


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """Return antialiased pixels, rounded to whole values, halves upward.

    A half is common, and a runtime may compute it with an error, hence the thousandth.
    """
    resized = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return (resized + 0.501).floor().clamp(0, 255)


def classes_of(scores: Tensor) -> Tensor:
    """Return the class with the highest score, uint8, or int32 if there are more than 256 classes."""
    return scores.argmax(1).to(torch.uint8 if scores.shape[1] <= 256 else torch.int32)


def scaled_length(length: int, scale: Fraction) -> int:
    """Return ``round(length * scale)`` in whole numbers without a branch, so that it can be traced; at least 1.

    A half is rounded to the even number, as Python does.
    """
    double = 2 * length * scale.numerator + scale.denominator
    rounded = double // (2 * scale.denominator)
    is_half = 1 // (1 + double % (2 * scale.denominator))  # 1 if the remainder is 0
    rounded = rounded - rounded % 2 * is_half
    return rounded + 1 // (1 + rounded)  # 0 becomes 1
