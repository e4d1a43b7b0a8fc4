"""Operations that several losses share: checks of shapes, void positions, means, similarities."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def at_least_float32(x: Tensor) -> Tensor:
    """Cast a half-precision tensor to float32; return any other as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def call_in_dtype(module: nn.Module, x: Tensor, *more: Tensor | None, learns: bool = True) -> Any:
    """``module(x, *more)``, computed in the dtype of ``x`` whatever that of the module's parameters is.

    Unless it ``learns``, its parameters get no gradient and its buffers stay as they are.
    """
    if not learns:
        kept = chain(
            ((name, parameter.detach()) for name, parameter in module.named_parameters()),
            ((name, buffer.clone()) for name, buffer in module.named_buffers()),
        )
        frozen = {name: v.to(x.dtype) if v.is_floating_point() else v for name, v in kept}
        return torch.func.functional_call(module, frozen, (x, *more))
    state = chain(module.named_parameters(), module.named_buffers())
    other = {name: v.to(x.dtype) for name, v in state if v.is_floating_point() and v.dtype != x.dtype}
    if not other:
        return module(x, *more)
    result = torch.func.functional_call(module, other, (x, *more))
    for name, buffer in module.named_buffers():
        if name in other:  # running statistics, which the call has renewed
            buffer.copy_(other[name])
    return result


def check_shapes(student: Tensor, teacher: Tensor, *, dims: tuple[int, ...] = (4,), any_channels: bool = False) -> None:
    """Raise unless both tensors have exactly the same shape: never a silent broadcast.

    Args:
        student: Tensor to compare.
        teacher: Tensor to compare.
        dims: Numbers of dimensions allowed: 4 is (N, C, H, W), 2 is (N, C).
        any_channels: Let C differ.
    """
    got = f"got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
    if student.dim() not in dims:
        expected = " or ".join({2: "(N, C)", 4: "(N, C, H, W)"}[dim] for dim in dims)
        reason = ": this loss compares positions, and (N, C) has none" if student.dim() == 2 else ""
        raise ValueError(f"student and teacher must be {expected}, {got}{reason}")
    if any_channels:
        if student[:, :1].shape != teacher[:, :1].shape:
            raise ValueError(f"student and teacher must have the same N, H and W, {got}; resize one of them")
    elif student.shape != teacher.shape:
        raise ValueError(f"student and teacher must have the same shape, {got}; resize, or give the Term an adapter")


def check_channels(student: Tensor, teacher: Tensor, *, student_channels: int, teacher_channels: int) -> None:
    """Raise unless (N, C, H, W) or (N, C) have the channels that the loss was told when it was built."""
    if (student.shape[1], teacher.shape[1]) != (student_channels, teacher_channels):
        raise ValueError(
            f"this loss was built for student_channels={student_channels} and teacher_channels={teacher_channels}, "
            f"got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
        )


def check_maps(
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
    *,
    student_channels: Sequence[int],
    teacher_channels: Sequence[int],
) -> None:
    """Raise unless both are tuples of maps (N, C, H, W) of these channels, and the pairs have the same N, H and W."""
    for side, maps, channels in (("student", student, student_channels), ("teacher", teacher, teacher_channels)):
        if not isinstance(maps, tuple) or len(maps) != len(channels):
            got = f"a tuple of {len(maps)}" if isinstance(maps, tuple) else f"a {type(maps).__name__}"
            raise ValueError(
                f"{side} must be a tuple of {len(channels)} maps, one for each of {side}_channels, got {got}; "
                "give the Term a list of as many features"
            )
    for s, t, ours, theirs in zip(student, teacher, student_channels, teacher_channels, strict=True):
        check_shapes(s, t, any_channels=True)
        check_channels(s, t, student_channels=ours, teacher_channels=theirs)


def labels_at(labels: Tensor | None, like: Tensor) -> Tensor:
    """Labels (N, H', W') at the resolution of ``like`` (N, C, H, W); labels (N,) as they are for (N, C).

    Nearest neighbour as in ``F.interpolate(mode="nearest")``, source index floor(i * H' / H): the choice of
    the published losses, on which their numbers depend. Of a map with labels (N,), those of image classification, every
    position has its image's.

    Raises:
        ValueError: Without labels, or for labels of another batch size or number of dimensions.
    """
    if labels is None:
        raise ValueError('this loss needs labels, got None; give its Term labels="valid"')
    if labels.dim() not in (1, like.dim() - 1) or labels.shape[0] != like.shape[0]:
        expected = "(N, H, W) or (N,)" if like.dim() == 4 else "(N,)"
        raise ValueError(
            f"labels must be class indices {expected} with the N of the student, "
            f"got labels {tuple(labels.shape)} and student {tuple(like.shape)}"
        )
    if labels.dim() == 1 and like.dim() == 4:
        labels = labels[:, None, None].expand(-1, *like.shape[2:])
    if labels.shape[1:] != like.shape[2:]:
        labels = F.interpolate(labels[:, None].float(), like.shape[2:], mode="nearest")[:, 0]
    return labels.long()


def valid_at(labels: Tensor | None, like: Tensor, ignore_index: int) -> Tensor:
    """Boolean (N, H, W), or (N,): where the label is not ``ignore_index``; everywhere without labels."""
    if labels is None:
        return torch.ones_like(like[:, 0], dtype=torch.bool)
    return labels_at(labels, like) != ignore_index


