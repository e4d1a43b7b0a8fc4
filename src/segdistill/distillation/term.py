"""A Term: which loss compares which features, with what weight, on which labels, through which adapter."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.catalogue.cards import BY_NAME, LOSS_CARDS, LossCard, MeanOver
from segdistill.distillation.gradients import AutoWeight
from segdistill.errors import UserError
from segdistill.losses._ops import call_in_dtype, valid_at
from segdistill.losses.self_taught import SelfTaught
from segdistill.schedules import Schedule

Feature = str | tuple[str, str]
Labels = Literal["valid", "teacher_correct"]


@dataclass(frozen=True)
class FeatureNames:
    """What ``on`` of a :class:`Term` says, taken apart.

    Attributes:
        student, teacher: The features' names in either network, in order.
        is_single: One feature, which the loss takes as a tensor, instead of a list of them, taken as a tuple.
    """

    student: tuple[str, ...]
    teacher: tuple[str, ...]
    is_single: bool

    @classmethod
    def of(cls, on: Feature | Sequence[Feature], teacher: str | None = None) -> "FeatureNames":
        """Read ``on``, with the name of one of several teachers."""
        is_single = isinstance(on, str | tuple)
        features: Sequence[Feature] = [on] if isinstance(on, str | tuple) else list(on)
        member = "" if teacher is None else f"{teacher}."
        pairs = [(f, f) if isinstance(f, str) else f for f in features]
        return cls(tuple(ours for ours, _ in pairs), tuple(member + theirs for _, theirs in pairs), is_single)


class Term(nn.Module):
    """One line of the objective.

    Args:
        loss: A function or module ``(student, teacher, labels) -> scalar``; see :mod:`segdistill.losses`.
        on: The feature it compares: a name, a pair (name in the student, name in the teacher), or a list of
            these for a loss that takes tuples of maps.
        labels: ``"valid"`` gives the loss the labels; ``"teacher_correct"`` gives them with every pixel that
            the teacher (several teachers: all together) gets wrong made void; None gives it none.
        weight: A number, a schedule (:mod:`segdistill.schedules`), or ``"auto:0.2"``: set once, from the first
            steps, so that the term's gradient at the student is 0.2 times the task's.
        adapter: A module for the student's feature, instead of the 1x1 convolution that is added where the
            channels differ and the loss needs them equal. For a list of features, a list of as many.
        teacher: The name of one of several teachers, whose features these are; by default the logits are those of
            all teachers together, their class probabilities averaged.

    Raises:
        UserError: For a loss, features, labels, a weight or an adapter of another form.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        *,
        on: Feature | Sequence[Feature] = "logits",
        labels: Labels | None = None,
        weight: float | Schedule | str = 1.0,
        adapter: nn.Module | Sequence[nn.Module] | None = None,
        teacher: str | None = None,
    ) -> None:
        super().__init__()
        if labels not in (None, "valid", "teacher_correct"):
            raise UserError(f"labels is 'valid', 'teacher_correct' or None, got {labels!r}")
        if isinstance(loss, type) or not callable(loss):
            got = f"the class {loss.__name__}; call it: {loss.__name__}(...)" if isinstance(loss, type) else repr(loss)
            raise UserError(f"a Term takes a loss, as in Term(losses.KD()), got {got}")
        self.loss = loss
        self.labels = labels
        self.mean_over: MeanOver = _trait(loss, "mean_over")
        if self.mean_over not in get_args(MeanOver):
            raise UserError(f"the loss's mean_over is one of {get_args(MeanOver)}, got {self.mean_over!r}")
        _check_words(on, weight, adapter)
        names = FeatureNames.of(on, teacher)
        self.student_names, self.teacher_names, self.is_single = names.student, names.teacher, names.is_single
        self.weight = AutoWeight.parse(weight) if isinstance(weight, str) else weight
        given = [adapter] if isinstance(adapter, nn.Module) else adapter
        self.adapters = None if given is None else nn.ModuleList(given)
        if not names.student:
            raise UserError("on names no feature; give one, as in on='logits'")
        if self.adapters is not None and len(self.adapters) != len(names.student):
            raise UserError(f"{len(names.student)} features need as many adapters, got {len(self.adapters)}")
        self._is_wired = self._is_task = False

    @property
    def needs_teacher(self) -> bool:
        """False for a loss that looks at the student and the labels alone, as the task loss."""
        return not self._is_task and bool(_trait(self.loss, "needs_teacher"))

    def be_task(self) -> None:
        """Be the student's own objective: any loss, which is given labels, and None in the teacher's place.

        Raises:
            UserError: One of this package's losses that compare with a teacher.
        """
        if _is_ours(self.loss) and self.needs_teacher:
            raise UserError("the task is the student's own and this loss needs a teacher; give its term another name")
        self._is_task = True
        self.labels = self.labels or "valid"

    @property
    def reads_classes(self) -> bool:
        """Whether the channels of the logits must be classes, two at least: for a softmax over them, or an argmax."""
        card = _card_of(self.loss)
        is_on_logits = any(name.rpartition(".")[2] == "logits" for name in (*self.student_names, *self.teacher_names))
        return self.labels == "teacher_correct" or (card is not None and card.needs == ("logits",) and is_on_logits)

    @property
    def classifies(self) -> bool:
        """Whether the loss takes labels that are the indices of the student's outputs: this package's task loss."""
        card = _card_of(self.loss)
        return card is not None and not card.teacher

    @property
    def self_taught(self) -> SelfTaught | None:
        """The loss, where it has parts that learn from an objective of their own."""
        return self.loss if isinstance(self.loss, SelfTaught) else None

    def take_in_aux(self) -> None:
        """Let a loss that also takes an auxiliary head's logits, on ``logits``, have them."""
        if getattr(self.loss, "takes_aux", False) and self.student_names == ("logits",):
            self.student_names, self.teacher_names, self.is_single = ("logits", "aux"), ("logits", "aux"), False

    def wire(self, student: dict[str, torch.Size], teacher: dict[str, torch.Size]) -> list["Wire"]:
        """Decide adapters and resizing from the features' shapes, once; return one line per feature.

        Raises:
            UserError: Logits with different numbers of classes, a map against a vector, or a Term that already
                belongs to a Distiller.
        """
        if self._is_wired:
            raise UserError("this Term belongs to another Distiller, with its adapter and weight; make a new one")
        self._is_wired = True
        student_shapes = [student[name] for name in self.student_names]
        if not self.needs_teacher:
            return [Wire(*pair, "", None) for pair in zip(self.student_names, student_shapes, strict=True)]
        teacher_shapes = [teacher[name] for name in self.teacher_names]
        if self.adapters is None:
            self.adapters = nn.ModuleList(
                self._adapter(name, ours, theirs)
                for name, ours, theirs in zip(self.student_names, student_shapes, teacher_shapes, strict=True)
            )
        return [
            Wire(self.student_names[i], student_shapes[i], self.teacher_names[i], teacher_shapes[i],
                 _name(self.adapters[i]))
            for i in range(len(student_shapes))
        ]  # fmt: skip

    def _adapter(self, name: str, ours: torch.Size, theirs: torch.Size) -> nn.Module:
        if len(ours) != len(theirs):
            raise UserError(f"feature '{name}' is {tuple(ours)} in the student and {tuple(theirs)} in the teacher")
        if ours[1] == theirs[1] or not _trait(self.loss, "equal_channels"):
            return nn.Identity()
        if name in ("logits", "aux"):
            raise UserError(
                f"the student has {ours[1]} classes and the teacher {theirs[1]}; this loss compares class "
                "scores: give both networks the same classes"
            )
        if len(ours) == 2:
            return nn.Linear(ours[1], theirs[1], bias=False)
        return nn.Conv2d(ours[1], theirs[1], 1, bias=False)

    def forward(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the unweighted loss on the named features.

        Returns:
            The loss and, in training, for parts that learn beside the student, their own objective.
        """
        ours = [student[name] for name in self.student_names]
        if not self.needs_teacher:
            return self.loss(self._packed(ours), self._packed([None] * len(ours)), labels), None
        theirs = [teacher[name] for name in self.teacher_names]
        assert self.adapters is not None, "wire() comes first"
        adapted = [_adapted(adapter, x) for adapter, x in zip(self.adapters, ours, strict=True)]
        pairs = [_alike(x, y) for x, y in zip(adapted, theirs, strict=True)]
        packed = self._packed([x for x, _ in pairs]), self._packed([y for _, y in pairs])
        value = self.loss(*packed, labels)
        taught = self.self_taught
        if taught is None or taught.first_stage or not self.training:
            return value, None
        return value, taught.inner_objective(*packed, labels)

    def count(
        self, teacher: Mapping[str, Tensor], labels: Mapping[str | None, Tensor | None], ignore_index: int
    ) -> Tensor:
        """Return what the loss's mean counts in a batch, a whole number; see ``mean_over`` of a LossCard.

        Args:
            teacher: Its features; of several maps the coarsest counts.
            labels: The labels in each form, ``"valid"`` among them.
            ignore_index: The label of pixels that do not count.
        """
        given = labels["valid"]
        assert given is not None
        seen = labels[self.labels]
        alike = torch.ones((), dtype=torch.long, device=given.device)
        if self.mean_over == "batch":
            return alike
        if self.needs_teacher:
            like = min((teacher[name] for name in self.teacher_names), key=lambda x: x[0, 0].numel())
            valid = valid_at(seen, like, ignore_index)
        elif seen is not None:
            valid = seen != ignore_index
        else:
            return alike
        return (valid if self.mean_over == "pixels" else valid.reshape(len(valid), -1).any(dim=1)).sum()

    def first_stage(self, teacher: dict[str, Tensor], labels: Tensor | None) -> Tensor:
        """Return the objective of parts that learn before the student."""
        assert self.self_taught is not None
        return self.self_taught.inner_objective(
            None, self._packed([teacher[name] for name in self.teacher_names]), labels
        )

    def _packed(self, maps: Sequence[Any]) -> Any:
        """Return one map as it is, several as a tuple."""
        return maps[0] if self.is_single else tuple(maps)

    def weight_at(self, progress: float) -> float:
        """Return the weight at this point of the run, from 0 to 1."""
        if isinstance(self.weight, AutoWeight):
            return self.weight.value()
        return float(self.weight(progress) if callable(self.weight) else self.weight)


def _check_words(on: object, weight: object, adapter: object) -> None:
    """Raise for what a Term cannot use, before it is taken apart."""
    for feature in on if isinstance(on, Sequence) and not isinstance(on, str | tuple) else [on]:
        names = feature if isinstance(feature, tuple) and len(feature) == 2 else [feature]
        if not all(isinstance(name, str) for name in names):
            raise UserError(f"on names a feature, a pair (student's, teacher's), or a list of these, got {on!r}")
    if not (isinstance(weight, str) or callable(weight) or _is_number(weight)):
        raise UserError(f"a weight is a number, a schedule or 'auto:SHARE' as in 'auto:0.2', got {weight!r}")
    given = adapter if isinstance(adapter, Sequence | nn.ModuleList) and not isinstance(adapter, str) else [adapter]
    if adapter is not None and not all(isinstance(module, nn.Module) for module in given):
        raise UserError(f"an adapter is an nn.Module, or a list of them, got {adapter!r}")


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, of Python, NumPy or a tensor."""
    try:
        return math.isfinite(value)
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True)
class Wire:
    """One connection of the wiring table: a feature of the student compared with one of the teacher."""

    student: str
    student_shape: torch.Size
    teacher: str
    teacher_shape: torch.Size | None
    adapter: str = "-"

    @property
    def resized(self) -> bool:
        """True where the student's map is resized to the teacher's."""
        return self.teacher_shape is not None and self.student_shape[2:] != self.teacher_shape[2:]


