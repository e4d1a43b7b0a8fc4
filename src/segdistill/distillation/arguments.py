"""What a Distiller is given, checked before anything is built: each mistake is one line that says what to write."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segdistill.distillation.sharing import shared_tensors
from segdistill.distillation.term import Term
from segdistill.errors import UserError


def check_network(network: object, role: str) -> nn.Module:
    """Return a network; raise unless it is a module.

    Args:
        network: What was given.
        role: "student" or "teacher", or which of several.

    Raises:
        UserError: It is anything else, for instance the path of one.
    """
    if not isinstance(network, nn.Module):
        raise UserError(
            f"the {role} must be an nn.Module, got {_shown(network)}; models.load(FOLDER) reads one from a run's "
            "folder, models.build(NAME, num_classes, weights=FILE) builds one by name"
        )
    return network


def check_terms(terms: object) -> None:
    """Raise unless terms are given by name, each as a :class:`Term`.

    Raises:
        UserError: A list, a loss without its Term, or anything else.
    """
    if not isinstance(terms, Mapping):
        raise UserError(f'terms are given by name, as in {{"kd": Term(losses.KD())}}, got {_shown(terms)}')
    for name, term in terms.items():
        if not isinstance(term, Term):
            remedy = f"write Term({type(term).__name__}(...), on=...)" if callable(term) else "write Term(losses.KD())"
            raise UserError(f"term '{name}' must be a Term, got {_shown(term)}; {remedy}")


def check_apart(student: nn.Module, teacher: nn.Module) -> None:
    """Raise if the networks share a parameter or a buffer: freezing the teacher would freeze it in the student.

    Raises:
        UserError: Names up to three of them, on both sides.
    """
    if any(module is student for module in teacher.modules()):
        raise UserError("student and teacher are the same module; give the teacher as a copy of its own")
    shared = shared_tensors(student, teacher)
    if shared:
        shown = ", ".join(f"'{ours}' is the teacher's '{name}'" for ours, name in shared[:3])
        more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
        raise UserError(
            f"student and teacher share parameters or buffers, which the teacher would freeze: the student's {shown}"
            f"{more}; give the teacher as a copy of its own, copy.deepcopy(teacher)"
        )


def check_outputs(logits: torch.Size, role: str, term: str) -> None:
    """Raise if a network has one output for a term that reads classes: a softmax over one class says nothing.

    Raises:
        UserError: Says how to give two.
    """
    if logits[1] == 1:
        raise UserError(
            f"term '{term}': the {role} has one output channel, as for a sigmoid, and a softmax over one class is "
            "always 1; give it two classes, background and object: with the object's score z, logits [0, z] are the "
            "same probabilities"
        )


def check_labels(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise for a label that is neither a class nor void; on a device this waits for it.

    Raises:
        UserError: Shows the labels found.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise UserError(f"labels are class indices, integers, got a tensor of {labels.dtype}")
    wrong = (labels != ignore_index) & ((labels < 0) | (labels >= num_classes))
    if bool(wrong.any()):
        found = torch.unique(labels[wrong]).tolist()
        shown = ", ".join(map(str, found[:4])) + (", ..." if len(found) > 4 else "")
        raise UserError(
            f"labels hold {shown}, and the student has {num_classes} classes; expected 0..{num_classes - 1}, or "
            f"{ignore_index} (ignore_index) for void"
        )


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) < 80 else f"{text[:77]}..."
