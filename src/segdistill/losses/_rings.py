"""Rings of past entries, one for each class. Writing waits for nothing: how many entries count is on the device."""

import torch
from torch import Tensor


def enqueue(rings: Tensor, following: Tensor, entries: Tensor, classes: Tensor, present: Tensor) -> None:
    """Write entries after the newest ones of the rings of their classes, in place of the oldest.

    Args:
        rings: Shape (num_classes, size, channels), written in place.
        following: Index of each class's next entry, shape (num_classes,), written in place.
        entries: New entries, the oldest first, shape (M, channels).
        classes: Class of each entry, shape (M,).
        present: Which entries count, boolean (M,).
    """
    size = rings.shape[1]
    member = (classes[:, None] == torch.arange(len(rings), device=classes.device)) & present[:, None]  # (M, classes)
    count = member.sum(dim=0)
    rank = (member.cumsum(dim=0) - 1).gather(1, classes[:, None])[:, 0]
    newest = present & (rank >= count[classes] - size)  # if there are more than the ring holds, the last ones stay
    write(rings, (classes, (following[classes] + rank) % size), entries, newest)
    following.copy_((following + count) % size)


def write(memory: Tensor, places: tuple[Tensor, ...], entries: Tensor, counts: Tensor) -> None:
    """Write the entries that count to their places.

    Args:
        memory: Written in place.
        places: Index of each entry in the first dimensions of the memory, shapes (M,).
        entries: Shape (M, ...).
        counts: Which entries count, boolean (M,). Their places differ.
    """
    if not len(entries):
        return
    # The others repeat the first entry that counts, because a selection by a mask has a length that the host waits for.
    source = torch.where(counts, torch.arange(len(counts), device=counts.device), counts.long().argmax())
    places = tuple(place[source] for place in places)
    memory[places] = torch.where(counts.any(), entries[source].to(memory.dtype), memory[places])
