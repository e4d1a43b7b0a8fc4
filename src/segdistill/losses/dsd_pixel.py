"""DSD, pixel-wise term: match how attention changes from layer to layer."""

from itertools import combinations

import torch
from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, unit, valid_at

# Two maps of unit length nearer than this are the same map, up to rounding.
_COINCIDE = 1e-6


@loss_function(equal_channels=False, mean_over="images")
def dsd_pixel(
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
    labels: Tensor | None = None,
    *,
    ignore_index: int = 255,
) -> Tensor:
    r"""Mean over pairs of maps of the squared difference of the residual attention.

    With :math:`q_m` (H W,) the mean over channels of the m-th map's squares and
    :math:`r_{mn} = q_n / \Vert q_n \Vert_2 - q_m / \Vert q_m \Vert_2`, over all pairs :math:`m < n`, images and
    positions,

    .. math:: \frac{1}{H W} \left\Vert \frac{r^S_{mn}}{\Vert r^S_{mn} \Vert_2}
        - \frac{r^T_{mn}}{\Vert r^T_{mn} \Vert_2} \right\Vert_2^2

    Where two maps have the same attention there is no direction from one to the other: that residual is zero and
    gets no gradient.

    Args:
        student: Two maps or more, each (N, C, H, W), any number of channels; in the paper auxiliary logits, head and
            logits.
        teacher: As many maps of the same N, H and W; no gradient reaches them.
        labels: Class indices, shape (N, H', W'): void positions are left out of the attention; None counts all.
        ignore_index: Label of the positions that do not count.

    Raises:
        ValueError: If the numbers of maps, N, H or W differ, or there are fewer than two maps.

    Example:
        >>> import torch
        >>> from segdistill.losses import dsd_pixel
        >>> a, b = torch.eye(4)[:2].view(2, 1, 1, 2, 2)  # strong at the first position; at the second
        >>> round(dsd_pixel((a, b), (b, a)).item(), 4)
        1.0

    Reference: Feng et al., 2021, https://arxiv.org/abs/2107.08591, as CIRKD's code has it, the only one released. That
    code counts void positions, and where two maps coincide divides by a norm of 0: a gradient of 1e24 with both signs
    wipes every other one out.
    """
    _check_maps(student, teacher)
    valid = valid_at(labels, student[0], ignore_index).flatten(1)  # (N, H * W)
    count = valid.sum(dim=1)  # (N,)
    residuals = (_residuals(maps, valid) for maps in (student, teacher))
    difference = torch.stack([(s - t).square().sum(dim=1) for s, t in zip(*residuals, strict=True)]).mean(dim=0)
    return masked_mean(difference / count.clamp(min=1), count > 0)


def _residuals(maps: tuple[Tensor, ...], valid: Tensor) -> list[Tensor]:
    """Directions (N, H * W) from the attention of each map to that of every later one."""
    attention = [unit(x.square().mean(dim=1).flatten(1).masked_fill(~valid, 0), dim=1) for x in maps]
    return [unit(later - earlier, dim=1, smallest=_COINCIDE) for earlier, later in combinations(attention, 2)]


def _check_maps(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> None:
    for side, maps in (("student", student), ("teacher", teacher)):
        if not isinstance(maps, tuple) or len(maps) < 2:
            got = f"a tuple of {len(maps)}" if isinstance(maps, tuple) else f"a {type(maps).__name__}"
            raise ValueError(f"{side} must be a tuple of two maps or more, got {got}; give the Term a list of features")
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must have as many maps, got {len(student)} and {len(teacher)}")
    for s, t in zip(student, teacher, strict=True):
        check_shapes(s, t, any_channels=True)
        if s[:, :1].shape != student[0][:, :1].shape:
            raise ValueError(
                f"all maps must have the same N, H and W, got {tuple(student[0].shape)} and {tuple(s.shape)}; "
                "resize them"
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
