"""Parts of one step, over accumulation and processes: each weighs what the means of the losses count in it."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from segdistill.losses._processes import summed
from segdistill.outputs import DistillerOutput


class Part:
    """What the teacher and the labels say of one part of a step, without gradients.

    Not a dataclass: Lightning Fabric would copy one and cast the teacher's features.

    Attributes:
        teacher: The teacher's features by name.
        labels: The labels in each of the forms that a term may ask for.
        share: How much of the step the part is, where parts count alike; 1 for a step of one part.
        shares: How much of each term's mean it is, by the term's name; empty for a step of one part.
    """

    def __init__(self, teacher: Mapping[str, Tensor], labels: Mapping[str | None, Tensor | None]) -> None:
        self.teacher = teacher
        self.labels = labels
        self.share: Tensor | float = 1.0
        self.shares: dict[str, Tensor] = {}

    def share_of(self, term: str) -> Tensor | float:
        """Return the factor of a term's value in this part."""
        return self.shares.get(term, self.share)

    def of_whole(self, out: DistillerOutput) -> DistillerOutput:
        """Return what this part adds to the values of the whole step, without their graphs."""
        terms = {name: _without_graph(self.share_of(name) * value) for name, value in out.terms.items()}
        own = {name: _without_graph(self.share * value) for name, value in out.own.items()}
        return out._replace(total=_without_graph(out.total), terms=terms, own=own)


def share_out(parts: Sequence[Part], counts: Sequence[Mapping[str, Tensor]]) -> None:
    """Set the shares of all parts of one step: those here, and those of other processes where there are several.

    The mean over the processes, as DDP takes it, of the sum over the parts is then the value of the whole step.

    Args:
        parts: The parts in this process.
        counts: For each of them, what every term's mean counts in it, by the term's name.
    """
    names = list(counts[0])
    counted = torch.stack([torch.stack(list(count.values())) for count in counts])  # (parts, terms)
    counted = torch.cat([counted, torch.ones_like(counted[:, :1])], dim=1)  # the parts themselves count 1 each
    totals = summed(counted.sum(dim=0))
    # A term that finds nothing in the whole step is zero in every part, whatever its share.
    shares = torch.where(totals > 0, counted, counted[:, -1:]) / torch.where(totals > 0, totals, totals[-1])
    for part, row in zip(parts, (shares * _processes()).unbind(), strict=True):
        *of_terms, part.share = row.unbind()
        part.shares = dict(zip(names, of_terms, strict=True))


def whole_step(outs: Sequence[DistillerOutput]) -> DistillerOutput:
    """Return the output of a whole step from what its parts add to it, those of other processes included.

    Weights and measured gradients are those of the last part.
    """
    last = outs[-1]
    columns = list(zip(*([out.total, *out.terms.values(), *out.own.values()] for out in outs), strict=True))
    sums = summed(torch.stack([torch.stack(column).sum() for column in columns])) / _processes()
    total, *values = (
        value.requires_grad_(any(x.requires_grad for x in column))
        for value, column in zip(sums.unbind(), columns, strict=True)
    )
    terms = dict(zip(last.terms, values, strict=False))
    own = dict(zip(last.own, values[len(terms) :], strict=True))
    return last._replace(total=total, terms=terms, own=own)


def _without_graph(value: Tensor) -> Tensor:
    """Keep of the graph only whether there is one."""
    return value.detach().requires_grad_(value.requires_grad)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
