"""The defaults of a Term: a loss of this package has those of its card, any other loss the plain ones."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Literal

from torch import nn

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.distillation.features import unwrap

Labels = Literal["valid", "teacher_correct"]


class Default(Enum):
    """The value of an argument that is not given."""

    OF_LOSS = "the loss's default"

    def __repr__(self) -> str:
        """Read well in a signature."""
        return f"<{self.value}>"


@dataclass(frozen=True)
class TermDefaults:
    """The feature, the labels and the weight of a term that gives none; see :class:`segdistill.Term`."""

    on: str | list[str] = "logits"
    labels: Labels | None = None
    weight: float = 1.0


def defaults_of(loss: Callable[..., Any]) -> TermDefaults:
    """Return the defaults of a term with this loss."""
    card = card_of(loss)
    if card is None:
        return TermDefaults()
    return TermDefaults(
        on=card.on if isinstance(card.on, str) else list(card.on),
        labels="valid" if card.labels == "required" else None,
        weight=card.weight,
    )


def card_of(loss: Callable[..., Any]) -> LossCard | None:
    """Return the card of a loss of this package: a function, a module, or a partial or compiled one; else None."""
    inner = loss.func if isinstance(loss, partial) else loss
    inner = unwrap(inner) if isinstance(inner, nn.Module) else getattr(inner, "_torchdynamo_orig_callable", inner)
    for card in LOSS_CARDS:
        if type(inner) is getattr(losses, card.module) or inner is getattr(losses, card.name, None):
            return card
    return None
