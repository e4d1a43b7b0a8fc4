"""SKD, holistic term: let a discriminator tell the student's class scores from the teacher's, and deceive it."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._discriminator import Discriminator
from segdistill.losses._ops import call_in_dtype, check_shapes, masked_mean, valid_at
from segdistill.losses.self_taught import SelfTaught


class SKDHolistic(SelfTaught):
    r"""Adversarial distillation of whole logit maps; the discriminator D is inside and learns beside the student.

    The student minimises the first, the discriminator the second (:meth:`inner_objective`), means over images and the
    positions of D's scores:

    .. math:: -\overline{D(z^S)} \qquad \overline{\max(0, 1 - D(z^T))} + \overline{\max(0, 1 + D(z^S))}

    D is that of SAGAN: batch normalisation of the logits, four 4x4 convolutions of stride 2 with spectral norm and
    LeakyReLU (64, 128, 256, 512 channels), self-attention after the third and the fourth, a 4x4 convolution to one
    score; 3.19 million parameters at 19 classes. Maps whose shorter side is below 64 are enlarged to 64 (bilinear),
    since D has no output for them; the released code fails there.

    The value has no sign to rely on and no minimum; it is not zero where student and teacher agree.

    * Student and teacher are each normalised by their own batch, in eval mode too, as in the released code, so D cannot
      go by a mean or scale of logits; there are no running statistics. Each process uses its own images (released:
      all of them).
    * Void positions are left out of these statistics and zero after them, as the border is; images without a valid one
      are left out of the means. D's convolutions see across the edge of what is void.
    * Only :meth:`inner_objective` in training mode moves the power iterations of the spectral norms, so the value
      leaves no trace and does not depend on how often it was asked for (released: every call moves them, in eval mode
      too).

    Args:
        num_classes: Channels of the logits.
        ignore_index: Label of the positions that do not count.

    Raises:
        ValueError: If num_classes is not > 0.

    Example:
        >>> import torch
        >>> from segdistill.losses import SKDHolistic
        >>> _ = torch.manual_seed(0)
        >>> loss = SKDHolistic(num_classes=2)
        >>> student, teacher = torch.randn(2, 2, 64, 64), torch.randn(2, 2, 64, 64)
        >>> round(loss.inner_objective(student, teacher).item(), 2)  # 2 if the discriminator cannot tell them apart
        2.01

    Reference: Liu et al., SKD, CVPR 2019, https://arxiv.org/abs/1903.04197, as in the CIRKD code base: D sees the
    logits alone, not the image beside them, and there is no gradient penalty. That code multiplies the discriminator's
    objective by 0.1; with Adam that only enlarges epsilon, so it is left out.
    """

    equal_channels = True
    reads_classes = True

    @checked
    def __init__(self, *, num_classes: Count, ignore_index: int = 255) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.discriminator = Discriminator(num_classes)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the student's loss, a scalar; it sends the discriminator no gradient.

        Args:
            student: Logits, shape (N, num_classes, H, W).
            teacher: Logits, same shape, of which the value makes no use.
            labels: Class indices, shape (N, H', W'): void positions are left out; None counts all.

        Raises:
            ValueError: If the shapes differ or the channels are not num_classes.
        """
        return _deception(student, teacher, labels, loss=self)

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the discriminator's hinge loss, a scalar; it sends the student no gradient.

        Args:
            student: Logits, shape (N, num_classes, H, W); required.
            teacher: Logits, same shape.
            labels: Class indices, shape (N, H', W'): void positions are left out; None counts all.

        Raises:
            ValueError: Without a student, if the shapes differ or the channels are not num_classes.
        """
        if student is None:
            raise ValueError("the discriminator learns beside the student: inner_objective needs its logits, got None")
        return _discrimination(student.detach(), teacher, labels, loss=self)

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the discriminator's parameters."""
        return self.discriminator.parameters()

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with learning rate 4e-4 and betas (0.9, 0.99), those of the CIRKD code base."""
        return torch.optim.Adam(self.inner_parameters(), lr=4e-4, betas=(0.9, 0.99))


@loss_function
def _deception(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: SKDHolistic) -> Tensor:
    valid = _valid(student, teacher, labels, loss)
    # Without learning it keeps its buffers too, which a power iteration overwrites.
    scores: Tensor = call_in_dtype(loss.discriminator, student, valid, learns=False)
    return masked_mean(-scores.mean(dim=1), valid.flatten(1).any(dim=1))


@loss_function
def _discrimination(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: SKDHolistic) -> Tensor:
    valid = _valid(student, teacher, labels, loss)
    hinge = F.relu(1 - loss.discriminator(teacher, valid)) + F.relu(1 + loss.discriminator(student, valid))
    return masked_mean(hinge.mean(dim=1), valid.flatten(1).any(dim=1))


def _valid(student: Tensor, teacher: Tensor, labels: Tensor | None, loss: SKDHolistic) -> Tensor:
    check_shapes(student, teacher)
    if student.shape[1] != loss.num_classes:
        raise ValueError(
            f"logits must have num_classes={loss.num_classes} channels, "
            f"got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
        )
    return valid_at(labels, student, loss.ignore_index)
