"""GSKD's view of an image: sampled positions, their similarities, and the sub-image descriptors of both networks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses._class_positions import row_orders, sample_positions
from segdistill.losses._ops import at_least_float32, check_shapes, labels_at, unit


class Descriptors(NamedTuple):
    """The similarities of sampled positions in one network.

    Attributes:
        similarities: Cosine similarities, shape (B, B), rows and columns class by class.
        shuffled: The same with each row in a random order, shape (B, B).
        descriptors: Softmax over each group of columns of ``shuffled``, shape (G, B * S).
    """

    similarities: Tensor
    shuffled: Tensor
    descriptors: Tensor


class GSKDView(NamedTuple):
    """What GSKD compares in one image.

    Attributes:
        places: Sampled positions, rows first, shape (B,).
        classes: Their classes, shape (B,).
        student, teacher: The similarities of both networks.
    """

    places: Tensor
    classes: Tensor
    student: Descriptors
    teacher: Descriptors


def gskd_view(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    samples: int = 16,
    stride: int = 8,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    ignore_index: int = 255,
) -> GSKDView:
    r"""Return the samples, similarity maps and descriptors of :func:`segdistill.losses.gskd` for one image.

    With the L2-normalized samples M of a network and :math:`P` the random order of every row,

    .. math:: V = M M^\top, \quad D_g = \sigma\big( P(V)_{:,\,gS..(g+1)S} / \tau \big)

    The mean over g of :math:`\mathrm{KL}(D^T_g \Vert D^S_g)` is the loss, with the same generator.

    Args:
        student, teacher: Features of the same height and width, shapes (1, C, h, w) and (1, C', h, w).
        labels: Class indices, shape (1, H, W).
        samples: Number of positions of each class present.
        stride: Number of columns of a descriptor; above B it is B.
        temperature: Temperature of the softmax.
        generator: Random generator of positions and orders.
        ignore_index: Label of the positions that are never drawn.

    Raises:
        ValueError: If the sizes of the features differ.

    Example:
        >>> import torch
        >>> from segdistill.explain.gskd_view import gskd_view
        >>> student, teacher = torch.eye(4).view(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
        >>> view = gskd_view(student, teacher, torch.zeros(1, 2, 2, dtype=torch.long), samples=4, stride=4)
        >>> view.student.similarities.sum(), view.teacher.descriptors.shape
        (tensor(4.), torch.Size([1, 16]))

    Reference: Park et al., GSKD, Eq. 5-6, Algorithm 1 and Figure 2, https://doi.org/10.1109/ACCESS.2025.3575066.
    """
    check_shapes(student, teacher, any_channels=True)
    known = labels_at(labels, student).flatten(1)
    positions = sample_positions(known, samples, generator=generator, ignore_index=ignore_index)
    size = int(positions.size[0])
    order = row_orders(positions.size, positions.places.shape[1], generator=generator, device=student.device)
    places, order = positions.places[0, :size], order[0, :size, :size]
    both = (_descriptors(at_least_float32(maps)[0].flatten(1)[:, places].mT, order, stride, temperature)
            for maps in (student, teacher))  # fmt: skip
    return GSKDView(places, known[0, places], *both)


def resized_like(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the student's map (N, C, h, w) at the height and width of the teacher's, bilinearly, as a Term does."""
    if student.shape[2:] == teacher.shape[2:]:
        return student
    return F.interpolate(student, teacher.shape[2:], mode="bilinear", align_corners=False)


def _descriptors(samples: Tensor, order: Tensor, stride: int, temperature: float) -> Descriptors:
    rows = unit(samples, dim=1)
    similarities = rows @ rows.mT
    shuffled = similarities.gather(1, order)
    stride = max(1, min(stride, len(order)))
    groups = len(order) // stride
    columns = shuffled[:, : groups * stride].reshape(len(order), groups, stride).transpose(0, 1).flatten(1)
    return Descriptors(similarities, shuffled, (columns / temperature).softmax(dim=1))
