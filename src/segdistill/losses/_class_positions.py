"""Positions drawn from the maps of a batch, the same number of each class present in an image."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segdistill.losses._ops import random_on

Sampling = Literal["class_balanced", "random"]

# Up to this number of classes, every image has room for all of them, and no shape depends on the labels. Beyond it,
# there is room for the classes of the fullest image, whose number the host has to wait for.
FIXED_CLASSES = 32

_VOID = torch.iinfo(torch.long).max  # sorts after every class


class Positions(NamedTuple):
    """Sampled positions of every image, padded to the same number.

    Attributes:
        places: Positions, shape (N, B). In image n the first ``size[n]`` count.
        size: Number of positions of each image, shape (N,): samples * classes present.
        classes: Number of classes present in each image, shape (N,).
    """

    places: Tensor
    size: Tensor
    classes: Tensor


def sample_positions(
    labels: Tensor,
    samples: int,
    *,
    num_classes: int | None = None,
    sampling: Sampling = "class_balanced",
    generator: torch.Generator | None = None,
    ignore_index: int = 255,
) -> Positions:
    """Draw ``samples`` positions of each class present in an image, class by class, for all images at once.

    Of a class with enough positions, ``samples`` different ones are drawn. A class with fewer repeats all of its
    positions in the same order. ``sampling="random"`` draws the same number of positions, regardless of their class.

    Args:
        labels: Class indices, shape (N, positions).
        samples: Number of positions of each class present.
        num_classes: Number of classes, if it is known. Up to :data:`FIXED_CLASSES` it is the room in every image.
        sampling: "class_balanced" or "random".
        generator: Random generator.
        ignore_index: Label of the positions that are never drawn.
    """
    order, ranked = by_class(labels, generator=generator, ignore_index=ignore_index)
    valid = ranked != _VOID
    starts = torch.cat([torch.zeros_like(valid[:, :1]), ranked[:, 1:] != ranked[:, :-1]], dim=1)
    rank = starts.cumsum(dim=1)  # 0 for the first class present, and so on; void comes after the last one
    classes = torch.where(valid, rank + 1, 0).amax(dim=1)
    room = num_classes if num_classes is not None and num_classes <= FIXED_CLASSES else max(1, int(classes.max()))
    classes = classes.clamp(max=room)
    if sampling == "random":
        turn = torch.arange(samples * room, device=labels.device) % valid.sum(dim=1, keepdim=True).clamp(min=1)
        order = order.gather(1, random_order(valid, generator=generator))  # of any class
        return Positions(order.gather(1, turn), samples * classes, classes)
    each = torch.arange(room, device=labels.device).expand(len(labels), -1).contiguous()
    first, after = torch.searchsorted(rank, each), torch.searchsorted(rank, each, right=True)
    count = (after - first).clamp(min=1)[..., None]  # 0 only for the room that is not used
    turn = first[..., None] + torch.arange(samples, device=labels.device) % count  # (N, room, samples)
    turn = turn.flatten(1).clamp(max=labels.shape[1] - 1)
    return Positions(order.gather(1, turn), samples * classes, classes)


def by_class(labels: Tensor, *, generator: torch.Generator | None, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Sort the positions of every image by class, in random order within a class, void positions last.

    Args:
        labels: Class indices, shape (N, positions).
        generator: Random generator.
        ignore_index: Label of void positions.

    Returns:
        The positions and their classes, each of shape (N, positions).
    """
    keyed = labels.masked_fill(labels == ignore_index, _VOID)
    order = random_order(keyed != _VOID, generator=generator)
    ranked, sorted_order = keyed.gather(1, order).sort(dim=1, stable=True)  # stable: the random order stays
    return order.gather(1, sorted_order), ranked


def random_order(valid: Tensor, *, generator: torch.Generator | None) -> Tensor:
    """Return the positions of every row of ``valid``, boolean (..., positions), in random order, others last."""
    chance = random_on(torch.rand, *valid.shape, generator=generator, device=valid.device)
    return chance.masked_fill(~valid, 2).argsort(dim=-1)


def row_orders(size: Tensor, room: int, *, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Return a random order of the columns for every row of every image, shape (N, room, room).

    Args:
        size: Number of columns of each image, shape (N,). They come first in the orders, in random order.
        room: Number of columns with the padding.
        generator: Random generator.
        device: Device of the result.
    """
    counts = torch.arange(room, device=device) < size[:, None, None]
    return random_order(counts.expand(-1, room, -1), generator=generator)
