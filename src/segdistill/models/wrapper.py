"""A wrapper that makes any network return SegOutput and take images normalized with ImageNet's values."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from segdistill.errors import UserError
from segdistill.outputs import SegOutput, aligns_corners, read_output

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def wrap(
    module: nn.Module,
    *,
    roles: Mapping[str, str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    align_corners: bool | None = None,
) -> nn.Module:
    """Return a network that runs ``module`` and returns :class:`~segdistill.outputs.SegOutput`.

    Args:
        module: A module that returns a tensor, a dict with ``"out"`` (and ``"aux"``), or an object with ``.logits``.
            It is not changed; it becomes the attribute ``network``.
        roles: A mapping of roles (``stage1`` .. ``stage4``, ``head``) to taps, with paths relative to ``module``:
            ``{"stage4": "backbone.layer4"}``. By default ``module.roles``, if it has them.
        mean, std: The mean and standard deviation with which ``module`` expects RGB images in 0..1 to be normalized, if
            they are not ImageNet's. The network converts images normalized with ImageNet's values to these.
        align_corners: Whether the logits of ``module`` are upsampled with aligned corners; by default
            ``module.align_corners`` if it has it, else False, as in torchvision and transformers.

    Raises:
        UserError: ``mean`` or ``std`` does not have three values, or a deviation is not positive.
    """
    wrapped = Wrapped(module, getattr(module, "roles", {}) if roles is None else roles, mean, std)
    wrapped.align_corners = aligns_corners(module) if align_corners is None else align_corners
    return wrapped


class Wrapped(nn.Module):
    """The network that :func:`wrap` returns."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: Tensor
    shift: Tensor
    align_corners: bool

    def __init__(
        self,
        network: nn.Module,
        roles: Mapping[str, str],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.roles = {role: f"network.{tap}" for role, tap in roles.items()}
        self.converts = False
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if mean is not None or std is not None:
            self.expect(mean or IMAGENET_MEAN, std or IMAGENET_STD)

    def expect(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Convert images to this mean and standard deviation from now on, instead of those given before.

        Raises:
            UserError: ``mean`` or ``std`` does not have three values, or a deviation is not positive.
        """
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise UserError(f"mean and std must be three numbers each, std positive; got {list(mean)} and {list(std)}")
        self.converts, self.mean, self.std = True, tuple(mean), tuple(std)
        # The input is x = (image - m0) / s0, with ImageNet's m0 and s0. The module expects
        # (image - mean) / std = x * s0 / std + (m0 - mean) / std.
        imagenet, expected = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]), torch.tensor([self.mean, self.std])
        scale, shift = imagenet[1] / expected[1], (imagenet[0] - expected[0]) / expected[1]
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> SegOutput:
        """Return the network's output for images of shape (N, 3, H, W), normalized with ImageNet's values."""
        if self.converts:
            images = (images * self.scale + self.shift).to(images.dtype)
        return read_output(self.network(images))
