"""Checks of a Distiller's terms against its teacher, and the teacher's features that they read."""

from collections.abc import Iterable

from torch import nn

from segdistill.distillation.ensemble import Ensemble
from segdistill.distillation.term import Term
from segdistill.errors import UserError
from segdistill.losses.loss import own_ignore_index


def teacher_names(terms: Iterable[Term]) -> tuple[str, ...]:
    """Return the names of the teacher's features that the terms read, sorted."""
    names: set[str] = set()
    for term in terms:
        names |= set(term.features.teacher if term.needs_teacher else ())
        names |= {"logits"} if term.labels == "teacher_correct" else set()
    return tuple(sorted(names))


def check_term(name: str, term: Term, teacher: nn.Module | None, ignore_index: int) -> None:
    """Raise for a term that does not fit the teacher, has an unusable name, or has another ignore_index.

    Raises:
        UserError: As above; the message names the term.
    """
    if teacher is None and (term.needs_teacher or term.labels == "teacher_correct"):
        raise UserError(f"term '{name}' needs a teacher, and there is none")
    if isinstance(teacher, Ensemble):
        _check_member(name, term, teacher)
    if not name.isidentifier() or hasattr(nn.ModuleDict, name):
        raise UserError(f"a term cannot be called '{name}'; give it another name, of letters and _")
    void = own_ignore_index(term.loss)
    if void not in (None, ignore_index) and term.labels is not None:
        raise UserError(
            f"term '{name}': the loss ignores label {void} and the Distiller {ignore_index}; give both the "
            "same ignore_index"
        )


def _check_member(name: str, term: Term, teachers: Ensemble) -> None:
    """Raise for a feature of none of the teachers: only logits are averaged over several teachers."""
    for feature in term.features.teacher if term.needs_teacher else ():
        if feature != "logits" and feature.partition(".")[0] not in teachers.names:
            raise UserError(
                f"term '{name}': there are several teachers; name one, to compare with its '{feature}': "
                f"teacher={' or '.join(repr(member) for member in teachers.names)}"
            )
