"""DKD, decoupled KD: separate weights for the true class's probability and for the distribution over the others."""

import torch
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative, Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, kl_divergence, labels_at, masked_mean, standardize_logits


@loss_function(reads_classes=True, mean_over="pixels")
def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    target: NonNegative = 1.0,
    others: NonNegative = 0.5,
    temperature: Positive = 1.0,
    standardize: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over valid pixels of the weighted sum of two divergences, in nats.

    .. math:: \tau^2\, \frac{1}{|V|} \sum_{i \in V} \alpha\, \mathrm{KL}(b^T_i \Vert b^S_i)
        + \beta\, \mathrm{KL}(\hat p^T_i \Vert \hat p^S_i)

    with :math:`p = \sigma(z / \tau)`, :math:`b = (p_y, 1 - p_y)` for the true class :math:`y`, and :math:`\hat p` the
    distribution over the other classes. KD is the special case :math:`\beta = 1 - p^T_y`, which suppresses the second
    part wherever the teacher is confident.

    Args:
        student: Logits, shape (N, C, H, W), or (N, C) for image classification.
        teacher: Logits, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'), or (N,); required. Labels that are none of the C classes are ignored.
        target: Weight :math:`\alpha` of the true class's part, >= 0.
        others: Weight :math:`\beta` of the other classes' part, >= 0.
        temperature: Temperature of all softmaxes, > 0.
        standardize: Replace the logits of every pixel by their z-scores over the classes first; see
            :func:`segdistill.losses.kd`.
        ignore_index: Label of ignored pixels.

    Raises:
        ValueError: If the shapes differ or labels are missing.

    Example:
        >>> import torch
        >>> from segdistill.losses import dkd
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> labels = torch.tensor([[[1, 1], [0, 255]]])  # 255: void
        >>> round(dkd(x, x.flip(1), labels).item(), 4)
        1.2132

    Reference: Zhao et al., CVPR 2022, https://arxiv.org/abs/2203.08679, Eq. 7. The paper classifies images; here every
    pixel is an image. The released code hides the true class by subtracting 1000 from its logit, which fails for logits
    of that size. Here the true class is excluded. ``standardize``: Sun et al., CVPR 2024,
    https://arxiv.org/abs/2403.01427.
    """
    check_shapes(student, teacher, dims=(4, 2))
    if standardize:
        student, teacher = standardize_logits(student), standardize_logits(teacher)
    labels = labels_at(labels, student)
    valid = (labels != ignore_index) & (labels >= 0) & (labels < student.shape[1])
    true = torch.where(valid, labels, 0)[:, None]
    is_true = torch.zeros_like(student, dtype=torch.bool).scatter(1, true, True)
    both = []
    for logits in (student / temperature, teacher / temperature):
        rest = logits.masked_fill(is_true, torch.finfo(logits.dtype).min / 2)
        binary = torch.cat([logits.gather(1, true), rest.logsumexp(1, keepdim=True)], dim=1)  # its softmax is b
        both.append((binary, rest))
    (s_binary, s_rest), (t_binary, t_rest) = both
    divergence = target * kl_divergence(s_binary, t_binary, dim=1) + others * kl_divergence(s_rest, t_rest, dim=1)
    return temperature**2 * masked_mean(divergence, valid)


@module_of(dkd)
class DKD(nn.Module):
    """Module form of :func:`dkd`."""

    def __init__(
        self,
        *,
        target: float = 1.0,
        others: float = 0.5,
        temperature: float = 1.0,
        standardize: bool = False,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.target, self.others = target, others
        self.temperature = temperature
        self.standardize = standardize
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return dkd(
            student,
            teacher,
            labels,
            target=self.target,
            others=self.others,
            temperature=self.temperature,
            standardize=self.standardize,
            ignore_index=self.ignore_index,
        )
