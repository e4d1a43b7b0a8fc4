"""GSKD: match descriptors of the similarities between positions, sampled equally from all classes."""

from typing import Literal

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, Positive
from segdistill.losses._declare import loss_function, module_of
from segdistill.losses._ops import check_shapes, kl_divergence, labels_at, random_on, unit

Sampling = Literal["class_balanced", "random"]
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
    flat_labels = labels_at(labels, student).flatten(1)  # (N, H * W)
    terms = []
    # unbind instead of an index: its backward pass writes the gradient of the batch once instead of once per image.
    for s, t, image in zip(student.flatten(2).unbind(), teacher.flatten(2).unbind(), flat_labels, strict=True):
        positions = sample_positions(image, samples, sampling=sampling, generator=generator, ignore_index=ignore_index)
        size = len(positions)  # B = samples * classes present
        if size == 0:
            continue
        if shuffle and group:
            permutation = row_permutations(size, generator=generator, device=image.device)
        else:
            permutation = torch.arange(size, device=image.device).expand(size, size)
        columns = size // samples if stride == "classes" else stride
        terms.append(
            sub_image_descriptor_kl(
                s.index_select(1, positions).mT,
                t.index_select(1, positions).mT,
                permutation,
                stride=columns if group else size,
                temperature=temperature,
            )
        )
    return torch.stack(terms).mean() if terms else (student * 0).sum()


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
    groups = size // stride
    s, t = (
        _descriptors(x, permutation[:, : groups * stride], groups) / temperature
        for x in (student_samples, teacher_samples)
    )
    return kl_divergence(s, t, dim=1).mean()


def _descriptors(samples: Tensor, order: Tensor, groups: int) -> Tensor:
    """Return the similarities of ``samples`` (B, d), columns in ``order`` (B, G * S), one row per group (G, B * S)."""
    rows = unit(samples, dim=1)
    return (rows @ rows.mT).gather(1, order).reshape(len(rows), groups, -1).transpose(0, 1).flatten(1)


def sample_positions(
    labels: Tensor,
    samples: int,
    *,
    sampling: Sampling = "class_balanced",
    generator: torch.Generator | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Draw positions of one image, shape (samples * classes present,), class by class.

    Of a class with enough positions, ``samples`` different ones are drawn. A class with fewer repeats all of its
    positions in the same order. ``sampling="random"`` draws the same number of positions, regardless of their class.

    Args:
        labels: Class indices, shape (positions,).
        samples: Number of positions of each class present.
        sampling: "class_balanced" or "random".
        generator: Random generator.
        ignore_index: Label of the positions that are never drawn.
    """
    valid = (labels != ignore_index).nonzero().squeeze(1)
    order = valid[random_on(torch.randperm, len(valid), generator=generator, device=labels.device)]
    # A stable sort by class keeps the random order within each class.
    ranked, by_class = labels[order].sort(stable=True)
    count: Tensor = torch.unique_consecutive(ranked, return_counts=True)[1]  # (classes,)
    if sampling == "random":
        return order[torch.arange(samples * len(count), device=labels.device) % max(len(order), 1)]
    start = count.cumsum(0) - count
    turn = torch.arange(samples, device=labels.device) % count[:, None]  # (classes, samples)
    return order[by_class[start[:, None] + turn]].flatten()


def row_permutations(size: int, *, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Return ``size`` independent random orders of ``range(size)``, one per row."""
    return random_on(torch.rand, size, size, generator=generator, device=device).argsort(dim=1)


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
            generator=self.generator,
            ignore_index=self.ignore_index,
        )
