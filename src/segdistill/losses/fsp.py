"""FSP, flow of solution procedure: match the products of the channels of one layer with those of the next."""

import torch
from torch import Tensor, nn

from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, pool_valid, valid_at


@loss_function(mean_over="images")
def fsp(
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
    labels: Tensor | None = None,
    *,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean squared difference of the matrices of products between the channels of two layers.

    With :math:`F_1` (d, n) and :math:`F_2` (d', n) the features of an image in two layers, at the same n positions,

    .. math:: G = \frac{1}{n} F_1 F_2^\top, \qquad \frac{1}{N d d'} \sum \Vert G_S - G_T \Vert_F^2

    If two maps differ in size, the larger is average-pooled to the smaller. With more than two maps, the value is the
    sum over consecutive pairs.

    Args:
        student: Features of consecutive layers, a tuple of at least two maps (N, C, H, W). C, H and W may differ
            between layers.
        teacher: The same number of maps, of the same shapes; no gradient reaches them.
        labels: Class indices, shape (N, H', W'). Void positions are excluded from the products and the pooling; None
            uses all positions.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If student or teacher is not a tuple of at least two maps, or their numbers or shapes differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import fsp
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(fsp((x, x), (x, x.flip(1))).item(), 4)
        6.25

    Reference: Yim et al., CVPR 2017,
    https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html.
    The value equals that of RepDistiller's code, which pools all maps to squares. That code trains with this loss alone
    in a first phase, then without it.
    """
    _check_tuples(student, teacher)
    pairs = zip(student[:-1], student[1:], teacher[:-1], teacher[1:], strict=True)
    return torch.stack([_pair(*pair, labels, ignore_index) for pair in pairs]).sum()


def _check_tuples(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> None:
    for side, maps in (("student", student), ("teacher", teacher)):
        if not isinstance(maps, tuple) or len(maps) < 2:
            got = f"a tuple of {len(maps)}" if isinstance(maps, tuple) else f"a {type(maps).__name__}"
            raise ValueError(
                f"{side} must be a tuple of at least two maps, of consecutive layers, got {got}; "
                'give the Term a list, as on=["stage3", "stage4"]'
            )
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must have equally many maps, got {len(student)} and {len(teacher)}")
    for s, t in zip(student, teacher, strict=True):
        check_shapes(s, t)
    if len({len(s) for s in student}) > 1:
        raise ValueError(f"all maps must have the same N, got {[tuple(s.shape) for s in student]}")


def _pair(s1: Tensor, s2: Tensor, t1: Tensor, t2: Tensor, labels: Tensor | None, ignore_index: int) -> Tensor:
    size = (min(s1.shape[2], s2.shape[2]), min(s1.shape[3], s2.shape[3]))
    (s1, valid1), (s2, valid2), (t1, _), (t2, _) = (
        pool_valid(x, valid_at(labels, x, ignore_index), size) for x in (s1, s2, t1, t2)
    )
    valid = (valid1 & valid2).flatten(1)  # (N, H * W)
    count = valid.sum(dim=1).clamp(min=1)[:, None, None]
    # Zeros in one of the two maps exclude a position from the products.
    s, t = ((a.flatten(2) * valid[:, None]) @ b.flatten(2).mT / count for a, b in ((s1, s2), (t1, t2)))
    return masked_mean((s - t).square().mean(dim=(1, 2)), valid.any(dim=1))


@module_of(fsp)
class FSP(nn.Module):
    """Module form of :func:`fsp`."""

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return fsp(student, teacher, labels, ignore_index=self.ignore_index)
