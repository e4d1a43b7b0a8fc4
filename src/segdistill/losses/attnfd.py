"""AttnFD: match features that channel attention and spatial attention have refined."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import (
    call_in_dtype,
    check_shapes,
    hide_void,
    masked_mean,
    mean_of_valid,
    unit,
    valid_at,
    zero_void,
)


class AttnFD(nn.Module):
    r"""Squared distance of the refined features of student and teacher, each of unit length, averaged over images.

    CBAM refines the features F of an image by gates of the channels, then of the positions,

    .. math:: F' = \sigma\big(w(\mathrm{avg}_i F) + w(\max_i F)\big) F, \qquad
        F'' = \sigma\big(k(\mathrm{avg}_c F', \max_c F')\big) F', \qquad
        \Big\Vert \frac{F''_S}{\Vert F''_S \Vert_2} - \frac{F''_T}{\Vert F''_T \Vert_2} \Big\Vert_2^2

    with the norms over all channels and positions. For the student, w is a network of two linear layers with a ReLU
    between them, and k a 7x7 convolution; both learn with the student. For the teacher, w is the identity and k the
    sum: if the gates of both networks learned, they could agree on something trivial.

    Void positions are treated as outside the map. Images without a valid position do not count.

    Args:
        channels: Number of channels of the features.
        reduction: The hidden layer of w has channels / reduction units, at least one.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import AttnFD
        >>> _ = torch.manual_seed(0)
        >>> loss = AttnFD(channels=32)
        >>> student, teacher = torch.randn(2, 2, 32, 8, 8)
        >>> round(loss(student, teacher).item(), 2)  # features that are not related have distance 2
        1.95

    Reference: Mansourian et al., 2024, https://arxiv.org/abs/2403.05451; CBAM is by Woo et al., ECCV 2018,
    https://arxiv.org/abs/1807.06521, whose reduction is 16. The authors train the teacher with CBAM inside, then freeze
    both. Gates without parameters for the teacher are their alternative, which needs no special teacher
    (https://github.com/AmirMansurian/AttnFD/issues/6); that w is then the identity and k the sum is a choice. The paper
    normalizes over the channels (issue 5 there), which cancels the gates of the positions. The released code normalizes
    over the whole batch; here each image is normalized.
    """

    equal_channels = True
    needs_teacher = True
    mean_over = "images"

    @checked
    def __init__(self, *, channels: Count, reduction: Count = 16, ignore_index: int = 255) -> None:
        super().__init__()
        self.channels = channels
        self.ignore_index = ignore_index
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )
        self.spatial = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, channels, H, W).
            teacher: Features, same shape; no gradient reaches it.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If the shapes differ, or the channels are not those of the constructor.
        """
        return _attnfd(student, teacher, labels, loss=self)


@loss_function
def _attnfd(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: AttnFD) -> Tensor:
    check_shapes(student, teacher)
    if teacher.shape[1] != loss.channels:
        raise ValueError(f"teacher must have channels={loss.channels}, got {tuple(teacher.shape)}")
    valid = valid_at(labels, student, loss.ignore_index)
    s = _refined(student, valid, lambda x: call_in_dtype(loss.channel, x), lambda x: call_in_dtype(loss.spatial, x))
    t = _refined(teacher, valid, lambda x: x, lambda x: x.sum(dim=1, keepdim=True))
    distances = (unit(s.flatten(1), dim=1) - unit(t.flatten(1), dim=1)).square().sum(dim=1)  # (N,)
    return masked_mean(distances, valid.flatten(1).any(dim=1))


def _refined(
    features: Tensor, valid: Tensor, channel: Callable[[Tensor], Tensor], spatial: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the features (N, C, H, W) times the gates of their channels, then of their positions.

    Args:
        features: Shape (N, C, H, W).
        valid: Boolean (N, H, W). The result is zero elsewhere.
        channel: Maps (N, C) to (N, C), before the sigmoid.
        spatial: Maps (N, 2, H, W), mean and maximum over the channels, to (N, 1, H, W), before the sigmoid.
    """
    has_any = valid.flatten(1).any(dim=1, keepdim=True)
    largest = hide_void(features, valid).amax(dim=(2, 3)).masked_fill(~has_any, 0)
    gates = (channel(mean_of_valid(features, valid)) + channel(largest)).sigmoid()
    refined = zero_void(features, valid) * gates[:, :, None, None]
    pooled = torch.stack([refined.mean(dim=1), refined.amax(dim=1)], dim=1)
    return refined * spatial(pooled).sigmoid()
