"""Labels of a batch: a check of their values, and the forms that a term may ask for."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from segdistill.errors import UserError, few
from segdistill.losses._ops import labels_at


def check_labels(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise for a label that is neither a class nor void. On a GPU this synchronizes with the device.

    Raises:
        UserError: The labels are not integers, or some are out of range; the message shows them.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise UserError(f"labels are class indices, integers, got a tensor of {labels.dtype}")
    wrong = (labels != ignore_index) & ((labels < 0) | (labels >= num_classes))
    if bool(wrong.any()):
        values = torch.unique(labels[wrong]).tolist()
        raise UserError(
            f"labels hold {few(values, 4)}, and the student has {num_classes} classes; expected 0..{num_classes - 1}, "
            f"or {ignore_index} (ignore_index) for void"
        )


def label_forms(
    labels: Tensor, teacher: Mapping[str, Tensor], forms: Collection[str | None], ignore_index: int
) -> dict[str | None, Tensor | None]:
    """Return the labels in the forms that terms ask for. The forms None and ``"valid"`` are always included.

    Args:
        labels: Class indices.
        teacher: The teacher's features; ``"teacher_correct"`` reads the logits.
        forms: The argument ``labels`` of all terms.
        ignore_index: The label of void pixels.
    """
    by_form: dict[str | None, Tensor | None] = {None: None, "valid": labels}
    if "teacher_correct" in forms:
        by_form["teacher_correct"] = _where_correct(labels, teacher["logits"], ignore_index)
    return by_form


def _where_correct(labels: Tensor, teacher_logits: Tensor, ignore_index: int) -> Tensor:
    """Return the labels at the logits' resolution, void where the teacher is wrong."""
    labels = labels_at(labels, teacher_logits)
    return torch.where(teacher_logits.argmax(1) == labels, labels, ignore_index)
