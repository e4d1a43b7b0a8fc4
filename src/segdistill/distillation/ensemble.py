"""Several teachers as one network: their class probabilities are averaged, their features keep their names."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.distillation.arguments import check_network
from segdistill.distillation.running import Runner
from segdistill.distillation.taps import classifier_path, probe_for, roles
from segdistill.errors import FOREIGN, UserError
from segdistill.outputs import SegOutput, aligns_corners


class Ensemble(nn.Module):
    """Join several networks with the same classes into one.

    Its logits are :math:`\\log \\frac1M \\sum_m \\mathrm{softmax}(z_m)`, whose softmax is the mean of the members'
    probabilities, plus the mean over members of :math:`\\log \\sum_c \\exp z_{m,c}`, so that the scores keep their
    level and an ensemble of one member has that member's logits. The logits have the first member's resolution; those
    of the others are resized bilinearly. A feature of one member is named ``MEMBER.FEATURE``: ``big.head``,
    ``big.logits``, ``big.backbone.layer4``.

    Args:
        members: The networks by name, or a list. The members of a list are named ``"teacher0"``, ``"teacher1"``, ...

    Raises:
        UserError: No network is given, a member is not a network, or a name has a dot in it.
    """

    runs_members = True  # each member gets images in its dtype

    def __init__(self, members: Mapping[str, nn.Module] | Sequence[nn.Module] | nn.ModuleDict | nn.ModuleList) -> None:
        super().__init__()
        named = (
            dict(members.items())
            if isinstance(members, Mapping | nn.ModuleDict)
            else {f"teacher{i}": member for i, member in enumerate(members)}
        )
        if not named:
            raise UserError("no teacher is given; give at least one, or None to train the student alone")
        for name, member in named.items():
            check_network(member, f"teacher '{name}'")
            if not name or "." in name or hasattr(nn.ModuleDict, name):
                raise UserError(f"a teacher cannot be called '{name}'; give it another name, without a dot")
        self.names = tuple(named)
        self.members = nn.ModuleDict(named)
        self._runners = {name: Runner() for name in named}
        # Each member's logits pass through an identity module, so that they can be tapped like any feature.
        self.scores = nn.ModuleDict({name: nn.Identity() for name in named})
        self.roles = self._member_roles()
        self.align_corners = aligns_corners(self.members[self.names[0]])  # the first gives the resolution

    def _member_roles(self) -> dict[str, str]:
        members: dict[str, str] = {}
        for name, member in self.members.items():
            published = roles(member)
            if "head" not in published:
                with suppress(*FOREIGN):  # a member whose head cannot be found keeps its other features
                    published["head"] = f"{classifier_path(member, probe_for(member))}:input"
            members |= {f"{name}.{role}": f"members.{name}.{tap}" for role, tap in published.items()}
            members[f"{name}.logits"] = f"scores.{name}"
        return members

    def forward(self, images: Tensor) -> SegOutput:
        """Return logits whose softmax is the mean of the members' probabilities."""
        outputs = {name: run(self.members[name], images) for name, run in self._runners.items()}
        scores = {name: self.scores[name](output.logits) for name, output in outputs.items()}
        first = scores[self.names[0]]
        for name, score in scores.items():
            if score.shape[1] != first.shape[1] or score.dim() != first.dim():
                raise UserError(
                    f"several teachers must have the same classes, but '{name}' gives scores {tuple(score.shape)} and "
                    f"'{self.names[0]}' {tuple(first.shape)}"
                )
        resized = [_resized(score, first).float() for score in scores.values()]
        averaged = torch.stack([F.log_softmax(score, 1) for score in resized]).logsumexp(0) - math.log(len(resized))
        # log_softmax removes the level of the scores; add it again for losses that read the scores themselves.
        return SegOutput(averaged + torch.stack([score.logsumexp(1, keepdim=True) for score in resized]).mean(0))


def _resized(score: Tensor, like: Tensor) -> Tensor:
    if score.shape[2:] == like.shape[2:]:
        return score
    return F.interpolate(score, like.shape[2:], mode="bilinear", align_corners=False)
