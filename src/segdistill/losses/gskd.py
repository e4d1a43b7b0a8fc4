"""GSKD: match descriptors of the similarities between positions, sampled equally from all classes."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, Positive
from segdistill.losses._class_positions import Sampling, row_orders, sample_positions
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, kl_divergence, labels_at, masked_mean, unit

Stride = Count | Literal["classes"]


@loss_function(equal_channels=False, mean_over="images")
def gskd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    samples: Count = 16,
    stride: Stride = 8,
    temperature: Positive = 1.0,
    sampling: Sampling = "class_balanced",
    group: bool = True,
    shuffle: bool = True,
    num_classes: Count | None = None,
    generator: torch.Generator | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Return the mean over images of the divergence of the sub-image descriptors, in nats.

    In each image, ``samples`` positions of each class present are drawn, the same for student and teacher: B positions.
    Their B x B cosine similarities, with the columns of every row in another random order, are cut into groups of
    columns: see :func:`sub_image_descriptor_kl`. Images without a valid position are ignored.

    Args:
        student: Features, shape (N, C, H, W).
        teacher: Features, shape (N, C', H, W), any number of channels; no gradient reaches it.
        labels: Class indices, shape (N, H', W'). The paper drops the positions where the teacher is wrong: set them to
            ``ignore_index``. None treats every position as one class, and is allowed with ``sampling="random"`` and a
            number as stride only: otherwise the loss needs to know the classes.
        samples: Number of positions of each class present.
        stride: Number of columns in a descriptor; "classes" is the number of classes present in the image.
        temperature: Temperature of both softmaxes, > 0.
        sampling: "class_balanced", or "random": the same number of positions, of any class (RS in the paper's Table
            11).
        group: False uses one descriptor for the whole map.
        shuffle: False keeps the columns of every row in order.
        num_classes: Number of classes, if it is known. Up to 32 (``_class_positions.FIXED_CLASSES``), all shapes are
            known before the labels are: the host never waits for the device, and ``torch.compile`` makes one graph.
            With more, or None, the host waits once, for the largest number of classes in an image of the batch.
        generator: Random generator of positions and orders.
        ignore_index: Label of the positions that are never drawn.

    Raises:
        ValueError: If N, H or W differ, or labels are missing.

    Example:
        >>> import torch
        >>> from segdistill.losses import gskd
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)  # positions orthogonal; all alike
        >>> labels = torch.zeros(1, 2, 2, dtype=torch.long)
        >>> round(gskd(student, teacher, labels, samples=4, stride=4).item(), 4)
        0.1074

    Reference: Park et al., 2025, https://doi.org/10.1109/ACCESS.2025.3575066, Eq. 5-7 and Algorithm 1. The divergence
    is KL(teacher || student) as in the released code; Eq. 7 prints the other order. The paper has no rule for a class
    with fewer positions than ``samples``: here all of its positions are repeated in turn. The released code fills up
    with positions of other classes, and skips a class of one position. The released code differs: it has a
    projector, a group for the remaining columns and a squared temperature, divides by the number of entries of a group,
    mixes up pixels as soon as one is void, counts one image of the batch, and passes no gradient to the student.
    """
    check_shapes(student, teacher, any_channels=True)
    if labels is None and sampling == "random" and stride != "classes":
        labels = torch.full_like(student[:, 0], ignore_index + 1, dtype=torch.long)  # one class everywhere
        num_classes = 1
    if labels is not None and labels.dim() == 1:  # classification: an image has one class
        num_classes = 1
    positions = sample_positions(
        labels_at(labels, student).flatten(1),
        samples,
        num_classes=num_classes,
        sampling=sampling,
        generator=generator,
        ignore_index=ignore_index,
    )
    room, size = positions.places.shape[1], positions.size
    order = row_orders(size, room, generator=generator, device=student.device) if shuffle and group else None
    if not group:
        columns = _Columns(size, width=room, groups=1)
    elif stride == "classes":
        columns = _Columns(positions.classes, width=room // samples, groups=samples)
    else:
        columns = _Columns(size.clamp(max=stride), width=min(stride, room), groups=max(1, room // stride))
    s, t = (x.flatten(2).gather(2, positions.places[:, None].expand(-1, x.shape[1], -1)).mT for x in (student, teacher))
    divergences = _divergences(s, t, order, size, columns, temperature)
    return masked_mean(divergences, size > 0)


@loss_function
def sub_image_descriptor_kl(
    student_samples: Tensor,
    teacher_samples: Tensor,
    permutation: Tensor,
    *,
    stride: Count,
    temperature: Positive = 1.0,
) -> Tensor:
    r"""Return the divergence of the sub-image descriptors of one image, in nats: the core of :func:`gskd`.

    With the L2-normalized samples :math:`M`, the similarities :math:`V = M M^\top` with each row permuted, and
    :math:`D_i` all B S entries of the columns i S to (i + 1) S - 1 of V,

    .. math:: \frac{1}{G} \sum_{i=0}^{G-1}
        \mathrm{KL}\big(\sigma(D^T_i / \tau) \,\Vert\, \sigma(D^S_i / \tau)\big),
        \quad G = \lfloor B / S \rfloor

    Args:
        student_samples: Features at the sampled positions, shape (B, d).
        teacher_samples: The same positions, shape (B, d'), any number of channels; no gradient reaches it.
        permutation: Shape (B, B). Row i is the order of the columns in row i.
        stride: Number of columns in a group, :math:`S`. Columns after the last full group are ignored. A stride above B
            makes one group of all columns.
        temperature: :math:`\tau` > 0.

    Raises:
        ValueError: If the numbers of samples differ or do not fit the permutation.

    Example:
        >>> import torch
        >>> from segdistill.losses import sub_image_descriptor_kl
        >>> student, teacher = torch.eye(2), torch.ones(2, 2)  # orthogonal samples; equal samples
        >>> order = torch.arange(2).expand(2, 2)  # the columns of every row in order
        >>> round(sub_image_descriptor_kl(student, teacher, order, stride=2).item(), 4)
        0.1201

    Reference: Park et al., 2025, Eq. 5-7 and Algorithm 1; see :func:`gskd`.
    """
    size = len(student_samples)
    if len(teacher_samples) != size or permutation.shape != (size, size):
        raise ValueError(
            "student_samples (B, d), teacher_samples (B, d') and permutation (B, B) must share B, got "
            f"{tuple(student_samples.shape)}, {tuple(teacher_samples.shape)} and {tuple(permutation.shape)}"
        )
    stride = min(stride, size)
    columns = _Columns(torch.full_like(permutation[:1, 0], stride), width=stride, groups=size // stride)
    sizes = torch.full_like(permutation[:1, 0], size)
    return _divergences(student_samples[None], teacher_samples[None], permutation[None], sizes, columns, temperature)[0]


class _Columns(NamedTuple):
    """The groups of columns of each image: ``stride`` (N,) columns each, padded to ``width``; ``groups`` at most."""

    stride: Tensor
    width: int
    groups: int


def _divergences(
    student: Tensor, teacher: Tensor, order: Tensor | None, size: Tensor, columns: _Columns, temperature: float
) -> Tensor:
    """Return the mean divergence over the groups of each image, shape (N,); see :func:`sub_image_descriptor_kl`.

    Args:
        student, teacher: Samples, shapes (N, B, d) and (N, B, d'). In image n the first ``size[n]`` count.
        order: The order of the columns in every row, shape (N, B, B), those that count first; None keeps the order.
        size: Number of samples of each image, shape (N,).
        columns: The groups of columns.
        temperature: Temperature of both softmaxes.
    """
    images, room = student.shape[:2]
    stride = columns.stride.clamp(min=1)[:, None, None]
    group = torch.arange(columns.groups, device=student.device)[:, None]
    inside = torch.arange(columns.width, device=student.device)
    index = (group * stride + inside).clamp(max=room - 1).view(images, 1, -1).expand(-1, room, -1)  # (N, B, G * S)
    if order is not None:
        index = order.gather(2, index)
    groups = size // stride[:, 0, 0]
    row = torch.arange(room, device=student.device) < size[:, None]
    column = (group < groups[:, None, None]) & (inside < stride)  # (N, G, S)
    counts = (row[:, None, :, None] & column[:, :, None]).flatten(2)  # (N, G, B * S)

    def descriptors(samples: Tensor) -> Tensor:
        rows = unit(samples, dim=2)
        similarity = (rows @ rows.mT).gather(2, index)
        grouped = similarity.view(images, room, columns.groups, columns.width).transpose(1, 2).flatten(2)
        return (grouped / temperature).masked_fill(~counts, torch.finfo(grouped.dtype).min / 2)

    divergence = kl_divergence(descriptors(student), descriptors(teacher), dim=2)  # (N, G)
    return divergence.masked_fill(group[:, 0] >= groups[:, None], 0).sum(dim=1) / groups.clamp(min=1)


@module_of(gskd)
class GSKD(nn.Module):
    """Module form of :func:`gskd`."""

    def __init__(
        self,
        *,
        samples: int = 16,
        stride: Stride = 8,
        temperature: float = 1.0,
        sampling: Sampling = "class_balanced",
        group: bool = True,
        shuffle: bool = True,
        num_classes: int | None = None,
        generator: torch.Generator | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.stride: Stride = stride
        self.temperature = temperature
        self.sampling: Sampling = sampling
        self.group = group
        self.shuffle = shuffle
        self.num_classes = num_classes
        self.generator = generator
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        return gskd(
            student,
            teacher,
            labels,
            samples=self.samples,
            stride=self.stride,
            temperature=self.temperature,
            sampling=self.sampling,
            group=self.group,
            shuffle=self.shuffle,
            num_classes=self.num_classes,
            generator=self.generator,
            ignore_index=self.ignore_index,
        )
