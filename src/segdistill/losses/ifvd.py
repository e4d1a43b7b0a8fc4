"""IFVD, intra-class feature variation: match the similarity of every position to the center of its class."""

from torch import Tensor, nn

from segdistill.losses._checks import Count
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, class_members, masked_mean, unit


@loss_function(equal_channels=False, mean_over="pixels")
def ifvd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    num_classes: Count | None = None,
    ignore_index: int = 255,
) -> Tensor:
    r"""Return the mean over valid positions of the squared difference of the similarities to the class center.

    With :math:`m_c` the mean of an image's features at the positions of class c, and :math:`y_i` the class of
    position i,

    .. math:: \frac{1}{|V|} \sum_{i \in V} \big( \cos(f^S_i, m^S_{y_i}) - \cos(f^T_i, m^T_{y_i}) \big)^2

    The gradient also flows through the centers.

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, shape (N, C', H, W), any number of channels; no gradient reaches it.
        labels: Class indices, shape (N, H', W'); required.
        num_classes: Number of classes. Labels from this number up are ignored. None reads the classes from the labels,
            which synchronizes with the device.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: If N, H or W differ, or labels are missing.

    Example:
        >>> import torch
        >>> from segdistill.losses import ifvd
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)  # positions orthogonal; all alike
        >>> labels = torch.zeros(1, 2, 2, dtype=torch.long)  # one class: cosine 1/2 to its center, and 1
        >>> round(ifvd(student, teacher, labels).item(), 4)
        0.25

    Reference: Wang et al., ECCV 2020,
    https://www.ecva.net/papers/eccv_2020/papers_ECCV/html/230_ECCV_2020_paper.php. The released code adds nothing at
    void positions but divides by the number of all positions: its value is this one times the share of valid positions,
    and its weight acts 1 / share times stronger here (about 1.1 to 1.15 on Cityscapes). The paper's adversarial term is
    not included; :class:`segdistill.losses.SKDHolistic` with weight 0.001 is the one in CIRKD's script.
    """
    check_shapes(student, teacher, any_channels=True)
    member = class_members(labels, student, num_classes=num_classes, ignore_index=ignore_index)
    s, t = (_similarity_to_centre(x.flatten(2), member) for x in (student, teacher))
    return masked_mean((s - t).square(), member.any(dim=2))


def _similarity_to_centre(features: Tensor, member: Tensor) -> Tensor:
    """Return the cosine similarity of each of ``features`` (N, C, H * W) to the center of its class, (N, H * W)."""
    one_hot = member.to(features.dtype)
    centers = unit(features @ one_hot, dim=1)  # (N, C, classes); the length of a center does not matter
    similarity = unit(features, dim=1).mT @ centers  # (N, H * W, classes)
    return (similarity * one_hot).sum(dim=2)


@module_of(ifvd)
class IFVD(nn.Module):
    """Module form of :func:`ifvd`."""

    def __init__(self, *, num_classes: int | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return ifvd(student, teacher, labels, num_classes=self.num_classes, ignore_index=self.ignore_index)
