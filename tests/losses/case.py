"""One loss and the shapes to try it on; what the tests of all losses have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS, LossCard


@dataclass
class Case:
    """One loss and the shapes to try it on: 6 channels, stride 2 below the labels."""

    module: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    nonzero_at_equality: str = ""  # why it is not zero for student = teacher
    any_sign: str = ""  # why its value may be negative
    sees_void: str = ""  # why a void half changes the value, although it gets no gradient
    draws: str = ""  # why it draws other random numbers for a part of the map
    images: int = 2  # more for a loss that compares images: one may be void, and the others must say something
    maps: bool = False  # it takes tuples of maps: the tensor, and itself with channels reversed after a ReLU
    three: dict[str, Any] = field(
        default_factory=lambda: {"teacher_channels": 3}
    )  # how to say: a teacher of 3 channels
    device: str = "cpu"
    dtype: torch.dtype = torch.float32  # of inputs that a test gives no other
    backend: str = "eager"  # of torch.compile

    def build(self, **more: Any) -> nn.Module:
        torch.manual_seed(0)  # the same parameters and memory each time
        loss = getattr(losses, self.module)(**self.kwargs | more).to(self.device)
        return OnMaps(loss) if self.maps else loss

    @property
    def card(self) -> LossCard:
        return next(card for card in LOSS_CARDS if card.module == self.module)

    @property
    def facts(self) -> dict[str, int]:
        """The number of classes, where the loss takes it and the row has none, as recipes fill it in."""
        takes = "num_classes" in self.card.hyperparameters and "num_classes" not in self.kwargs
        return {"num_classes": 5} if takes else {}

    @property
    def function(self) -> Callable[..., Tensor]:
        function = getattr(losses, self.card.name)
        return OnMaps(function) if self.maps else function

    def inputs(self, dtype: torch.dtype | None = None, size: int = 8) -> tuple[Tensor, Tensor, Tensor]:
        rng = torch.Generator().manual_seed(0)
        pair = torch.randn(2, self.images, 6, size, size, generator=rng, dtype=torch.float64)
        student, teacher = pair.to(self.device, dtype or self.dtype)
        labels = torch.randint(0, 5, (self.images, 2 * size, 2 * size), generator=rng).to(self.device)
        return student.requires_grad_(), teacher.requires_grad_(), labels


class OnMaps(nn.Module):
    """A loss of tuples of maps, as one of a single tensor."""

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.loss = loss
        self.equal_channels = getattr(loss, "equal_channels", None)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, **kwargs: Any) -> Tensor:
        pairs = [(x, x.flip(1).relu()) for x in (student, teacher)]
        return self.loss(*pairs, labels, **kwargs)


def run(loss: Callable[..., Tensor], *tensors: Tensor | None, **kwargs: Any) -> Tensor:
    """Call with the same random numbers each time."""
    torch.manual_seed(0)
    return loss(*tensors, **kwargs)


def cases() -> list[Case]:
    """Return the rows of every loss, from ``CASES`` in its own test_NAME.py."""
    return [case for card in LOSS_CARDS if card.teacher for case in _cases_of(card.name)]


def name_of(case: Case) -> str:
    """Return what a row is called."""
    return "-".join([case.module, *map(str, case.kwargs.values())])


def _cases_of(name: str) -> list[Case]:
    return list(import_module(f"tests.losses.test_{name}").CASES)
