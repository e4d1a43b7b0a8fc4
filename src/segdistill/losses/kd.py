"""KD, knowledge distillation of logits: match the teacher's class distribution at every pixel."""

from torch import Tensor, nn

from segdistill.losses._checks import Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, kl_divergence, masked_mean, standardize_logits, valid_at


@loss_function(reads_classes=True, mean_over="pixels")
def kd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    standardize: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over valid pixels of the divergence of the class distributions, in nats.

    .. math:: \tau^2\, \frac{1}{|V|} \sum_{i \in V}
        \mathrm{KL}\big(\sigma(z^T_i / \tau) \,\Vert\, \sigma(z^S_i / \tau)\big)

    With ``standardize``, both logits are first replaced by their z-scores over the C classes of a pixel,

    .. math:: \frac{z_i - \mu_i}{s_i}, \qquad \mu_i = \frac{1}{C} \sum_c z_{i,c}, \qquad
        s_i^2 = \frac{1}{C - 1} \sum_c (z_{i,c} - \mu_i)^2

    so that the student matches how the classes compare, and not the range of the teacher's logits.

    Args:
        student: Logits, shape (N, C, H, W), or (N, C) for image classification.
        teacher: Logits, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'), or (N,); None counts every pixel.
        temperature: Temperature of both softmaxes, > 0.
        standardize: Standardize the logits of every pixel first.
        ignore_index: Label of ignored pixels.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> import torch
        >>> from segdistill.losses import kd
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])  # (1, 2, 2, 2)
        >>> round(kd(x, x.flip(1)).item(), 4)
        1.5888
        >>> round(kd(x, 10 * x.flip(1), standardize=True).item(), 4)  # the factor changes nothing
        0.8611

    Reference: Hinton et al., 2015, https://arxiv.org/abs/1503.02531, at every pixel; Eq. 1 of AICSD, Eq. 2 of GSKD.
    Released segmentation code counts void pixels too. AICSD's code also averages over the C classes, so its weight 10
    corresponds to 10 / C here.

    ``standardize``: Sun et al., CVPR 2024, https://arxiv.org/abs/2403.01427, for image classification. As in the
    released code, the standard deviation divides by C - 1. That code adds 1e-7 to it; here equal logits of all classes
    have z-scores of 0.
    """
    check_shapes(student, teacher, dims=(4, 2))
    if standardize:
        student, teacher = standardize_logits(student), standardize_logits(teacher)
    divergence = kl_divergence(student / temperature, teacher / temperature, dim=1)  # (N, H, W)
    return temperature**2 * masked_mean(divergence, valid_at(labels, student, ignore_index))


@module_of(kd)
class KD(nn.Module):
    """Module form of :func:`kd`."""

    def __init__(self, *, temperature: float = 1.0, standardize: bool = False, ignore_index: int = 255) -> None:
        super().__init__()
        self.temperature = temperature
        self.standardize = standardize
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return kd(
            student,
            teacher,
            labels,
            temperature=self.temperature,
            standardize=self.standardize,
            ignore_index=self.ignore_index,
        )
