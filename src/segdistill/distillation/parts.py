"""Parts of one training step, from gradient accumulation or several processes, and their weights.

A part is weighted by the number of pixels or images that each loss averages over in it.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from segdistill.losses._processes import summed
from segdistill.outputs import DistillerOutput


class Part:
    """One part of a step: the teacher's features, without gradients, and the labels.

    It is not a dataclass, because Lightning Fabric copies dataclasses and would cast the teacher's features.

    Attributes:
        teacher: The teacher's features by name.
        labels: The labels in each form that a term asks for.
        share: The weight of the part if all parts count equally; 1 for a step of one part.
        shares: The weight of the part in each term's mean, by the term's name; empty for a step of one part.
    """

    def __init__(self, teacher: Mapping[str, Tensor], labels: Mapping[str | None, Tensor | None]) -> None:
        self.teacher = teacher
        self.labels = labels
        self.share: Tensor | float = 1.0
        self.shares: dict[str, Tensor] = {}

    def share_of(self, term: str) -> Tensor | float:
        """Return the factor to multiply a term's value in this part by."""
        return self.shares.get(term, self.share)

    def of_whole(self, out: DistillerOutput) -> DistillerOutput:
        """Return the part's contribution to the values of the whole step, detached."""
        terms = {name: _without_graph(self.share_of(name) * value) for name, value in out.terms.items()}
        inner = {name: _without_graph(self.share * value) for name, value in out.inner_objectives.items()}
        return out._replace(total=_without_graph(out.total), terms=terms, inner_objectives=inner)


def share_out(parts: Sequence[Part], counts: Sequence[Mapping[str, Tensor]]) -> None:
    """Set the shares of all parts of one step, over all processes.

    The sum over the parts of a process, averaged over the processes as DDP does, is then the value of the whole step.

    Args:
        parts: The parts in this process.
        counts: For each part, the number that every term averages over in it, by the term's name.
    """
    names = list(counts[0])
    counted = torch.stack([torch.stack(list(count.values())) for count in counts])  # (parts, terms)
    counted = torch.cat([counted, torch.ones_like(counted[:, :1])], dim=1)  # the parts themselves count 1 each
    totals = summed(counted.sum(dim=0))
    # A term that averages over nothing in the whole step is zero in every part, so its share does not matter.
    shares = torch.where(totals > 0, counted, counted[:, -1:]) / torch.where(totals > 0, totals, totals[-1])
    for part, row in zip(parts, (shares * _processes()).unbind(), strict=True):
        *shares_of_terms, part.share = row.unbind()
        part.shares = dict(zip(names, shares_of_terms, strict=True))


def whole_step(outs: Sequence[DistillerOutput]) -> DistillerOutput:
    """Return the output of a whole step from the contributions of its parts, over all processes.

    Weights and measured gradients come from the last part.
    """
    last = outs[-1]
    columns = list(
        zip(*([out.total, *out.terms.values(), *out.inner_objectives.values()] for out in outs), strict=True)
    )
    sums = summed(torch.stack([torch.stack(column).sum() for column in columns])) / _processes()
    total, *values = (
        value.requires_grad_(any(x.requires_grad for x in column))
        for value, column in zip(sums.unbind(), columns, strict=True)
    )
    terms = dict(zip(last.terms, values, strict=False))
    inner = dict(zip(last.inner_objectives, values[len(terms) :], strict=True))
    return last._replace(total=total, terms=terms, inner_objectives=inner)


def _without_graph(value: Tensor) -> Tensor:
    """Return the value without its graph. Its ``requires_grad`` tells whether it had one."""
    return value.detach().requires_grad_(value.requires_grad)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
