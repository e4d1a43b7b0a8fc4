"""CIRKD, memory terms: match the similarity of every position to the teacher's pixels and regions of the past."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, CountOrZero, Positive, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import call_in_dtype, check_shapes, class_members, similarity_divergence, unit
from segdistill.losses._processes import gathered

# Pixels of each class and image that enter the pixel queue in a step, at most.
_PIXELS_AT_A_TIME = 16


class CIRKDMemory(nn.Module):
    r"""Pixel-to-pixel plus pixel-to-region distillation against queues of the teacher's embeddings, in nats.

    One queue a class holds the teacher's L2-normalised features at pixels of that class, another its regions, the mean
    of the class's features in an image. With :math:`V` the entries drawn from a queue, the same number of every
    class, the mean over the valid positions i of

    .. math:: \mathrm{KL}\big(\sigma(V f^T_i / \tau) \,\Vert\, \sigma(V f^S_i / \tau)\big)

    for the pixels, plus the same for the regions. In training mode the batch enters the queues first, gathered from
    all processes where there are several: every image's regions, and at random up to 16 pixels of each of its classes.
    The oldest entries leave.

    Args:
        num_classes: Number of classes; labels from this number up do not count.
        channels: Channels of the teacher's features.
        student_channels: None compares the student's features as they are: its channels must be the teacher's, as a
            Term's adapter makes them. A number puts the paper's projector in front, from so many channels: two 1x1
            convolutions without bias, batch normalisation and ReLU between them, trained with the student. It
            normalises over void positions too.
        pixel_size: Pixels a class in the queue.
        region_size: Regions a class in the queue.
        pixel_contrast: Pixels to compare with: this number divided by the classes, rounded down, plus 1 of each class,
            or all there are; 0 leaves the term out.
        region_contrast: The same for regions.
        temperature: Of all softmaxes, > 0.
        generator: Source of the first entries, of the pixels that enter and of the entries drawn.
        ignore_index: Label of the positions that do not count.

    Attributes:
        pixel_queue: Shape (num_classes, pixel_size, channels), saved with the state; random directions at first.
        region_queue: Shape (num_classes, region_size, channels).
        pixel_next: Where each class's next pixel goes, shape (num_classes,).
        region_next: The same for regions.

    Raises:
        ValueError: For a hyper-parameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import CIRKDMemory
        >>> _ = torch.manual_seed(0)
        >>> loss = CIRKDMemory(num_classes=3, channels=4)
        >>> student, teacher, labels = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.randint(3, (2, 8, 8))
        >>> round(loss(student, teacher, labels).item(), 2)
        18.01

    Reference: Yang et al., CVPR 2022, https://arxiv.org/abs/2204.06986. In the released code a class's pixels are drawn
    from the top of the image whatever their class is, and a full queue starts over from its last entries; here they
    are of the class, and the queue is a ring. That code always has the projector.
    """

    equal_channels = True
    needs_teacher = True
    mean_over = "pixels"

    pixel_queue: Tensor
    region_queue: Tensor
    pixel_next: Tensor
    region_next: Tensor

    @checked
    def __init__(
        self,
        *,
        num_classes: Count,
        channels: Count,
        student_channels: Count | None = None,
        pixel_size: Count = 20000,
        region_size: Count = 2000,
        pixel_contrast: CountOrZero = 4096,
        region_contrast: CountOrZero = 1024,
        temperature: Positive = 0.1,
        generator: torch.Generator | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        if pixel_contrast == region_contrast == 0:
            raise ValueError("pixel_contrast and region_contrast must not both be 0: nothing would be compared")
        self.num_classes = num_classes
        self.channels = channels
        self.pixel_contrast = pixel_contrast
        self.region_contrast = region_contrast
        self.temperature = temperature
        self.generator = generator
        self.ignore_index = ignore_index
        self.projector: nn.Module = nn.Identity()
        if student_channels is not None:
            self.equal_channels = False
            self.projector = nn.Sequential(
                nn.Conv2d(student_channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False),
            )
        for name, size in (("pixel", pixel_size), ("region", region_size)):
            directions = self._random(torch.randn, num_classes, size, channels)
            self.register_buffer(f"{name}_queue", unit(directions, dim=2))
            self.register_buffer(f"{name}_next", torch.zeros(num_classes, dtype=torch.long))

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, C, H, W).
            teacher: Features, shape (N, channels, H, W); no gradient reaches it.
            labels: Class indices, shape (N, H', W'); required.

        Raises:
            ValueError: If the shapes differ or labels are missing.
        """
        return _cirkd_memory(student, teacher, labels, memory=self)

    @torch.no_grad()
    def remember(self, embeddings: Tensor, member: Tensor) -> None:
        """Let a batch of the teacher into the queues.

        Args:
            embeddings: L2-normalised features, shape (N, channels, positions).
            member: Boolean (N, positions, num_classes): which position is of which class.
        """
        regions = unit(embeddings @ member.to(embeddings.dtype), dim=1).mT  # (N, classes, channels)
        present = member.any(dim=1)  # (N, classes)
        _enqueue(self.region_queue, self.region_next, *gathered(regions[present], present.nonzero()[:, 1]))

        image, position, of_class = member.nonzero().unbind(dim=1)
        order = self._random(torch.randperm, len(image), device=image.device)
        image, position, of_class = image[order], position[order], of_class[order]
        drawn = _rank(image * self.num_classes + of_class) < _PIXELS_AT_A_TIME
        pixels = embeddings.mT[image[drawn], position[drawn]]
        _enqueue(self.pixel_queue, self.pixel_next, *gathered(pixels, of_class[drawn]))

    def draw(self, queue: Tensor, contrast: int) -> Tensor:
        """Draw entries of ``queue``, the same places of every class, shape (channels, entries)."""
        places = self._random(torch.randperm, queue.shape[1], device=queue.device)
        places = places[: contrast // self.num_classes + 1]
        return queue[:, places].flatten(0, 1).mT

    def _random(self, function: Callable[..., Tensor], *sizes: int, device: torch.device | None = None) -> Tensor:
        """Random numbers on ``device``, made where the generator is if there is one."""
        source = device if self.generator is None else self.generator.device
        numbers = function(*sizes, generator=self.generator, device=source)
        return numbers if device is None else numbers.to(device)


@loss_function
def _cirkd_memory(student: Tensor, teacher: Tensor, labels: Tensor | None, *, memory: CIRKDMemory) -> Tensor:
    check_shapes(student, teacher, any_channels=not memory.equal_channels)
    if teacher.shape[1] != memory.channels:
        raise ValueError(f"teacher must have channels={memory.channels}, got {tuple(teacher.shape)}")
    member = class_members(labels, student, num_classes=memory.num_classes, ignore_index=memory.ignore_index)
    projected = call_in_dtype(memory.projector, student)
    s, t = (unit(x.flatten(2), dim=1) for x in (projected, teacher))  # (N, channels, H * W)
    if memory.training:
        memory.remember(t, member)
    valid = member.any(dim=2)
    s_rows, t_rows = (x.mT[valid] / memory.temperature for x in (s, t))  # (positions, channels)
    total = s_rows.new_zeros(len(s_rows), 1)
    for queue, contrast in (
        (memory.pixel_queue, memory.pixel_contrast),
        (memory.region_queue, memory.region_contrast),
    ):
        if contrast > 0:
            columns = memory.draw(queue, contrast).to(s)[:, None]  # (channels, 1, entries)
            total = total + similarity_divergence((s_rows, columns), (t_rows, columns))
    # A sum and not a mean: without a valid position it is a zero with a graph.
    return total.sum() / valid.sum().clamp(min=1)


def _rank(groups: Tensor) -> Tensor:
    """How many earlier entries of ``groups`` are equal to each entry."""
    ordered, order = groups.sort(stable=True)
    # Where an entry's group begins, in the sorted ones, counts back to 0.
    position = torch.arange(len(groups), device=groups.device)
    return torch.empty_like(position).scatter(0, order, position - torch.searchsorted(ordered, ordered))


def _enqueue(queue: Tensor, following: Tensor, entries: Tensor, classes: Tensor) -> None:
    """Write ``entries`` (M, channels) into the rings of their ``classes`` (M,), in place.

    Args:
        queue: Shape (num_classes, size, channels).
        following: Where each class's next entry goes, shape (num_classes,).
        entries: In the order of their age.
        classes: Class of each.
    """
    size = queue.shape[1]
    count = torch.bincount(classes, minlength=len(queue))
    rank = _rank(classes)
    kept = rank >= count[classes] - size  # more than the ring holds: the last ones
    place = (following[classes] + rank) % size
    queue[classes[kept], place[kept]] = entries[kept].to(queue.dtype)
    following.copy_((following + count) % size)
