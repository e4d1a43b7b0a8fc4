"""A wired term: a loss between two networks, with its adapters and its weight."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.distillation.defaults import Labels
from segdistill.distillation.feature_names import FeatureNames
from segdistill.distillation.gradients import AutoWeight
from segdistill.errors import UserError
from segdistill.losses._ops import call_in_dtype, valid_at
from segdistill.losses.loss import trait
from segdistill.losses.self_taught import SelfTaught
from segdistill.schedules import Schedule


@dataclass(frozen=True)
class Wire:
    """One connection: a feature of the student, its adapter, and the teacher's feature to compare it with."""

    student: str
    student_shape: torch.Size
    teacher: str
    teacher_shape: torch.Size | None
    adapter: str = "-"

    @property
    def resized(self) -> bool:
        """True if the student's map is resized to the teacher's."""
        return self.teacher_shape is not None and self.student_shape[2:] != self.teacher_shape[2:]


class WiredTerm(nn.Module):
    """The module that computes a :class:`segdistill.Term` between two networks.

    :meth:`segdistill.Term.wire` returns it, and ``distiller.terms`` holds it under the term's name.

    Attributes:
        loss: The loss of the Term.
        labels: The labels that the loss gets; see :class:`segdistill.Term`.
        weight: A number, a schedule, or the module that measures a weight ``"auto:SHARE"``.
        adapters: One module for each feature; None for a loss without a teacher.
        features: The names of the features.
        mean_over: ``"pixels"``, ``"images"`` or ``"batch"``: what the loss averages over; see :meth:`count`.
        resize: Height and width to which the features are resized; None for the teacher's.
        wires: One :class:`Wire` for each feature.
    """

    # An optimizer's state has the parameters in the order of these modules, so checkpoints depend on the order.
    def __init__(
        self,
        loss: Callable[..., Tensor],
        features: FeatureNames,
        *,
        labels: Labels | None,
        weight: float | Schedule | AutoWeight,
        adapters: Sequence[nn.Module] | None,
        mean_over: str,
        wires: Sequence[Wire],
        resize: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight
        self.adapters = None if adapters is None else nn.ModuleList(adapters)
        self.labels = labels
        self.features = features
        self.mean_over = mean_over
        self.wires = tuple(wires)
        self.resize = resize
        self._lacks_aux = adapters is None and features.student == ("logits",) and bool(trait(loss, "takes_aux"))

    @property
    def needs_teacher(self) -> bool:
        """False for a loss of the student and the labels alone, such as the task loss."""
        return self.adapters is not None

    @property
    def self_taught(self) -> SelfTaught | None:
        """The loss, if it has parts that learn from an inner objective; otherwise None."""
        return self.loss if isinstance(self.loss, SelfTaught) else None

    def forward(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the unweighted loss and, in training, the objective of its parts that learn along with the student.

        Args:
            student, teacher: The networks' features by name.
            labels: The labels in the form that :attr:`labels` names.
        """
        students = [student[name] for name in self.features.student]
        if self.adapters is None:
            students = [self._resized(x) for x in students]
            first = (students[0], None) if self._lacks_aux else self._packed(students)
            return self.loss(first, self._packed([None] * len(students)), labels), None
        teachers = [self._resized(teacher[name]) for name in self.features.teacher]
        adapted = [_adapted(adapter, x) for adapter, x in zip(self.adapters, students, strict=True)]
        pairs = [_alike(self._resized(x), y) for x, y in zip(adapted, teachers, strict=True)]
        packed = self._packed([x for x, _ in pairs]), self._packed([y for _, y in pairs])
        value = self.loss(*packed, labels)
        taught = self.self_taught
        if taught is None or taught.first_stage or not self.training:
            return value, None
        return value, taught.inner_objective(*packed, labels)

    def first_stage_objective(self, teacher: Mapping[str, Tensor], labels: Tensor | None) -> Tensor:
        """Return the objective of the parts that learn before the student.

        Args:
            teacher, labels: As for :meth:`forward`.
        """
        taught = self.self_taught
        if taught is None:
            raise TypeError(f"{type(self.loss).__name__} has no parts that learn before the student")
        teachers = [self._resized(teacher[name]) for name in self.features.teacher]
        return taught.inner_objective(None, self._packed(teachers), labels)

    def count(
        self, teacher: Mapping[str, Tensor], labels: Mapping[str | None, Tensor | None], ignore_index: int
    ) -> Tensor:
        """Return the number that the loss averages over in a batch: of valid pixels or of images with one, or 1.

        ``mean_over`` of the loss decides which. A loss with neither a teacher nor labels counts 1.

        Args:
            teacher: The teacher's features; of several maps, the coarsest is used.
            labels: The labels in each form, ``"valid"`` included.
            ignore_index: The label of void pixels.
        """
        given = labels["valid"]
        assert given is not None
        seen = labels[self.labels]
        equal = torch.ones((), dtype=torch.long, device=given.device)
        if self.mean_over == "batch":
            return equal
        if self.needs_teacher:
            coarsest = min((teacher[name] for name in self.features.teacher), key=lambda x: x[0, 0].numel())
            valid = valid_at(seen, self._resized(coarsest[:, :1]), ignore_index)
        elif seen is not None:
            valid = seen != ignore_index
        else:
            return equal
        return (valid if self.mean_over == "pixels" else valid.reshape(len(valid), -1).any(dim=1)).sum()

    def weight_at(self, progress: float) -> float:
        """Return the weight at this progress of the run, from 0 to 1."""
        if isinstance(self.weight, AutoWeight):
            return self.weight.value()
        return float(self.weight(progress) if callable(self.weight) else self.weight)

    def _resized(self, x: Tensor) -> Tensor:
        """Return a feature in the size that the term asks for, if it asks for one."""
        if self.resize is None or tuple(x.shape[2:]) == self.resize:
            return x
        return F.interpolate(x, self.resize, mode="bilinear", align_corners=True)

    def _packed(self, maps: Sequence[Any]) -> Any:
        """Return one feature as it is, several as a tuple."""
        return maps[0] if self.features.is_single else tuple(maps)


def adapter_for(name: str, student: torch.Size, teacher: torch.Size, *, equal_channels: bool) -> nn.Module:
    """Return a module that maps a feature of the student to the teacher's channels, or the identity.

    Args:
        name: The name of the feature in the student.
        student, teacher: The shapes of the feature in each network.
        equal_channels: True if the loss needs the same number of channels in both.

    Raises:
        UserError: The logits have different numbers of classes, or one feature is a map and the other a vector.
    """
    if len(student) != len(teacher):
        raise UserError(f"feature '{name}' is {tuple(student)} in the student and {tuple(teacher)} in the teacher")
    if student[1] == teacher[1] or not equal_channels:
        return nn.Identity()
    if name in ("logits", "aux"):
        raise UserError(
            f"the student has {student[1]} classes and the teacher {teacher[1]}; this loss compares class "
            "scores: give both networks the same classes"
        )
    if len(student) == 2:
        return nn.Linear(student[1], teacher[1], bias=False)
    return nn.Conv2d(student[1], teacher[1], 1, bias=False)


def adapter_name(adapter: nn.Module) -> str:
    """Return a short name for the wiring table; "-" for the identity."""
    if isinstance(adapter, nn.Identity):
        return "-"
    if isinstance(adapter, nn.Conv2d):
        size = "x".join(str(side) for side in adapter.kernel_size)
        return f"conv {size} {adapter.in_channels}→{adapter.out_channels}"
    return type(adapter).__name__


def _adapted(adapter: nn.Module, x: Tensor) -> Tensor:
    """Apply an adapter in the wider dtype of adapter and feature, unless autocast chooses the dtype."""
    weight = next(adapter.parameters(), None)
    autocast_chooses = x.dtype != torch.float64 and torch.is_autocast_enabled(x.device.type)
    if weight is None or weight.dtype == x.dtype or autocast_chooses:
        adapted: Tensor = adapter(x)
    else:
        adapted = call_in_dtype(adapter, x.to(torch.promote_types(weight.dtype, x.dtype)))
    return adapted


def _alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both features in the teacher's size and in the wider of their dtypes."""
    if student.shape[2:] != teacher.shape[2:]:
        student = F.interpolate(student, teacher.shape[2:], mode="bilinear", align_corners=False)
    dtype = torch.promote_types(student.dtype, teacher.dtype)
    return student.to(dtype), teacher.to(dtype)
