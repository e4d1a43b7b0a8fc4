"""SRRL, softmax regression representation learning: match the teacher's features and its classifier's response."""

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._connector import Connector
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_channels, check_shapes, masked_mean, mean_of_valid, valid_at


class SRRL(nn.Module):
    r"""Distance to the teacher's features, plus the distance of the teacher's classifier's outputs for both.

    With the student's features after a connector (1x1 convolution, batch normalization, ReLU) :math:`s`, the teacher's
    features :math:`t`, and the teacher's frozen classifier :math:`z(x) = W x + b`, the value is the mean over images or
    positions of

    .. math:: \frac{1}{d} \Vert s - t \Vert_2^2 + \frac{1}{K} \Vert z(s) - z(t) \Vert_2^2

    for d channels and K classes. A linear classifier classifies images: s and t are means over positions. A 1x1
    convolution classifies positions, which are compared one by one. This is the dense analogue of the paper, which has
    images only. The second term is computed as :math:`\Vert W (s - t) \Vert_2^2 / K`, because the bias cancels. The
    batch normalization excludes void positions.

    Args:
        student_channels: Number of channels of the student's features.
        classifier: The teacher's last layer, ``nn.Linear`` or 1x1 ``nn.Conv2d``, with trained weights. They are copied,
            and are neither parameters nor in the ``state_dict``.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the classifier is of another kind.

    Example:
        >>> import torch
        >>> from segdistill.losses import SRRL
        >>> _ = torch.manual_seed(0)
        >>> loss = SRRL(student_channels=4, classifier=torch.nn.Conv2d(8, 19, 1))
        >>> student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 8, 8, 8)
        >>> round(loss(student, teacher).item(), 2)
        2.02

    Reference: Yang et al., ICLR 2021, https://openreview.net/forum?id=ZzwDy_wiWv. The paper's first term is a squared
    norm, d times this one. The released code, to which the weight belongs, uses the mean.
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
        # A buffer, so that it follows .to(). It belongs to the teacher and is neither trained nor saved.
        self.register_buffer("weight", _matrix(classifier), persistent=False)
        self.connector = Connector(student_channels, self.weight.shape[1])

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, C, H, W), or (N, C) for a linear classifier.
            teacher: Input of the teacher's classifier before any pooling, of the same N, H and W; no gradient reaches
                it.
            labels: Class indices, shape (N, H', W'), or (N,) for (N, C); None counts every position.

        Raises:
            ValueError: If N, H or W differ, or the channels are not those the loss was built for.
        """
        return _srrl(student, teacher, labels, loss=self)


@loss_function
def _srrl(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: SRRL) -> Tensor:
    check_shapes(student, teacher, dims=(4,) if loss.is_dense else (4, 2), any_channels=True)
    linear = loss.connector.linear
    check_channels(student, teacher, student_channels=linear.in_features, teacher_channels=linear.out_features)
    valid = valid_at(labels, student, loss.ignore_index)  # (N, H, W), or (N,)
    connected: Tensor = call_in_dtype(loss.connector, student, valid)
    difference = connected.relu() - teacher  # (N, channels, H, W), or (N, channels)
    if not loss.is_dense and student.dim() == 4:
        difference, valid = mean_of_valid(difference, valid), valid.flatten(1).any(dim=1)
    scores = torch.einsum("kc,nc...->nk...", loss.weight.to(difference.dtype), difference)
    values = difference.square().mean(dim=1) + scores.square().mean(dim=1)
    return masked_mean(values, valid)


def _matrix(classifier: nn.Module) -> Tensor:
    """Return a copy of the classifier's weights, shape (classes, channels)."""
    if isinstance(classifier, nn.Linear):
        return classifier.weight.detach().clone()
    if isinstance(classifier, nn.Conv2d) and classifier.kernel_size == (1, 1) and classifier.groups == 1:
        return classifier.weight.detach().flatten(1).clone()
    raise ValueError(f"classifier must be an nn.Linear or an nn.Conv2d with kernel 1 and one group, got {classifier}")
