"""CIRKD, memory terms: match the similarity of every position to queues of the teacher's pixels and regions."""

import torch
from torch import Tensor, nn

from segdistill.losses._batch_norm import BatchNorm
from segdistill.losses._checks import Count, CountOrZero, Positive, checked
from segdistill.losses._class_positions import by_class
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import (
    call_in_dtype,
    check_shapes,
    class_members,
    masked_mean,
    random_on,
    similarity_divergence,
    unit,
)
from segdistill.losses._processes import gathered
from segdistill.losses._rings import enqueue

# Largest number of pixels of each class and image that enter the pixel queue in a step.
_PIXELS_AT_A_TIME = 16

_NO_CLASS = -1  # the class of void and of labels of no class


class CIRKDMemory(nn.Module):
    r"""Pixel-to-pixel plus pixel-to-region distillation against queues of the teacher's embeddings, in nats.

    Each class has a queue of the teacher's L2-normalized features at pixels of the class, and a queue of regions. A
    region is the mean of the class's features in an image. With :math:`V` the entries drawn from a queue, equally many
    of every class, and :math:`f_i` the L2-normalized features, the value is the mean over valid positions i of

    .. math:: \mathrm{KL}\big(\sigma(V f^T_i / \tau) \,\Vert\, \sigma(V f^S_i / \tau)\big)

    for the pixels, plus the same for the regions. In training mode the batch first enters the queues, gathered from all
    processes: the regions of every image, and up to 16 random pixels of each of its classes. They replace the oldest
    entries.

    Args:
        num_classes: Number of classes. Labels from this number up are ignored.
        channels: Number of channels of the teacher's features.
        student_channels: None compares the student's features directly. They must have the teacher's number of
            channels, for example from a Term's adapter. A number adds the paper's projector from that many channels:
            two 1x1 convolutions without bias, with batch normalization and ReLU between them, trained with the student.
            Its normalization includes void positions.
        pixel_size: Number of pixels of each class in the queue.
        region_size: Number of regions of each class in the queue.
        pixel_contrast: Number of pixels to compare with. Of each class, pixel_contrast // num_classes + 1 are drawn, at
            most pixel_size. 0 disables the term.
        region_contrast: The same for regions.
        temperature: Temperature of all softmaxes, > 0.
        generator: Random generator of the initial entries, the pixels that enter and the entries drawn.
        ignore_index: Label of ignored positions.

    Attributes:
        pixel_queue: Shape (num_classes, pixel_size, channels), saved with the state. Starts with random directions.
        region_queue: Shape (num_classes, region_size, channels).
        pixel_next: Index of the next pixel of each class, shape (num_classes,).
        region_next: The same for regions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import CIRKDMemory
        >>> _ = torch.manual_seed(0)
        >>> loss = CIRKDMemory(num_classes=3, channels=4)
        >>> student, teacher, labels = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.randint(3, (2, 8, 8))
        >>> round(loss(student, teacher, labels).item(), 2)
        18.0

    Reference: Yang et al., CVPR 2022, https://arxiv.org/abs/2204.06986. The released code draws a class's pixels from
    the top of the image, regardless of their class, and a full queue starts over from its last entries. Here the pixels
    belong to the class, and the queue is a ring. The released code always has the projector, whose batch norm it
    synchronizes between processes. Here it is synchronized in a run of several GPUs, as all batch norm of
    the terms is. In another loop, each process normalizes with its images.
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
                BatchNorm(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False),
            )
        source = None if generator is None else generator.device
        for name, size in (("pixel", pixel_size), ("region", region_size)):
            directions = torch.randn(num_classes, size, channels, generator=generator, device=source)
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
        """Add a batch of the teacher to the queues.

        Args:
            embeddings: L2-normalized features, shape (N, channels, positions).
            member: Which position is of which class, boolean (N, positions, num_classes).
        """
        images, _, classes = member.shape
        regions = unit(embeddings @ member.to(embeddings.dtype), dim=1).mT  # (N, classes, channels)
        of_class = torch.arange(classes, device=member.device).expand(images, -1)
        _enter(self.region_queue, self.region_next, regions, of_class, member.any(dim=1))

        labels = torch.where(member.any(dim=2), member.long().argmax(dim=2), _NO_CLASS)  # (N, positions)
        positions, ranked = by_class(labels, generator=self.generator, ignore_index=_NO_CLASS)
        first, after = (
            torch.searchsorted(ranked, of_class.contiguous(), right=right)[..., None] for right in (False, True)
        )
        turn = first + torch.arange(_PIXELS_AT_A_TIME, device=member.device)  # (N, classes, pixels)
        index = positions.gather(1, turn.flatten(1).clamp(max=positions.shape[1] - 1))  # (N, classes * pixels)
        pixels = embeddings.gather(2, index[:, None].expand(-1, embeddings.shape[1], -1)).mT
        _enter(self.pixel_queue, self.pixel_next, pixels, of_class[..., None].expand_as(turn), turn < after)

    def draw(self, queue: Tensor, contrast: int) -> Tensor:
        """Draw entries of ``queue``, at the same indices for every class, shape (channels, entries)."""
        indices = random_on(torch.randperm, queue.shape[1], generator=self.generator, device=queue.device)
        indices = indices[: contrast // self.num_classes + 1]
        return queue[:, indices].flatten(0, 1).mT


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
    s_rows, t_rows = (x.mT.flatten(0, 1) / memory.temperature for x in (s, t))  # (N * H * W, channels)
    total = s_rows.new_zeros(len(s_rows), 1)
    for queue, contrast in (
        (memory.pixel_queue, memory.pixel_contrast),
        (memory.region_queue, memory.region_contrast),
    ):
        if contrast > 0:
            columns = memory.draw(queue, contrast).to(s)[:, None]  # (channels, 1, entries)
            total = total + similarity_divergence((s_rows, columns), (t_rows, columns))
    return masked_mean(total[:, 0], member.any(dim=2).flatten())


def _enter(queue: Tensor, following: Tensor, entries: Tensor, classes: Tensor, present: Tensor) -> None:
    """Add the entries (N, M, channels) of all processes to the queues of their classes; see :func:`enqueue`."""
    rows = gathered(entries.flatten(0, 1), classes.flatten(), present.flatten())
    enqueue(queue, following, *rows)
