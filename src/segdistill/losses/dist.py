"""DIST: correlation with the teacher's predictions, between classes and within each class."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative, Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, masked_mean, valid_at


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
    void pixels too.
    """
    check_shapes(student, teacher, dims=(4, 2))
    valid = valid_at(labels, student, ignore_index).flatten()  # (pixels,)
    p, q = (F.softmax(x / temperature, dim=1).movedim(1, -1).flatten(0, -2) for x in (student, teacher))
    between = masked_mean(1 - _cosine(p - p.mean(1, keepdim=True), q - q.mean(1, keepdim=True), dim=1), valid)
    # Void rows become zero, which adds nothing to the products and norms of the columns.
    p, q = (_centre_valid(x, valid[:, None]) for x in (p, q))
    within = (1 - _cosine(p, q, dim=0)).mean() * valid.any()
    return temperature**2 * (inter * between + intra * within)


def _centre_valid(rows: Tensor, valid: Tensor) -> Tensor:
    mean = (rows * valid).sum(0) / valid.sum().clamp(min=1)
    return (rows - mean) * valid


def _cosine(a: Tensor, b: Tensor, dim: int) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(a, dim=dim) * torch.linalg.vector_norm(b, dim=dim)
    return (a * b).sum(dim) / (norms + 1e-8)


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
