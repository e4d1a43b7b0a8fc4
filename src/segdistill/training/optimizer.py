"""Optimizers and learning rate. The rate depends only on the step, so a resumed run needs no scheduler state."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from segdistill.distillation.distiller import Distiller
from segdistill.errors import unknown
from segdistill.outputs import unwrap
from segdistill.recipes.schema import Train

_FACTOR = "rate_factor"


def build_optimizer(
    parameters: Iterable[nn.Parameter], train: Train, factors: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.Optimizer:
    """Return an optimizer with weight decay on every parameter.

    As in the CIRKD protocol, all parameters are in one group, unless ``factors`` makes more.

    Args:
        parameters: Those that need no gradient are left out.
        train: The settings.
        factors: Factors of the learning rate; a parameter without one has 1. Each factor makes one group.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    if factors:
        by_factor: dict[float, list[nn.Parameter]] = {}
        for parameter in trained:
            by_factor.setdefault(factors.get(parameter, 1.0), []).append(parameter)
        groups = [
            {"params": each, "lr": train.learning_rate * factor, _FACTOR: factor} for factor, each in by_factor.items()
        ]
    fused = True if _can_fuse(trained, train) else None
    decay = train.weight_decay
    if train.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=train.learning_rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(groups, lr=train.learning_rate, momentum=train.momentum, weight_decay=decay, fused=fused)


def _can_fuse(parameters: Iterable[nn.Parameter], train: Train) -> bool:
    """Return whether one kernel may update all parameters.

    Fused SGD allocates its momentum without a value. If the loss scale of float16 skips the first step, the second one
    adds the gradient to what the memory happened to hold. AdamW's moments start as zeros.
    """
    is_skipped = train.precision == "16-mixed" and train.optimizer == "sgd" and train.momentum > 0
    return not train.plain and not is_skipped and all(parameter.is_cuda for parameter in parameters)


def build_optimizers(distiller: Distiller, train: Train) -> list[torch.optim.Optimizer]:
    """Return the student's optimizer, followed by those of the losses' own objectives.

    Raises:
        UserError: ``rate_factors`` names a module that the student does not have.
    """
    factors = rate_factors(distiller.student, train.rate_factors)
    return [build_optimizer(distiller.student_parameters(), train, factors), *distiller.inner_optimizers().values()]


def rate_factors(network: nn.Module, by_module: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """Return the factor of the learning rate of each parameter in the named modules.

    Args:
        network: The network that is trained.
        by_module: Factors by the name of a module. A module inside another named one has its own factor.

    Raises:
        UserError: The network has no such module.
    """
    modules = {name: module for name, module in unwrap(network).named_modules() if name}
    factors: dict[nn.Parameter, float] = {}
    for name in sorted(by_module, key=lambda name: name.count(".")):  # inner modules last
        if name not in modules:
            hint = "(train.rate_factors, or teacher.train.rate_factors while the teacher is trained)"
            raise unknown(f"module of {type(unwrap(network)).__name__}", name, modules, hint=hint)
        factors |= dict.fromkeys(modules[name].parameters(), by_module[name])
    return factors


def learning_rate(train: Train, step: int) -> float:
    r"""Return the learning rate of a 0-based step.

    After the linear warm-up it is :math:`floor + (learning\_rate - floor)\,share`. With t = step / iterations,
    ``share`` is :math:`(1 - t)^{power}` (poly), :math:`(1 + \cos \pi t) / 2` (cosine), or :math:`decay^k` (step), where
    k is the number of points in ``decay_at`` that t has reached. A trial may take more steps than a short run; it keeps
    the last rate.
    """
    if step < train.warmup:
        return train.learning_rate * (step + 1) / train.warmup
    t = min(1.0, step / train.iterations)
    if train.schedule == "poly":
        share = (1 - t) ** train.power
    elif train.schedule == "cosine":
        share = (1 + math.cos(math.pi * t)) / 2
    else:
        share = train.decay ** sum(t >= point for point in train.decay_at)
    return float(train.floor + (train.learning_rate - train.floor) * share)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group: ``rate`` times the factor of the group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_FACTOR, 1.0)


def clip_gradients(distiller: Distiller, optimizer: Any, train: Train, scaler: torch.amp.GradScaler | None) -> None:
    """Clip the gradients before a step, as ``clip`` and ``clip_modules`` ask.

    Args:
        distiller: The Distiller, not wrapped.
        optimizer: The student's optimizer, plain or wrapped by Fabric.
        train: The settings.
        scaler: The scaler of float16 gradients, or None. The gradients are divided by its scale first.
    """
    if train.clip is None and train.clip_modules is None:
        return
    if scaler is not None:
        scaler.unscale_(_plain(optimizer))
    if train.clip is not None:
        nn.utils.clip_grad_norm_(distiller.student_parameters(), train.clip)
    if train.clip_modules is not None:
        nn.utils.clip_grad_norm_(distiller.term_parameters(), train.clip_modules)


def step_together(optimizers: Sequence[Any], scaler: torch.amp.GradScaler | None) -> None:
    """Step all optimizers and clear their gradients.

    Args:
        optimizers: Optimizers, plain or wrapped by Fabric.
        scaler: The scaler of float16 gradients, or None. It updates its scale once, after all optimizers. Fabric would
            update it after each, before the next one divides its gradients by the scale.
    """
    for optimizer in optimizers:
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(_plain(optimizer))
    if scaler is not None:
        scaler.update()
    for optimizer in optimizers:
        optimizer.zero_grad()


def _plain(optimizer: Any) -> Any:
    """Return the optimizer that Fabric has wrapped, or a plain one as it is."""
    return getattr(optimizer, "optimizer", optimizer)