def class_members(labels: Tensor | None, like: Tensor, *, num_classes: int | None, ignore_index: int) -> Tensor:
    """Boolean (N, H * W, classes): which position of ``like`` (N, C, H, W) is of which class.

    The classes are 0 to ``num_classes`` - 1, or with None those present, ascending. A product with these instead of
    index_add gives the sums over the classes in an order that never changes.

    Raises:
        ValueError: As :func:`labels_at`.
    """
    labels = labels_at(labels, like).flatten(1)
    valid = labels != ignore_index
    if num_classes is None:
        classes: Tensor = torch.unique(labels[valid])
    else:
        classes = torch.arange(num_classes, device=labels.device)
    return (labels[..., None] == classes) & valid[..., None]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the ``values`` where ``mask`` holds; a zero that still carries a graph where it never does."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def hide_void(maps: Tensor, valid: Tensor) -> Tensor:
    """Fill ``maps`` (N, C, H, W) outside ``valid`` (N, H, W) so low that softmax and maximum pass it over."""
    # Finite, and half of the minimum so that no rounding reaches -inf: 0 * inf would be NaN.
    return maps.masked_fill(~valid[:, None], torch.finfo(maps.dtype).min / 2)


def zero_void(maps: Tensor, valid: Tensor) -> Tensor:
    """Set ``maps`` (N, C, H, W) to zero outside ``valid`` (N, H, W), so that sums over positions pass it over."""
    return maps.masked_fill(~valid[:, None], 0)


def valid_rows(maps: Tensor, valid: Tensor) -> Tensor:
    """The vectors of ``maps`` (N, C, H, W) where ``valid`` (N, H, W), shape (positions, C); (N, C) has N of them."""
    return maps.movedim(1, -1)[valid]


def mean_of_valid(maps: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid positions of every image, shape (N, C), zero where there are none; (N, C) is its own."""
    maps = zero_void(maps, valid)
    if maps.dim() == 2:
        return maps
    return maps.sum(dim=(2, 3)) / valid.sum(dim=(1, 2)).clamp(min=1)[:, None]


def pool_valid(maps: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average the valid positions of every cell; return the cells (N, C, h, w) and which have any (N, h, w)."""
    maps = zero_void(maps, valid)
    if maps.shape[2:] == size:
        return maps, valid
    share = F.adaptive_avg_pool2d(valid[:, None].to(maps.dtype), size)
    return F.adaptive_avg_pool2d(maps, size) / share.masked_fill(share == 0, 1), share[:, 0] > 0


def unit(vectors: Tensor, dim: int, *, smallest: float = 1e-12) -> Tensor:
    """L2-normalise along ``dim``; a vector shorter than ``smallest`` becomes zero and gets no gradient."""
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    # F.normalize divides a zero vector by 1e-12 and so multiplies its gradient by 1e12.
    return vectors / norm.masked_fill(norm < smallest, torch.inf)


def kl_divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) along ``dim``, in nats; ``dim`` is summed away."""
    log_p, log_q = F.log_softmax(student, dim), F.log_softmax(teacher, dim)
    return F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim)


def gram_distance(s: Tensor, t: Tensor) -> Tensor:
    """Per image, the squared Frobenius norm of s^T s - t^T t for ``s`` (N, d, n) and ``t`` (N, d', n)."""
    if s.shape[2] <= s.shape[1] + t.shape[1]:
        return (s.mT @ s - t.mT @ t).square().sum(dim=(1, 2))
    # Many columns: the same number from d x d products, |s s^T|^2 + |t t^T|^2 - 2 |s t^T|^2, so that no (n, n)
    # map is ever held. Rounding may leave a negative zero.
    ss, tt, st = ((a @ b.mT).square().sum(dim=(1, 2)) for a, b in ((s, s), (t, t), (s, t)))
    return (ss + tt - 2 * st).clamp(min=0)


# Similarities held at a time by similarity_divergence, for each of student and teacher: 32 MB in float32. The backward
# pass holds about eight such blocks.
SIMILARITIES_AT_A_TIME = 2**23


def similarity_divergence(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], *, hidden: Tensor | None = None
) -> Tensor:
    """Divergence of the softmaxes over each row's similarities to the columns of each group, in nats.

    The similarities (rows, groups, n) are never all held: rows go through in blocks, computed again in the backward
    pass.

    Args:
        student: Rows (rows, d) and columns (d, groups, n).
        teacher: The same of another width.
        hidden: Boolean (groups, n): columns that are left out of the softmax.

    Returns:
        KL(teacher || student), shape (rows, groups).
    """

    def block(student_rows: Tensor, teacher_rows: Tensor) -> Tensor:
        s, t = (
            (rows @ columns.flatten(1)).view(-1, *columns.shape[1:])
            for rows, columns in ((student_rows, student[1]), (teacher_rows, teacher[1]))
        )
        if hidden is not None:
            s, t = (x.masked_fill(hidden, torch.finfo(x.dtype).min / 2) for x in (s, t))
        return kl_divergence(s, t, dim=2)

    size = max(1, SIMILARITIES_AT_A_TIME // student[1][0].numel())
    if len(student[0]) <= size:
        return block(student[0], teacher[0])
    blocks = zip(torch.split(student[0], size), torch.split(teacher[0], size), strict=True)
    return torch.cat([checkpoint(block, s, t, use_reentrant=False, preserve_rng_state=False) for s, t in blocks])
