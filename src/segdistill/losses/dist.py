"""DIST: correlation with the teacher's predictions, between classes and within each class."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative, Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, valid_at

# Predictions that vary by less than those of logits of this standard deviation are nearly constant.
_SMALLEST_DEVIATION = 0.01


@loss_function(reads_classes=True)
def dist(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    inter: NonNegative = 1.0,
    intra: NonNegative = 1.0,
    temperature: Positive = 1.0,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return one minus Pearson's correlation of the probabilities, along the classes plus along the pixels.

    With :math:`P` (pixels, C) the softmax of the logits at temperature :math:`\tau`, for all valid pixels of the batch,

    .. math:: \tau^2 \Big[ \beta \big(1 - \tfrac{1}{|V|} \sum_{i \in V} \rho(P^S_{i:}, P^T_{i:})\big)
        + \gamma \big(1 - \tfrac{1}{C} \sum_c \rho(P^S_{:c}, P^T_{:c})\big) \Big]

    Args:
        student: Logits, shape (N, C, H, W), or (N, C) for image classification.
        teacher: Logits, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'), or (N,); None counts every pixel.
        inter: Weight :math:`\beta` of the correlation between the classes of a pixel.
        intra: Weight :math:`\gamma` of the correlation within a class, over the pixels.
        temperature: Temperature of both softmaxes, > 0.
        ignore_index: Label of ignored pixels.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import dist
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(dist(x, x.flip(1)).item(), 4)
        4.0

    Reference: Huang et al., 2022, https://arxiv.org/abs/2205.10536. The released segmentation code counts
    void pixels too. It adds 1e-8 to the product of the two norms, as here. A constant prediction, such as that of a
    classifier initialized with zeros, has no correlation. There the gradient of the released code is up to 1e8 times
    the teacher's deviation from its mean, and :math:`1 - \rho` is 1 even for equal predictions. Here a prediction that
    varies by less than logits of standard deviation 0.01 would make it is divided by the norm at 0.01 and not by its
    norm, and :math:`1 - \rho` becomes half the squared distance of both. So the gradient is at most about that at 0.01,
    and zero for equal predictions. Predictions that vary more have the value of the released code.
    """
    check_shapes(student, teacher, dims=(4, 2))
    valid = valid_at(labels, student, ignore_index).flatten()  # (pixels,)
    p, q = (F.softmax(x / temperature, dim=1).movedim(1, -1).flatten(0, -2) for x in (student, teacher))
    rows = [(x - x.mean(1, keepdim=True), _least_norm(x, dim=1)) for x in (p, q)]
    between = masked_mean(_distance(*rows, dim=1), valid)
    # Void rows become zero, which adds nothing to the products and norms of the columns.
    counted = valid[:, None]
    columns = [(_center_valid(x, counted), _least_norm(x * counted, dim=0)) for x in (p, q)]
    within = _distance(*columns, dim=0).mean() * valid.any()
    return temperature**2 * (inter * between + intra * within)


def _center_valid(rows: Tensor, valid: Tensor) -> Tensor:
    mean = (rows * valid).sum(0) / valid.sum().clamp(min=1)
    return (rows - mean) * valid


@torch.no_grad()
def _least_norm(p: Tensor, dim: int) -> Tensor:
    """Return the norm of the deviations along ``dim`` that logits of the smallest deviation would cause."""
    # A small change of a logit changes its probability by p (1 - p) times as much.
    norm: Tensor = torch.linalg.vector_norm(p * (1 - p), dim=dim)
    return _SMALLEST_DEVIATION * norm


def _distance(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], *, dim: int) -> Tensor:
    """Return one minus the correlation along ``dim`` of the deviations; each comes with its least norm."""
    (a, a_least), (b, b_least) = student, teacher
    a_norm, b_norm = (torch.linalg.vector_norm(x, dim=dim) for x in (a, b))
    norms = a_norm.maximum(a_least) * b_norm.maximum(b_least)
    correlation: Tensor = (a * b).sum(dim) / (norms + 1e-8)
    return 1 - correlation - _missing(a_norm, a_least) - _missing(b_norm, b_least)


def _missing(norm: Tensor, least: Tensor) -> Tensor:
    """Return half of what the squared length of deviations divided by ``least`` lacks to 1, zero for longer ones."""
    is_short = norm < least
    length = norm / least.masked_fill(~is_short, 1)
    return (0.5 - length.square() / 2).masked_fill(~is_short, 0)


@module_of(dist)
class DIST(nn.Module):
    """Module form of :func:`dist`."""

    def __init__(
        self,
        *,
        inter: float = 1.0,
        intra: float = 1.0,
        temperature: float = 1.0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.inter = inter
        self.intra = intra
        self.temperature = temperature
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return dist(
            student,
            teacher,
            labels,
            inter=self.inter,
            intra=self.intra,
            temperature=self.temperature,
            ignore_index=self.ignore_index,
        )
