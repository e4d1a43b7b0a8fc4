"""I2CKD: pull the student's class prototypes to the teacher's, and push them away from those of other classes."""

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, NonNegative
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, class_members, masked_mean
from segdistill.losses._processes import summed, summed_with_gradient


@loss_function()
def i2ckd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    margin: NonNegative = 1.0,
    num_classes: Count | None = None,
    across_processes: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the triplet loss between the class prototypes, over the n classes present in the batch.

    With :math:`p_c` the mean of the features at the valid positions of class c in the whole batch,

    .. math:: \frac{1}{n (n - 1)} \sum_c \sum_{j \ne c}
        \big[ m + \Vert p^S_c - p^T_c \Vert_2 - \Vert p^S_c - p^T_j \Vert_2 \big]_+

    The value is not zero for student = teacher, unless the prototypes are more than the margin apart.

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, same shape; no gradient reaches it.
        labels: Class indices, shape (N, H', W'); required.
        margin: :math:`m` >= 0, in units of the features.
        num_classes: Number of classes. Labels from this number up are ignored. None reads the classes from the labels,
            which synchronizes with the device.
        across_processes: True takes the prototypes of the batches of all processes together, which needs
            ``num_classes``. Each process then returns the same value, and the mean over processes of its gradients,
            which DistributedDataParallel takes, is the gradient for the whole batch. False takes those of the batch of
            one process. Accumulated batches have prototypes each in both cases.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If the shapes differ, labels are missing, or ``across_processes`` lacks ``num_classes``.

    Example:
        >>> import torch
        >>> from segdistill.losses import i2ckd
        >>> student = torch.tensor([[[[0.0, 1.0]]]])  # prototypes 0 and 1
        >>> teacher = torch.tensor([[[[0.0, 3.0]]]])  # prototypes 0 and 3
        >>> labels = torch.tensor([[[0, 1]]])
        >>> round(i2ckd(student, teacher, labels).item(), 4)
        1.0

    Reference: Karine et al., I2CKD, Eq. 1-3, https://arxiv.org/abs/2403.18490. No code was released. The paper gives no
    margin, no layer and no rule for absent classes. Choices made here: prototypes per batch (of one process, by
    default), labels at the resolution of the features, and present classes only. The paper's mean is over all C
    classes. With n present the value here is C (C - 1) / (n (n - 1)) times its value: 4.7 times for 10 of 21 classes.
    Fewer than two give zero.
    """
    check_shapes(student, teacher)
    _check_classes(num_classes, across_processes)
    members = class_members(labels, student, num_classes=num_classes, ignore_index=ignore_index)
    member = members.to(student.dtype)  # (N, H * W, classes)
    count = member.sum(dim=(0, 1))  # (classes,)
    s, t = ((x.flatten(2) @ member).sum(dim=0).mT for x in (student, teacher))  # sums, (classes, C)
    if across_processes:
        count, s, t = summed(count), summed_with_gradient(s), summed(t)
    s, t = (x / count.clamp(min=1)[:, None] for x in (s, t))
    # Without the matrix product, cdist is exact for close prototypes and has gradient 0 at distance 0.
    distance = torch.cdist(s, t, compute_mode="donot_use_mm_for_euclid_dist")
    triplets = (margin + distance.diagonal()[:, None] - distance).relu()
    present = count > 0
    others = ~torch.eye(len(present), dtype=torch.bool, device=present.device)
    return masked_mean(triplets, present & present[:, None] & others)


def _check_classes(num_classes: int | None, across_processes: bool) -> None:
    if across_processes and num_classes is None:
        raise ValueError("across_processes needs num_classes: the classes present differ between processes")


@module_of(i2ckd)
class I2CKD(nn.Module):
    """Module form of :func:`i2ckd`."""

    def __init__(
        self,
        *,
        margin: float = 1.0,
        num_classes: int | None = None,
        across_processes: bool = False,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        _check_classes(num_classes, across_processes)
        self.margin = margin
        self.num_classes = num_classes
        self.across_processes = across_processes
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return i2ckd(
            student,
            teacher,
            labels,
            margin=self.margin,
            num_classes=self.num_classes,
            across_processes=self.across_processes,
            ignore_index=self.ignore_index,
        )
