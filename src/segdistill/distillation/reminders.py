"""Warnings for a training loop that leaves out a call, so that the terms are not what they were declared to be."""

import warnings
from collections.abc import Mapping

from segdistill.distillation.gradients import AutoWeight
from segdistill.distillation.wired import WiredTerm


class Reminders:
    """The calls that a training loop has made, and a warning for each that is missing, once.

    A compiled Distiller gives none.

    Attributes:
        knows_progress: Whether the loop has set the progress.
        knows_first_stage: Whether the loop has looked at the first stage.
    """

    def __init__(self) -> None:
        self.knows_progress = self.knows_first_stage = False
        self._has_begun = False

    def look(self, terms: Mapping[str, WiredTerm]) -> None:
        """Look at the terms of a training step, by name.

        The first step without its first stage is warned of, and the second step without a progress.
        """
        if not self.knows_first_stage and (early := [name for name, term in terms.items() if _lacks_stage(term)]):
            self.knows_first_stage = True
            _warn(
                f"the loss of term '{early[0]}' has a model that learns before the student, and it has not learned; "
                "train distiller.first_stage, or call distiller.first_stage.finish() if it was trained before"
            )
        if self._has_begun and not self.knows_progress:
            self.knows_progress = True
            if scheduled := [name for name, term in terms.items() if _is_scheduled(term)]:
                _warn(
                    f"the weight of term '{scheduled[0]}' is a schedule, and stays at its first value; set "
                    "distiller.progress (0 to 1) before each step; if DDP wraps the Distiller, ddp.module.progress"
                )
        self._has_begun = True

    def warn_of_value(self, name: str) -> None:
        """Warn in the first step that the value of a term has no gradient."""
        _warn(
            f"the loss of term '{name}' has no gradient in the first step; if that is so in every step, its operations "
            "have no derivative, as argmax has none, and the student learns nothing from it"
        )


def _lacks_stage(term: WiredTerm) -> bool:
    taught = term.self_taught
    return taught is not None and taught.first_stage > 0 and any(p.requires_grad for p in taught.inner_parameters())


def _is_scheduled(term: WiredTerm) -> bool:
    return callable(term.weight) and not isinstance(term.weight, AutoWeight)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=6)
