"""Operations that several losses share: shape checks, void positions, means, similarities."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def at_least_float32(x: Tensor) -> Tensor:
    """Cast a half-precision tensor to float32; return any other unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def random_on(
    function: Callable[..., Tensor], *arguments: Any, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Return ``function(*arguments)`` on ``device``, drawn on the device of the generator if there is one."""
    if generator is None:  # the compiler takes no generator with shapes that it does not know
        return function(*arguments, device=device)
    return function(*arguments, generator=generator, device=generator.device).to(device)


def call_in_dtype(module: nn.Module, x: Tensor, *more: Tensor | None, learns: bool = True) -> Any:
    """Return ``module(x, *more)``, computed in the dtype of ``x`` instead of that of the module's parameters.

    If ``learns`` is False, its parameters receive no gradient and its buffers do not change.
    """
    if not learns:
        copies = chain(
            ((name, parameter.detach()) for name, parameter in module.named_parameters()),
            ((name, buffer.clone()) for name, buffer in module.named_buffers()),
        )
        frozen = {name: v.to(x.dtype) if v.is_floating_point() else v for name, v in copies}
        return torch.func.functional_call(module, frozen, (x, *more))
    state = chain(module.named_parameters(), module.named_buffers())
    other = {name: v.to(x.dtype) for name, v in state if v.is_floating_point() and v.dtype != x.dtype}
    if not other:
        return module(x, *more)
    result = torch.func.functional_call(module, other, (x, *more))
    for name, buffer in module.named_buffers():
        if name in other:  # running statistics, which the call has updated
            buffer.copy_(other[name])
    return result


def check_shapes(student: Tensor, teacher: Tensor, *, dims: tuple[int, ...] = (4,), any_channels: bool = False) -> None:
    """Raise a ValueError unless both tensors have the same shape, so that nothing is broadcast silently.

    Args:
        student: Tensor to compare.
        teacher: Tensor to compare.
        dims: Allowed numbers of dimensions: 4 for (N, C, H, W), 2 for (N, C).
        any_channels: Allow different C.
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
    """Raise a ValueError unless the channels of both, (N, C, H, W) or (N, C), are those the loss was built for."""
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
    """Raise a ValueError unless both are tuples of maps (N, C, H, W) with these channels, in pairs of equal N, H, W."""
    for side, maps, channels in (("student", student, student_channels), ("teacher", teacher, teacher_channels)):
        if not isinstance(maps, tuple) or len(maps) != len(channels):
            got = f"a tuple of {len(maps)}" if isinstance(maps, tuple) else f"a {type(maps).__name__}"
            raise ValueError(
                f"{side} must be a tuple of {len(channels)} maps, one for each of {side}_channels, got {got}; "
                f"give the Term a list of {len(channels)} features"
            )
    for s, t, s_channels, t_channels in zip(student, teacher, student_channels, teacher_channels, strict=True):
        check_shapes(s, t, any_channels=True)
        check_channels(s, t, student_channels=s_channels, teacher_channels=t_channels)


def labels_at(labels: Tensor | None, like: Tensor) -> Tensor:
    """Return labels (N, H', W') at the resolution of ``like`` (N, C, H, W), or labels (N,) unchanged for (N, C).

    The resizing is nearest neighbor as in ``F.interpolate(mode="nearest")``, with source index floor(i * H' / H). The
    published losses use it, and their numbers depend on it. Labels (N,) of image classification apply to every position
    of their image's map.

    Raises:
        ValueError: If labels are missing, or have another batch size or number of dimensions.
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
        rows, columns = (
            _nearest(*sizes, labels.device) for sizes in zip(labels.shape[1:], like.shape[2:], strict=True)
        )
        labels = labels[:, rows[:, None], columns]  # reads only the labels that are kept
    return labels.long()


def _nearest(size: int, wanted: int, device: torch.device) -> Tensor:
    """Return the index that F.interpolate(mode="nearest") takes at each of the ``wanted`` places."""
    places = torch.arange(size, device=device, dtype=torch.float32)
    return F.interpolate(places[None, None], wanted, mode="nearest")[0, 0].long()


def valid_at(labels: Tensor | None, like: Tensor, ignore_index: int) -> Tensor:
    """Return where the label is not ``ignore_index``, boolean (N, H, W) or (N,); True everywhere without labels."""
    if labels is None:
        return torch.ones_like(like[:, 0], dtype=torch.bool)
    return labels_at(labels, like) != ignore_index


def class_members(labels: Tensor | None, like: Tensor, *, num_classes: int | None, ignore_index: int) -> Tensor:
    """Return which position of ``like`` (N, C, H, W) is of which class, boolean (N, H * W, classes).

    The classes are 0 to ``num_classes`` - 1, or with None those present, in ascending order. A product with this tensor
    sums over the positions of each class in a fixed order, which index_add does not.

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
    """Return the mean of ``values`` where ``mask`` is True, or a zero with a graph if it is False everywhere."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def hide_void(maps: Tensor, valid: Tensor) -> Tensor:
    """Fill ``maps`` (N, C, H, W) outside ``valid`` (N, H, W) with a value so low that softmax and maximum ignore it."""
    # Finite, since 0 * inf is NaN, and half of the minimum, so that rounding does not reach -inf.
    return maps.masked_fill(~valid[:, None], torch.finfo(maps.dtype).min / 2)


def zero_void(maps: Tensor, valid: Tensor) -> Tensor:
    """Set ``maps`` (N, C, ...) to zero outside ``valid`` (N, ...), so that sums over positions ignore it."""
    return maps.masked_fill(~valid[:, None], 0)


def mean_of_valid(maps: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over the valid positions of every image, shape (N, C), zero without any. Maps may be (N, C)."""
    maps = zero_void(maps, valid)
    if maps.dim() == 2:
        return maps
    return maps.sum(dim=(2, 3)) / valid.sum(dim=(1, 2)).clamp(min=1)[:, None]


def pool_valid(maps: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average the valid positions of every cell. Return the cells (N, C, h, w) and whether they have any (N, h, w)."""
    maps = zero_void(maps, valid)
    if maps.shape[2:] == size:
        return maps, valid
    share = F.adaptive_avg_pool2d(valid[:, None].to(maps.dtype), size)
    return F.adaptive_avg_pool2d(maps, size) / share.masked_fill(share == 0, 1), share[:, 0] > 0


def unit(vectors: Tensor, dim: int, *, smallest: float | Tensor = 1e-12) -> Tensor:
    """L2-normalize along ``dim``. A vector shorter than ``smallest`` becomes zero and receives no gradient."""
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    # F.normalize divides a zero vector by 1e-12, which multiplies its gradient by 1e12.
    return vectors / norm.masked_fill(norm < smallest, torch.inf)


def unit_deviation(centered: Tensor, values: Tensor, dim: int) -> Tensor:
    """L2-normalize the deviations ``centered`` of ``values`` from their mean along ``dim``.

    Equal values have no deviation: the result is zero there and receives no gradient, although rounding of their mean
    leaves a difference.
    """
    rounding = 4 * torch.finfo(values.dtype).eps * torch.linalg.vector_norm(values.detach(), dim=dim, keepdim=True)
    return unit(centered, dim, smallest=rounding.clamp(min=1e-12))


def standardize_logits(logits: Tensor) -> Tensor:
    """Return the z-scores of ``logits`` over the classes, dim 1: mean 0, standard deviation (with C - 1) 1.

    Where all classes have the same logit, the z-scores are zero and receive no gradient.
    """
    centered = logits - logits.mean(dim=1, keepdim=True)
    return unit_deviation(centered, logits, dim=1) * math.sqrt(logits.shape[1] - 1)


def standardize_channels(maps: Tensor, valid: Tensor) -> Tensor:
    """Return the z-scores of ``maps`` (N, C, H, W) over the valid positions of an image: mean 0, mean square 1.

    A channel with the same value everywhere has z-scores of zero, which receive no gradient, as void positions have.
    """
    centered = zero_void(maps - mean_of_valid(maps, valid)[:, :, None, None], valid).flatten(2)
    count = valid.flatten(1).sum(dim=1).to(maps.dtype)
    scores = unit_deviation(centered, zero_void(maps, valid).flatten(2), dim=2) * count.sqrt()[:, None, None]
    return scores.view_as(maps)


def kl_divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) in nats, summed over ``dim``."""
    log_p, log_q = F.log_softmax(student, dim), F.log_softmax(teacher, dim)
    return F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim)


def gram_distance(s: Tensor, t: Tensor) -> Tensor:
    """Return each image's squared Frobenius norm of s^T s - t^T t, for ``s`` (N, d, n) and ``t`` (N, d', n)."""
    if s.shape[2] <= s.shape[1] + t.shape[1]:
        return (s.mT @ s - t.mT @ t).square().sum(dim=(1, 2))
    # With many columns, d x d products give the same number, |s s^T|^2 + |t t^T|^2 - 2 |s t^T|^2, without an (n, n)
    # map. Rounding may make a zero negative.
    ss, tt, st = ((a @ b.mT).square().sum(dim=(1, 2)) for a, b in ((s, s), (t, t), (s, t)))
    return (ss + tt - 2 * st).clamp(min=0)


# Number of similarities that similarity_divergence holds at a time for the student, and again for the teacher: 32 MB in
# float32. The backward pass holds about eight such blocks.
SIMILARITIES_AT_A_TIME = 2**23


def similarity_divergence(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], *, hidden: Tensor | None = None
) -> Tensor:
    """Return the KL divergence of the softmaxes over each row's similarities to the columns of each group, in nats.

    The similarities (rows, groups, n) are never all in memory: rows are processed in blocks, which are computed again
    in the backward pass.

    Args:
        student: Rows (rows, d) and columns (d, groups, n).
        teacher: The same, with any d.
        hidden: Boolean (groups, n): columns to exclude from the softmax.

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
