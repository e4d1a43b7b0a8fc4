"""SKD, holistic term: adversarial distillation with a discriminator between the student's and the teacher's logits."""

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
    r"""Adversarial distillation of maps of logits, by a discriminator D that learns together with the student.

    The student minimizes the first expression, the discriminator the second (:meth:`inner_objective`). Both are means
    over images and the positions of D's scores:

    .. math:: -\overline{D(z^S)} \qquad \overline{\max(0, 1 - D(z^T))} + \overline{\max(0, 1 + D(z^S))}

    D is the discriminator of SAGAN: batch normalization of the logits, four 4x4 convolutions of stride 2 with spectral
    norm and LeakyReLU (64, 128, 256, 512 channels), self-attention after the third and the fourth, and a 4x4
    convolution to one score. It has 3.19 million parameters for 19 classes. Maps whose shorter side is below 64 are
    enlarged to 64 (bilinear), because D has no output for them; the released code fails there.

    The value may have any sign and has no minimum. It is not zero where student and teacher agree.

    * Student and teacher are each normalized by the statistics of their batch, in eval mode too, as in the released
      code. So D cannot use the mean or the scale of the logits. There are no running statistics. Each process uses its
      images only (the released code uses those of all processes).
    * Void positions are excluded from these statistics and are zero afterwards, like the border. Images without a valid
      position are excluded from the means. D's convolutions at the edge of a valid region see the zeros.
    * Only :meth:`inner_objective` in training mode updates the power iterations of the spectral norms. So computing the
      value changes no state, and the value does not depend on earlier calls (in the released code every call updates
      them, in eval mode too).

    Args:
        num_classes: Number of channels of the logits.
        ignore_index: Label of ignored positions.

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

    Reference: Liu et al., SKD, CVPR 2019, https://arxiv.org/abs/1903.04197, following the CIRKD code base: D sees the
    logits only, without the image, and there is no gradient penalty. That code multiplies the discriminator's objective
    by 0.1. With Adam this only makes epsilon larger in effect, so the factor is omitted here.
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
        """Return the student's loss, a scalar. It passes no gradient to the discriminator.

        Args:
            student: Logits, shape (N, num_classes, H, W).
            teacher: Logits, same shape. They do not affect the value.
            labels: Class indices, shape (N, H', W'). Void positions are ignored; None uses all positions.

        Raises:
            ValueError: If the shapes differ or the channels are not num_classes.
        """
        return _deception(student, teacher, labels, loss=self)

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the discriminator's hinge loss, a scalar. It passes no gradient to the student.

        Args:
            student: Logits, shape (N, num_classes, H, W); required.
            teacher: Logits, same shape.
            labels: Class indices, shape (N, H', W'). Void positions are ignored; None uses all positions.

        Raises:
            ValueError: If the student is None, the shapes differ or the channels are not num_classes.
        """
        if student is None:
            raise ValueError("inner_objective needs the student's logits, got None: the discriminator learns with it")
        return _discrimination(student.detach(), teacher, labels, loss=self)

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the discriminator's parameters."""
        return self.discriminator.parameters()

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with learning rate 4e-4 and betas (0.9, 0.99), as in the CIRKD code base."""
        return torch.optim.Adam(self.inner_parameters(), lr=4e-4, betas=(0.9, 0.99))


@loss_function
def _deception(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: SKDHolistic) -> Tensor:
    valid = _valid(student, teacher, labels, loss)
    # learns=False also protects the buffers, which a power iteration would overwrite.
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