def _trait(loss: Callable[..., Tensor], name: Literal["needs_teacher", "equal_channels", "mean_over"]) -> Any:
    """Read what a loss says of itself; for a function of this package, what its card says; else what is safe."""
    function = getattr(loss, "func", loss)  # of a partial
    for each in (loss, function):
        if hasattr(each, name):
            return getattr(each, name)
    card = BY_NAME.get(getattr(function, "__name__", ""))
    if card is None or not _is_ours(loss):
        return "batch" if name == "mean_over" else True
    return {"needs_teacher": card.teacher, "equal_channels": not card.any_channels, "mean_over": card.mean_over}[name]


def _card_of(loss: Callable[..., Tensor]) -> LossCard | None:
    """Return the card of a loss of this package, a module, a function, or a partial of one; of others None."""
    function = getattr(loss, "func", loss)
    name = getattr(function, "__name__", type(function).__name__)
    return next((card for card in LOSS_CARDS if _is_ours(loss) and name in (card.name, card.module)), None)


def _is_ours(loss: Callable[..., Tensor]) -> bool:
    """Whether this package has the loss, as a module, a function, or a partial of one."""
    return str(getattr(getattr(loss, "func", loss), "__module__", "")).partition(".")[0] == "segdistill"


def _adapted(adapter: nn.Module, x: Tensor) -> Tensor:
    """Return what the adapter makes of a feature, in the wider of their dtypes where autocast does not choose one."""
    weight = next(adapter.parameters(), None)
    chosen = x.dtype != torch.float64 and torch.is_autocast_enabled(x.device.type)
    if weight is None or weight.dtype == x.dtype or chosen:
        adapted: Tensor = adapter(x)
    else:
        adapted = call_in_dtype(adapter, x.to(torch.promote_types(weight.dtype, x.dtype)))
    return adapted


def _alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the teacher's size and the wider of their dtypes."""
    if student.shape[2:] != teacher.shape[2:]:
        student = F.interpolate(student, teacher.shape[2:], mode="bilinear", align_corners=False)
    dtype = torch.promote_types(student.dtype, teacher.dtype)
    return student.to(dtype), teacher.to(dtype)


def _name(adapter: nn.Module) -> str:
    if isinstance(adapter, nn.Identity):
        return "-"
    if isinstance(adapter, nn.Conv2d):
        size = "x".join(str(side) for side in adapter.kernel_size)
        return f"conv {size} {adapter.in_channels}→{adapter.out_channels}"
    return type(adapter).__name__
