"""Checks of a Distiller's arguments, made before anything is built. Each error is one line with the remedy."""

from collections.abc import Mapping

import torch
from torch import nn

from segdistill.distillation.sharing import shared_tensors
from segdistill.distillation.term import Term
from segdistill.errors import UserError, few


def check_network(network: object, role: str) -> nn.Module:
    """Return ``network`` if it is a module.

    Args:
        network: The argument.
        role: "student", "teacher", or the name of one of several teachers.

    Raises:
        UserError: The argument is anything else, for instance a path.
    """
    if not isinstance(network, nn.Module):
        raise UserError(
            f"the {role} must be an nn.Module, got {_shown(network)}; models.load(FOLDER) reads one from a run's "
            "folder, models.build(NAME, num_classes, weights=FILE) builds one by name"
        )
    return network


def named_terms(terms: object) -> dict[str, Term]:
    """Return ``terms`` as a dict if it maps names to :class:`Term` objects.

    Raises:
        UserError: The argument is anything else, for instance a list, or a value is a loss without a Term.
    """
    if not isinstance(terms, Mapping):
        raise UserError(
            f'terms must be a mapping, as in {{"kd": Term(losses.KD())}}, or the name of a method, as in "kd", got '
            f"{_shown(terms)}"
        )
    for name, term in terms.items():
        if not isinstance(term, Term):
            remedy = f"write Term({type(term).__name__}(...), on=...)" if callable(term) else "write Term(losses.KD())"
            raise UserError(f"term '{name}' must be a Term, got {_shown(term)}; {remedy}")
    return dict(terms)


def check_apart(student: nn.Module, teacher: nn.Module) -> None:
    """Raise if the networks share a parameter or a buffer: freezing the teacher would freeze it in the student.

    Raises:
        UserError: The networks share a tensor; the message names up to three, in both networks.
    """
    if any(module is student for module in teacher.modules()):
        raise UserError("student and teacher are the same module; give a copy as the teacher, copy.deepcopy(student)")
    shared = shared_tensors(student, teacher)
    if shared:
        names = few((f"'{student_name}' is the teacher's '{name}'" for student_name, name in shared), 3)
        raise UserError(
            f"student and teacher share parameters or buffers, which the teacher would freeze: the student's {names}; "
            f"give a copy as the teacher, copy.deepcopy(teacher)"
        )


def check_outputs(logits: torch.Size, role: str, term: str) -> None:
    """Raise if a network has one output and a term reads classes: a softmax over one class is always 1.

    Raises:
        UserError: The logits have one channel; the message tells how to give two classes.
    """
    if logits[1] == 1:
        raise UserError(
            f"term '{term}': the {role} has one output channel, as for a sigmoid, and a softmax over one class is "
            "always 1; give it two classes, background and object: with the object's score z, logits [0, z] are the "
            "same probabilities"
        )


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) < 80 else f"{text[:77]}..."
