"""The defaults of a Term: those of the loss's card for a loss of this package, the plain ones for any other loss."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Literal

from torch import nn

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.outputs import unwrap

Labels = Literal["valid", "teacher_correct"]


class Default(Enum):
    """The marker of an argument that is not given."""

    OF_LOSS = "the loss's default"

    def __repr__(self) -> str:
        """Return the text that signatures show."""
        return f"<{self.value}>"


@dataclass(frozen=True)
class TermDefaults:
    """The feature, labels and weight of a term that does not give them; see :class:`segdistill.Term`."""

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
    """Return the card of a loss of this package (function or module, also partial or compiled), or None for others."""
    inner = loss.func if isinstance(loss, partial) else loss
    inner = unwrap(inner) if isinstance(inner, nn.Module) else getattr(inner, "_torchdynamo_orig_callable", inner)
    for card in LOSS_CARDS:
        if type(inner) is getattr(losses, card.module) or inner is getattr(losses, card.name, None):
            return card
    return None
