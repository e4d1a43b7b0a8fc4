"""Norms of each term's gradient with respect to the student, and weights set from them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segdistill.errors import UserError


def gradient_norms(terms: Mapping[str, Tensor], parameters: Iterable[nn.Parameter]) -> dict[str, float]:
    """Return the L2 norm of each unweighted term's gradient with respect to ``parameters``.

    The graph is retained, so ``backward`` can follow. A term without a graph has norm 0. With several processes, the
    norm is the mean over them. Each term costs one backward pass, so call this in a few steps only.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    norms = {}
    for name, value in terms.items():
        norms[name] = 0.0
        if value.requires_grad:
            norms[name] = _norm_in_half(value, trained) if _is_half(value) else _norm(value, trained)
    return _mean_over_processes(norms)


def _norm(value: Tensor, parameters: list[nn.Parameter]) -> float:
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return math.sqrt(torch.stack(squares).sum().item()) if squares else 0.0


def _norm_in_half(value: Tensor, parameters: list[nn.Parameter]) -> float:
    """Measure at the largest scale that does not overflow: in float16, small gradients would underflow to zero."""
    for power in range(24, 0, -4):
        norm = _norm(value.float() * 2.0**power, parameters)
        if math.isfinite(norm):
            return norm / 2.0**power
    return _norm(value, parameters)


def _is_half(value: Tensor) -> bool:
    """Return True under autocast to float16."""
    kind = value.device.type
    return torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16


def _mean_over_processes(norms: dict[str, float]) -> dict[str, float]:
    """Average the norms over the processes, so that all of them set the same weights."""
    if not (dist.is_available() and dist.is_initialized()) or not norms:
        return norms
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    values = torch.tensor(list(norms.values()), dtype=torch.float64, device=device)
    dist.all_reduce(values)
    return dict(zip(norms, (values / dist.get_world_size()).tolist(), strict=True))


class AutoWeight(nn.Module):
    """A weight that makes a term's gradient at the student ``share`` times the gradient of the task.

    It is the mean of ``share * |task gradient| / |term gradient|`` over the first ``STEPS`` steps in which both
    have a gradient, and constant from then on. Buffers hold it, so that a resumed run has the same weight.
    """

    STEPS = 5
    total: Tensor
    count: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._settled: float | None = None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._settled = None  # the buffers have changed

    @classmethod
    def parse(cls, text: str) -> "AutoWeight":
        """Return the weight that a text such as ``"auto:0.2"`` describes.

        Raises:
            UserError: The text is anything else.
        """
        kind, _, share = text.partition(":")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if kind != "auto" or not (value > 0 and math.isfinite(value)):
            raise UserError(f"a weight is a number, a schedule or 'auto:SHARE' as in 'auto:0.2', got '{text}'")
        return cls(value)

    @property
    def settled(self) -> bool:
        """True once the weight no longer changes."""
        return self._settled is not None or int(self.count) >= self.STEPS

    def value(self) -> float:
        """Return the weight; 0 before the first measurement."""
        if self._settled is not None:
            return self._settled
        value = float(self.total / self.count.clamp(min=1))
        if self.settled:
            self._settled = value  # avoids a device synchronization in every later step
        return value

    def measure(self, task: float, term: float) -> None:
        """Add the gradient norms of task and term in one step to the mean."""
        if task > 0 and term > 0 and math.isfinite(term) and math.isfinite(task):
            self.total += self.share * task / term
            self.count += 1
