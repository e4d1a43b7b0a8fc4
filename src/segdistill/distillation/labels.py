"""The labels of a batch: checked, and in each form that a term may ask for."""

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.errors import UserError


def check_labels(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise for a label that is neither a class nor void. On a device this waits for the device.

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


def label_forms(
    labels: Tensor, teacher: Mapping[str, Tensor], forms: Collection[str | None], ignore_index: int
) -> dict[str | None, Tensor | None]:
    """Return the labels in the forms that terms ask for; None and ``"valid"`` are always among them.

    Args:
        labels: Class indices.
        teacher: The teacher's features; its logits decide ``"teacher_correct"``.
        forms: The ``labels`` of all terms.
        ignore_index: The label of void pixels.
    """
    found: dict[str | None, Tensor | None] = {None: None, "valid": labels}
    if "teacher_correct" in forms:
        found["teacher_correct"] = _where_correct(labels, teacher["logits"], ignore_index)
    return found


def _where_correct(labels: Tensor, teacher_logits: Tensor, ignore_index: int) -> Tensor:
    """Return the labels at the logits' resolution, void where the teacher is wrong."""
    if labels.dim() > 1:
        size = teacher_logits.shape[2:]
        labels = F.interpolate(labels[:, None].float(), size, mode="nearest")[:, 0].long()
    return torch.where(teacher_logits.argmax(1) == labels, labels, ignore_index)
