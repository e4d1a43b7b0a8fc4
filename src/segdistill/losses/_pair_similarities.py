"""Divergences of the similarities between the positions of two images, of each pair of images once and in blocks."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segdistill.losses import _ops


class Pairs(NamedTuple):
    """Pairs of images, an image with itself included, each pair once.

    Attributes:
        listed: The pairs as numbers of the host, the first image not after the second.
        first, second: The same on the device, shape (P,).
    """

    listed: list[tuple[int, int]]
    first: Tensor
    second: Tensor


class _Block(NamedTuple):
    """Rows ``first`` to ``last`` of the similarities of some pairs of images."""

    pairs: slice
    first: int
    last: int


def pairs_within(images: int, group: int, device: torch.device) -> Pairs:
    """Return the pairs of ``images`` images that are in the same group of ``group`` neighbors."""
    # Made on the device: a copy of a list from the host would wait for it.
    places = [
        torch.triu_indices(size, size, device=device) + start
        for start in range(0, images, group)
        for size in [min(group, images - start)]
    ]
    listed = [(i, j) for i in range(images) for j in range(i, images) if i // group == j // group]
    return Pairs(listed, *torch.cat(places, dim=1).unbind())


def pair_divergence(
    student: Tensor, teacher: Tensor, valid: Tensor, weights: Tensor, *, pairs: Pairs, largest: float
) -> Tensor:
    r"""Return the weighted sum over ordered pairs of images and positions of the divergence of their similarities.

    With :math:`S_{ij} = A_i^\top A_j` of the student and :math:`T_{ij}` of the teacher, the value is

    .. math:: \sum_{(i,j)} w_{ij} \sum_r \mathrm{KL}(\sigma(T_{ij})_r \,\Vert\, \sigma(S_{ij})_r)

    over both orders of the given pairs. :math:`S_{ji}` is the transpose of :math:`S_{ij}`, so each similarity and its
    exponential is computed once, and gives a softmax over the rows and one over the columns. They are held in blocks,
    and computed again in the backward pass.

    Args:
        student: :math:`A`, shape (N, d, n).
        teacher: The same, with any d; no gradient reaches it.
        valid: Positions that count, boolean (N, n).
        weights: :math:`w_{ij}`, shape (N, N).
        pairs: The pairs of images.
        largest: An upper bound of the absolute value of all similarities. Exponentials are of the difference to it.
    """
    result: Tensor = _PairDivergence.apply(student, teacher, valid, weights, pairs, largest)
    return result


class _PairDivergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, valid: Tensor, weights: Tensor, pairs: Pairs, largest: float
    ) -> Tensor:
        count, positions = len(pairs.listed), student.shape[2]
        sums = student.new_zeros(2, 3, count, positions)  # of rows and of columns: exp S, exp T, exp T (T - S)
        for block in _blocks(count, positions):
            s, t, exp_s, exp_t = _similarities(student, teacher, valid, pairs, block, largest)
            for entry, values in enumerate((exp_s, exp_t, exp_t * (t - s))):
                sums[0, entry, block.pairs, block.first : block.last] = values.sum(dim=2)
                sums[1, entry, block.pairs] += values.sum(dim=1)
        sum_s, sum_t, expected = sums.unbind(1)
        counts = torch.stack([valid[pairs.first], valid[pairs.second]])  # (2, pairs, n)
        weight = torch.stack([weights[pairs.first, pairs.second], weights[pairs.second, pairs.first]])
        weight[1].masked_fill_(pairs.first == pairs.second, 0)  # an image with itself has one order
        tiny = torch.finfo(sums.dtype).tiny
        sum_s, sum_t = sum_s.clamp(min=tiny), sum_t.clamp(min=tiny)
        divergence = expected / sum_t - sum_t.log() + sum_s.log()  # (2, pairs, n)
        ctx.save_for_backward(student, teacher, valid, weight, counts, sum_s, sum_t)
        ctx.pairs, ctx.largest = pairs, largest
        return (divergence.masked_fill(~counts, 0).sum(dim=2) * weight).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            raise RuntimeError("a divergence of similarities between images has no second derivative")
        student, teacher, valid, weight, counts, sum_s, sum_t = ctx.saved_tensors
        pairs: Pairs = ctx.pairs
        scale = (gradient * weight)[..., None] * counts  # (2, pairs, n)
        by_s, by_t = scale / sum_s, scale / sum_t
        result = torch.zeros_like(student)
        for block in _blocks(len(pairs.listed), student.shape[2]):
            rows, part = slice(block.first, block.last), block.pairs
            _, _, exp_s, exp_t = _similarities(student, teacher, valid, pairs, block, ctx.largest)
            exp_s *= by_s[0, part, rows, None] + by_s[1, part, None]
            exp_t *= by_t[0, part, rows, None] + by_t[1, part, None]
            change = exp_s.sub_(exp_t)  # the gradient at the similarities
            to_rows = student[pairs.second[part]] @ change.mT
            to_columns = student[pairs.first[part]][..., rows] @ change
            for k, (i, j) in enumerate(pairs.listed[part]):
                result[i, :, rows] += to_rows[k]
                result[j] += to_columns[k]
        return result, None, None, None, None, None


def _blocks(pairs: int, positions: int) -> Iterator[_Block]:
    """Cut the similarities of all pairs into blocks: of whole pairs, or of rows of one pair."""
    numbers = _ops.SIMILARITIES_AT_A_TIME // 2  # about six maps of a block are held at once
    at_a_time = max(1, numbers // positions**2)
    rows = positions if at_a_time > 1 else max(1, min(positions, numbers // positions))
    for pair in range(0, pairs, at_a_time):
        for first in range(0, positions, rows):
            yield _Block(slice(pair, min(pair + at_a_time, pairs)), first, min(first + rows, positions))


def _similarities(
    student: Tensor, teacher: Tensor, valid: Tensor, pairs: Pairs, block: _Block, largest: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a block of the similarities of student and teacher, and their exponentials, 0 where a position is void."""
    first, second = pairs.first[block.pairs], pairs.second[block.pairs]
    rows = slice(block.first, block.last)
    s, t = (x[first][..., rows].mT @ x[second] for x in (student, teacher))
    hidden = ~(valid[first][:, rows, None] & valid[second][:, None])
    exp_s, exp_t = ((x - largest).exp_().masked_fill_(hidden, 0) for x in (s, t))
    return s, t, exp_s, exp_t
