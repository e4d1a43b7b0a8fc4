"""CRD, contrastive representation distillation: tell the teacher's embedding of an image from those of other images."""

import torch
from torch import Tensor, nn

from segdistill.losses._checks import Count, Positive, Share, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._ops import (
    call_in_dtype,
    check_channels,
    check_shapes,
    masked_mean,
    mean_of_valid,
    random_on,
    unit,
    valid_at,
)
from segdistill.losses._processes import gathered, summed
from segdistill.losses._rings import enqueue, write

_EPSILON = 1e-7  # in the logarithms, as in the released code


class CRD(nn.Module):
    r"""Noise-contrastive estimation of which of K + 1 embeddings belongs to the same image.

    A linear layer embeds the features, and the embedding is L2-normalized. A map is first averaged over its valid
    positions. With the student's embedding v, the teacher's embedding :math:`u_0` of the same image and K others
    :math:`u_k` from a memory of n entries,

    .. math:: P_k = \frac{\exp(v \cdot u_k / \tau)}{Z}, \qquad
        -\log \frac{P_0}{P_0 + K / n} - \sum_{k=1}^{K} \log \frac{K / n}{P_k + K / n}

    plus the same with the roles exchanged, the teacher's embedding against a memory of the student's. The value is the
    mean over images. Z is n times the mean of the exponentials in the first batch of all processes, and constant from
    then on. The two linear layers learn from the value. The memories receive no gradient.

    A training loop that does not know the index of a sample passes student and teacher only. The memories are then
    queues. The positive is the other network's embedding in this batch. The negatives are drawn from past batches and
    are the same for all images of a batch. In training mode the batch then enters the queues, gathered from all
    processes, and replaces the oldest entries.

    A training loop that knows the indices passes ``indices`` and ``contrast``, as the released code does. The memories
    then hold one entry per sample of the data set. The positive is the sample's entry, from an earlier epoch. The
    negatives are the entries at ``contrast``. In training mode the sample's entry then moves toward its new embedding.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        size: Number of entries of each memory, n: the number of samples, or the length of a queue. Choose a queue
            shorter than the data set, so that no image meets its own embedding from the epoch before.
        negatives: Number of negatives drawn from a queue, K, at most ``size``.
        dim: Number of channels of the embeddings.
        temperature: :math:`\tau` > 0.
        momentum: Weight of the old entry when a sample's entry is updated, 0 to 1.
        generator: Random generator of the initial entries, which are random vectors, and of the negatives.
        ignore_index: Label of ignored positions.

    Attributes:
        student_memory: Embeddings of the student, shape (size, dim), saved with the state.
        teacher_memory: Embeddings of the teacher.
        following: Index of the next entry of a queue.
        partition: Z of the student's and of the teacher's exponentials, shape (2,); 0 before the first batch.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import CRD
        >>> _ = torch.manual_seed(0)
        >>> loss = CRD(student_channels=8, teacher_channels=16, size=64, negatives=32)
        >>> student, teacher = torch.randn(4, 8), torch.randn(4, 16)  # four images
        >>> round(loss(student, teacher).item(), 2)
        11.53

    Reference: Tian et al., ICLR 2020, https://arxiv.org/abs/1910.10699. The value equals that of RepDistiller's code,
    with its 1e-7 in each denominator. The queues are an addition of this package: that code needs the sample's index,
    and draws its 16384 negatives from other classes. The number of negatives hardly changes the size of the value.
    """

    equal_channels = False
    needs_teacher = True
    mean_over = "images"

    student_memory: Tensor
    teacher_memory: Tensor
    following: Tensor
    partition: Tensor

    @checked
    def __init__(
        self,
        *,
        student_channels: Count,
        teacher_channels: Count,
        size: Count = 2048,
        negatives: Count = 2048,
        dim: Count = 128,
        temperature: Positive = 0.07,
        momentum: Share = 0.5,
        generator: torch.Generator | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.negatives = negatives
        self.temperature = temperature
        self.momentum = momentum
        self.generator = generator
        self.ignore_index = ignore_index
        self.student_embedding = nn.Linear(student_channels, dim)
        self.teacher_embedding = nn.Linear(teacher_channels, dim)
        source = None if generator is None else generator.device
        for side in ("student", "teacher"):
            entries = 2 * torch.rand(size, dim, generator=generator, device=source) - 1
            self.register_buffer(f"{side}_memory", entries.cpu() * (3 / dim) ** 0.5)
        self.register_buffer("following", torch.zeros((), dtype=torch.long))
        self.register_buffer("partition", torch.zeros(2))

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor | None = None,
        *,
        indices: Tensor | None = None,
        contrast: Tensor | None = None,
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: Features, shape (N, C, H, W) or (N, C).
            teacher: The same, with the teacher's channels; no gradient reaches it.
            labels: Class indices, shape (N, H', W'), or (N,) for (N, C). Void images are ignored, and void positions
                are excluded from the mean; None uses everything.
            indices: Index of each sample in the data set, shape (N,), below ``size``; None for a queue.
            contrast: Indices of each sample's negatives, shape (N, K); required with ``indices``.

        Raises:
            ValueError: If N, H or W differ, the channels are not those the loss was built for, or only one of
                ``indices`` and ``contrast`` is given.
        """
        if (indices is None) != (contrast is None):
            raise ValueError("indices and contrast must be given together, or neither for a queue of past batches")
        return _crd(student, teacher, labels, indices, contrast, loss=self)

    def draw(self) -> Tensor:
        """Draw the indices of negatives in the queues, shape (K,)."""
        size, device = len(self.student_memory), self.student_memory.device
        return random_on(torch.randperm, size, generator=self.generator, device=device)[: self.negatives]

    @torch.no_grad()
    def partition_of(self, exponentials: Tensor, counts: Tensor) -> Tensor:
        """Return Z for ``exponentials`` (2, N, K + 1) of the images that count. The first batch in training sets it."""
        values = exponentials.masked_fill(~counts[:, None], 0).sum(dim=(1, 2))
        totals = torch.cat([values, (counts.sum() * exponentials.shape[2]).to(values.dtype)[None]])
        if self.training:  # in eval mode, a process may be alone
            totals = summed(totals)
        first = len(self.student_memory) * totals[:2] / totals[2].clamp(min=1)
        partition = torch.where((self.partition > 0).all(), self.partition.to(first.dtype), first)
        if self.training:
            self.partition.copy_(partition)
        return torch.where(partition > 0, partition, 1)  # 0 if no image counts

    @torch.no_grad()
    def remember(self, student: Tensor, teacher: Tensor, counts: Tensor, indices: Tensor | None) -> None:
        """Write the embeddings (N, dim) of the images that count to the memories.

        Args:
            student, teacher: The embeddings.
            counts: Which images count, boolean (N,).
            indices: The places in the memories, shape (N,); None for the end of the queues.
        """
        if indices is None:
            student, teacher, counts = gathered(student, teacher, counts)
            one_class = torch.zeros_like(counts, dtype=torch.long)
            for memory, entries in ((self.student_memory, student), (self.teacher_memory, teacher)):
                following = self.following[None].clone()  # both start at the same place
                enqueue(memory[None], following, entries, one_class, counts)
            self.following.copy_(following[0])
        else:
            student, teacher, counts, indices = gathered(student, teacher, counts, indices)
            for memory, entries in ((self.student_memory, student), (self.teacher_memory, teacher)):
                moved = unit(self.momentum * memory[indices] + (1 - self.momentum) * entries, dim=1)
                write(memory, (indices,), moved, counts)


@loss_function
def _crd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None,
    indices: Tensor | None,
    contrast: Tensor | None,
    *,
    loss: CRD,
) -> Tensor:
    check_shapes(student, teacher, dims=(4, 2), any_channels=True)
    widths = (loss.student_embedding.in_features, loss.teacher_embedding.in_features)
    check_channels(student, teacher, student_channels=widths[0], teacher_channels=widths[1])
    valid = valid_at(labels, student, loss.ignore_index)  # (N, H, W), or (N,)
    counts = valid.reshape(len(valid), -1).any(dim=1)  # (N,)
    s, t = (
        unit(call_in_dtype(embedding, mean_of_valid(x, valid)), dim=1)
        for embedding, x in ((loss.student_embedding, student), (loss.teacher_embedding, teacher))
    )
    # Indexing makes copies, because the memories may change before the backward pass.
    if indices is None or contrast is None:
        positives, others = (s, t), loss.draw()
    else:
        others = contrast
        positives = (loss.student_memory[indices], loss.teacher_memory[indices])
    exponentials = torch.stack(
        [
            _exponentials(s, positives[1].to(s), loss.teacher_memory[others].to(s), loss.temperature),
            _exponentials(t, positives[0].to(t), loss.student_memory[others].to(t), loss.temperature),
        ]
    )
    p = exponentials / loss.partition_of(exponentials, counts)[:, None, None]
    noise = others.shape[-1] / len(loss.student_memory)
    positive = torch.log(p[..., 0] / (p[..., 0] + noise + _EPSILON))
    negative = torch.log(noise / (p[..., 1:] + noise + _EPSILON))
    if loss.training:
        loss.remember(s, t, counts, indices)
    images = positive.sum(dim=0) + negative.sum(dim=(0, 2))
    return -masked_mean(images, counts)


def _exponentials(anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return exp(similarity / temperature), the positive first, shape (M, 1 + K).

    Args:
        anchors: Shape (M, dim).
        positives: Shape (M, dim).
        negatives: Shape (K, dim), or (M, K, dim) for different negatives of each anchor.
        temperature: Divides the similarities.
    """
    positive = (anchors * positives).sum(dim=1, keepdim=True)
    negative = anchors @ negatives.mT if negatives.dim() == 2 else (negatives @ anchors[..., None])[..., 0]
    return torch.exp(torch.cat([positive, negative], dim=1) / temperature)
