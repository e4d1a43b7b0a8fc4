"""DSD, pixel-wise term: match how the attention changes from layer to layer."""

from itertools import combinations

import torch
from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, unit, valid_at

# Two maps of unit norm closer than this are equal up to rounding.
_COINCIDE = 1e-6


@loss_function(equal_channels=False, mean_over="images")
def dsd_pixel(
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
    labels: Tensor | None = None,
    *,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over pairs of maps of the squared difference of the residual attention.

    With :math:`q_m` (H W,) the mean over channels of the squares of map m, and the residual
    :math:`r_{mn} = q_n / \Vert q_n \Vert_2 - q_m / \Vert q_m \Vert_2`, the value is the mean over images and all pairs
    :math:`m < n` of

    .. math:: \frac{1}{H W} \left\Vert \frac{r^S_{mn}}{\Vert r^S_{mn} \Vert_2}
        - \frac{r^T_{mn}}{\Vert r^T_{mn} \Vert_2} \right\Vert_2^2

    Where two maps have the same attention, the residual has no direction. It is then zero and receives no gradient.

    Args:
        student: Two or more maps, each (N, C, H, W), with any number of channels. The paper uses the auxiliary logits,
            the head's features and the logits.
        teacher: The same number of maps, with the same N, H and W; no gradient reaches them.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the attention; None uses all
            positions.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the numbers of maps, N, H or W differ, or there are fewer than two maps.

    Example:
        >>> import torch
        >>> from segdistill.losses import dsd_pixel
        >>> a, b = torch.eye(4)[:2].view(2, 1, 1, 2, 2)  # strong at the first position; at the second
        >>> round(dsd_pixel((a, b), (b, a)).item(), 4)
        1.0

    Reference: Feng et al., 2021, https://arxiv.org/abs/2107.08591, following CIRKD's code, the only released one. That
    code counts void positions. Where two maps coincide it divides by a norm of 0, which gives gradients of +-1e24 that
    drown all others.
    """
    _check_maps(student, teacher)
    valid = valid_at(labels, student[0], ignore_index).flatten(1)  # (N, H * W)
    count = valid.sum(dim=1)  # (N,)
    residuals = (_residuals(maps, valid) for maps in (student, teacher))
    difference = torch.stack([(s - t).square().sum(dim=1) for s, t in zip(*residuals, strict=True)]).mean(dim=0)
    return masked_mean(difference / count.clamp(min=1), count > 0)


def _residuals(maps: tuple[Tensor, ...], valid: Tensor) -> list[Tensor]:
    """Return the direction (N, H * W) from the attention of each map to that of every later map."""
    attention = [unit(x.square().mean(dim=1).flatten(1).masked_fill(~valid, 0), dim=1) for x in maps]
    return [unit(later - earlier, dim=1, smallest=_COINCIDE) for earlier, later in combinations(attention, 2)]


def _check_maps(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> None:
    for side, maps in (("student", student), ("teacher", teacher)):
        if not isinstance(maps, tuple) or len(maps) < 2:
            got = f"a tuple of {len(maps)}" if isinstance(maps, tuple) else f"a {type(maps).__name__}"
            raise ValueError(f"{side} must be a tuple of two or more maps, got {got}; give the Term a list of features")
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must have equally many maps, got {len(student)} and {len(teacher)}")
    for s, t in zip(student, teacher, strict=True):
        check_shapes(s, t, any_channels=True)
        if s[:, :1].shape != student[0][:, :1].shape:
            raise ValueError(
                f"all maps must have the same N, H and W, got {tuple(student[0].shape)} and {tuple(s.shape)}; "
                "give the Term a size, resize=(H, W), in a recipe resize: [H, W]"
            )


@module_of(dsd_pixel)
class DSDPixel(nn.Module):
    """Module form of :func:`dsd_pixel`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return dsd_pixel(student, teacher, labels, ignore_index=self.ignore_index)
