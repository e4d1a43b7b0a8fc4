"""RKD, relational distillation: match the distances and angles between the images of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, mean_of_valid, valid_at


@loss_function(equal_channels=False)
def rkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    distance: NonNegative = 25.0,
    angle: NonNegative = 50.0,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the Huber loss between the distances of every two images, plus that between the angles of every three.

    With :math:`d_{ij} = |x_i - x_j|` the distance between embeddings, :math:`\mu` the mean of all nonzero distances,
    and :math:`\ell` the Huber loss with threshold 1,

    .. math:: \frac{\lambda_d}{N^2} \sum_{i,j} \ell\big(d^S_{ij} / \mu_S, d^T_{ij} / \mu_T\big)
        + \frac{\lambda_a}{N^3} \sum_{i,j,k} \ell\big(\cos \angle_S(j, i, k), \cos \angle_T(j, i, k)\big)

    Fewer than three images give zero. Everything is computed from the N x N matrix of products, without a tensor of
    N x N x C differences. Two embeddings that are equal up to rounding have distance 0 and no direction.

    Args:
        student: Embeddings, shape (N, C); or features (N, C, H, W), whose embedding is the mean over positions.
        teacher: The same, with any number of channels C'; no gradient reaches it.
        labels: Class indices, shape (N,) or (N, H', W'). Void images are ignored, and void positions are excluded from
            the mean; None uses everything.
        distance: Weight :math:`\lambda_d` of the distances.
        angle: Weight :math:`\lambda_a` of the angles.
        ignore_index: Label of ignored images or positions.

    Raises:
        ValueError: If N, H or W differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import rkd
        >>> student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # three images: a right angle
        >>> teacher = torch.tensor([[0.0], [1.0], [2.0]])  # on a line
        >>> round(rkd(student, teacher).item(), 4)
        8.274

    Reference: Park et al., 2019, https://arxiv.org/abs/1904.05068. The value equals that of RepDistiller's code, and
    the default weights are its 25 and 50; the authors' weights for metric learning are 1 and 2. With several processes,
    N is the batch of one process.
    """
    check_shapes(student, teacher, dims=(4, 2), any_channels=True)
    valid = valid_at(labels, student, ignore_index)  # (N, H, W), or (N,)
    images = valid.reshape(len(valid), -1).any(dim=1)  # (N,)
    count = images.sum().clamp(min=1)
    (s_distance, s_cosine), (t_distance, t_cosine) = (
        _relations(mean_of_valid(x, valid), images) for x in (student, teacher)
    )
    # Distances and angles of a void image are 0 in both networks.
    distances = F.smooth_l1_loss(s_distance, t_distance, reduction="sum") / count**2
    angles = F.smooth_l1_loss(s_cosine, t_cosine, reduction="sum") / count**3
    return distance * distances + angle * angles


def _relations(x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances (N, N) divided by their mean, and the cosine [i, j, k] of the angle at i between j and k."""
    # Neither depends on the origin. Near the embeddings, the products have the smallest rounding error.
    x = x - x.sum(dim=0).detach() / images.sum().clamp(min=1)  # void images are zero before this
    # Nor do they depend on the scale, and the squares of tiny or huge embeddings would leave the range of float32.
    largest = x.detach().abs().amax()
    x = x / largest.masked_fill(largest == 0, 1)
    products = x @ x.mT
    norms = products.diagonal()
    squares = norms[:, None] + norms - 2 * products
    # A square below its rounding error is noise, and its root would have a huge gradient.
    rounding = 8 * torch.finfo(x.dtype).eps * (norms[:, None] + norms)
    apart = (squares > rounding) & images[:, None] & images
    inverse = squares.masked_fill(~apart, torch.inf).rsqrt()  # 0 where not apart
    distances = squares.masked_fill(~apart, 0) * inverse
    mean = distances.sum() / apart.sum().clamp(min=1)
    between = products - products[:, :, None] - products[:, None] + norms[:, None, None]
    return distances / mean.masked_fill(mean == 0, 1), between * inverse[:, :, None] * inverse[:, None]


@module_of(rkd)
class RKD(nn.Module):
    """Module form of :func:`rkd`."""

    def __init__(self, *, distance: float = 25.0, angle: float = 50.0, ignore_index: int = 255) -> None:
        super().__init__()
        self.distance = distance
        self.angle = angle
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return rkd(student, teacher, labels, distance=self.distance, angle=self.angle, ignore_index=self.ignore_index)
