"""SRRL, softmax regression representation learning: features that the teacher's own classifier reads as its own."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._connector import Connector
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_channels, check_shapes, valid_at, valid_rows


class SRRL(nn.Module):
    r"""Distance to the teacher's features, plus the distance of what the teacher's classifier makes of the two.

    With the student's features behind a connector (1x1 convolution, batch normalisation, ReLU) :math:`s`, the
    teacher's :math:`t`, and the teacher's frozen classifier :math:`z = W x + b`, the mean over what it classifies of

    .. math:: \frac{1}{d} \Vert s - t \Vert_2^2 + \frac{1}{K} \Vert z(s) - z(t) \Vert_2^2

    for d channels and K classes. A linear classifier classifies images, and s and t are means over positions; a 1x1
    convolution classifies positions, and they are compared one by one: the dense analogue of the paper, which has
    images only. The second term is :math:`\Vert W (s - t) \Vert_2^2`, the bias being the same. The batch normalisation
    leaves void positions out.

    Args:
        student_channels: Channels of the student's features.
        classifier: The teacher's last layer, ``nn.Linear`` or 1x1 ``nn.Conv2d``, with its trained weights: they are
            copied, and are neither parameters nor in the ``state_dict``.
        ignore_index: Label of the positions that do not count.

    Raises:
        ValueError: For another kind of classifier.

    Example:
        >>> import torch
        >>> from segdistill.losses import SRRL
        >>> _ = torch.manual_seed(0)
        >>> loss = SRRL(student_channels=4, classifier=torch.nn.Conv2d(8, 19, 1))
        >>> student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 8, 8, 8)
        >>> round(loss(student, teacher).item(), 2)
        2.02

    Reference: Yang et al., ICLR 2021, https://openreview.net/forum?id=ZzwDy_wiWv. The paper's first term is a squared
    norm, d times this one; the released code, to which the weight belongs, takes the mean.
    """

    equal_channels = False
    needs_teacher = True
    mean_over = "pixels"

    weight: Tensor

    @checked
    def __init__(self, *, student_channels: Count, classifier: nn.Module, ignore_index: int = 255) -> None:
        super().__init__()
        self.is_dense = isinstance(classifier, nn.Conv2d)
        if not self.is_dense:
            self.mean_over = "images"
        self.ignore_index = ignore_index
        # Follows .to(), and is otherwise the teacher's: neither trained nor saved.
        self.register_buffer("weight", _matrix(classifier), persistent=False)
        self.connector = Connector(student_channels, self.weight.shape[1])

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, C, H, W), or (N, C) for a linear classifier.
            teacher: What its classifier takes, of the same N, H and W, before any pooling; no gradient reaches it.
            labels: Class indices, shape (N, H', W'), or (N,) for (N, C); None counts every position.

        Raises:
            ValueError: If N, H or W differ, or a number of channels is not what the loss was built for.
        """
        return _srrl(student, teacher, labels, loss=self)


@loss_function
def _srrl(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: SRRL) -> Tensor:
    check_shapes(student, teacher, dims=(4,) if loss.is_dense else (4, 2), any_channels=True)
    linear = loss.connector.linear
    check_channels(student, teacher, student_channels=linear.in_features, teacher_channels=linear.out_features)
    valid = valid_at(labels, student, loss.ignore_index)  # (N, H, W), or (N,)
    connected: Tensor = call_in_dtype(loss.connector, valid_rows(student, valid))
    difference = connected.relu() - valid_rows(teacher, valid)  # (positions, channels)
    if not loss.is_dense and student.dim() == 4:
        difference = _means(difference, valid)
    scores = F.linear(difference, loss.weight.to(difference.dtype))
    values = difference.square().mean(dim=1) + scores.square().mean(dim=1)
    return values.sum() / max(1, len(values))


def _means(rows: Tensor, valid: Tensor) -> Tensor:
    """Mean of the rows of each image that has any, shape (images, channels)."""
    # Back on their map: a sum of rows by index would have no fixed order.
    maps = rows.new_zeros(*valid.shape, rows.shape[1]).index_put((valid,), rows)
    count = valid.sum(dim=(1, 2))
    return maps.sum(dim=(1, 2))[count > 0] / count[count > 0, None]


def _matrix(classifier: nn.Module) -> Tensor:
    """A copy of the classifier's weights, shape (classes, channels)."""
    if isinstance(classifier, nn.Linear):
        return classifier.weight.detach().clone()
    if isinstance(classifier, nn.Conv2d) and classifier.kernel_size == (1, 1) and classifier.groups == 1:
        return classifier.weight.detach().flatten(1).clone()
    raise ValueError(f"classifier must be an nn.Linear or an nn.Conv2d with kernel 1 and one group, got {classifier}")
