"""The Term: a loss, the features that it compares, its labels, its weight and its adapter."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, get_args

import torch
from torch import Tensor, nn

from segdistill.distillation.defaults import Default, Labels, defaults_of
from segdistill.distillation.feature_names import Feature, FeatureNames
from segdistill.distillation.gradients import AutoWeight
from segdistill.distillation.wired import Wire, WiredTerm, adapter_for, adapter_name
from segdistill.errors import UserError
from segdistill.losses.loss import MeanOver, declared, trait
from segdistill.schedules import Schedule


class Term:
    """One line of the objective: a loss, the features that it compares, its labels and its weight.

    The defaults depend on the loss. A loss of this package has the feature, the labels and the weight that
    ``segdistill losses`` lists, exactly as ``terms.NAME={}`` in a recipe. Any other loss compares the logits, gets no
    labels and has weight 1.

    A Term is a declaration: building a :class:`segdistill.Distiller` does not change it. Two Distillers that use one
    Term share its loss and the adapters given to it, with their parameters and memory banks. To train them separately,
    build the Term twice or copy it with ``copy.deepcopy``.

    Args:
        loss: Any callable ``(student, teacher, labels) -> scalar``: a loss of :mod:`segdistill.losses`, or your own
            function or module. A Distiller trains the parameters of a module. See :class:`segdistill.losses.Loss` for
            the attributes that a Term reads from it, all optional.
        on: The feature to compare: a name, a pair (name in the student, name in the teacher), or a list of these for a
            loss that takes tuples of maps.
        labels: ``"valid"`` passes the labels to the loss. ``"teacher_correct"`` passes them with the pixels void that
            the teacher (or the average of several) classifies wrongly. None passes no labels.
        weight: A number, a schedule (:mod:`segdistill.schedules`), or ``"auto:0.2"``: measured once, in the first
            steps, so that the term's gradient at the student is 0.2 times the gradient of the task.
        adapter: A module applied to the student's feature, instead of the 1x1 convolution that is added if the channels
            differ and the loss needs them equal. For a list of features, a list with one module each.
        teacher: The name of one of several teachers, whose features to compare. By default the logits are the average
            of all teachers.
        resize: Height and width to which both networks' maps are resized before the loss (bilinear, corners aligned),
            as AICSD's code compares logits of the crop's size. By default the loss gets the teacher's size.

    Raises:
        UserError: A loss, features, labels, a weight, an adapter or a size of the wrong type.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        *,
        on: Feature | Sequence[Feature] | Default = Default.OF_LOSS,
        labels: Labels | Default | None = Default.OF_LOSS,
        weight: float | Schedule | str | Default = Default.OF_LOSS,
        adapter: nn.Module | Sequence[nn.Module] | None = None,
        teacher: str | None = None,
        resize: tuple[int, int] | None = None,
    ) -> None:
        if isinstance(loss, type) or not callable(loss):
            got = f"the class {loss.__name__}; call it: {loss.__name__}(...)" if isinstance(loss, type) else repr(loss)
            raise UserError(f"a Term takes a loss, as in Term(losses.KD()), got {got}")
        defaults = defaults_of(loss)
        on = defaults.on if isinstance(on, Default) else on
        labels = defaults.labels if isinstance(labels, Default) else labels
        weight = defaults.weight if isinstance(weight, Default) else weight
        _check_kinds(on, labels, weight, adapter)
        if resize is not None:
            resize = _checked_size(resize)
        self.loss = loss
        self.features = FeatureNames.of(on, teacher)
        self.labels = labels
        self.weight = weight
        self.resize = resize
        self.adapters = [adapter] if isinstance(adapter, nn.Module) else adapter
        self.needs_teacher = bool(trait(loss, "needs_teacher"))
        self.mean_over: MeanOver = trait(loss, "mean_over")
        if self.mean_over not in get_args(MeanOver):
            raise UserError(f"the loss's mean_over must be one of {get_args(MeanOver)}, got {self.mean_over!r}")
        count = len(self.features.student)
        if not count:
            raise UserError("on is empty; name a feature, as in on='logits'")
        if self.adapters is not None and len(self.adapters) != count:
            raise UserError(f"on names {count} features, so adapter must be {count} modules, got {len(self.adapters)}")

    def as_task(self) -> "Term":
        """Return this term as the student's own objective: it gets labels, and None in place of the teacher.

        Raises:
            UserError: The loss declares that it needs a teacher.
        """
        if declared(self.loss, "needs_teacher"):
            raise UserError("the task has no teacher and this loss needs one; give its term another name")
        task = copy(self)
        task.needs_teacher = False
        task.labels = self.labels or "valid"
        return task

    def with_aux(self) -> "Term":
        """Return this term on the logits of both heads, if it is on the logits and its loss takes both."""
        if not trait(self.loss, "takes_aux") or self.features.student != ("logits",):
            return self
        term = copy(self)
        term.features = FeatureNames.of(["logits", "aux"])
        return term

    @property
    def reads_classes(self) -> bool:
        """True if the logits must have at least two classes, for a softmax or an argmax over them."""
        names = (*self.features.student, *self.features.teacher)
        is_on_logits = any(name.rpartition(".")[2] == "logits" for name in names)
        return self.labels == "teacher_correct" or (trait(self.loss, "reads_classes") and is_on_logits)

    @property
    def classifies(self) -> bool:
        """True if the labels must be indices of the student's classes, as for cross-entropy."""
        return bool(trait(self.loss, "reads_classes") and not trait(self.loss, "needs_teacher"))

    def wire(self, student: Mapping[str, torch.Size], teacher: Mapping[str, torch.Size]) -> WiredTerm:
        """Return the module that computes this term for features of these shapes.

        Args:
            student, teacher: The shapes of the networks' features, by name.

        Raises:
            UserError: The logits have different numbers of classes, or one feature is a map and the other a vector.
        """
        names, adapters = self.features, None
        students = [student[name] for name in names.student]
        if self.resize is not None and (
            flat := [n for n, s in zip(names.student, students, strict=True) if len(s) != 4]
        ):
            raise UserError(f"feature '{flat[0]}' has no height and width to resize; leave out resize")
        if self.needs_teacher:
            teachers = [teacher[name] for name in names.teacher]
            equal = bool(trait(self.loss, "equal_channels"))
            adapters = self.adapters or [
                adapter_for(name, *shapes, equal_channels=equal)
                for name, *shapes in zip(names.student, students, teachers, strict=True)
            ]
            columns = zip(names.student, students, names.teacher, teachers, map(adapter_name, adapters), strict=True)
            wires = [Wire(*row) for row in columns]
        else:
            wires = [Wire(name, shape, "", None) for name, shape in zip(names.student, students, strict=True)]
        return WiredTerm(
            self.loss,
            names,
            labels=self.labels,
            weight=AutoWeight.parse(self.weight) if isinstance(self.weight, str) else self.weight,
            adapters=adapters,
            mean_over=self.mean_over,
            wires=wires,
            resize=self.resize,
        )


def _check_kinds(on: object, labels: object, weight: object, adapter: object) -> None:
    if labels not in (None, "valid", "teacher_correct"):
        raise UserError(f"labels must be 'valid', 'teacher_correct' or None, got {labels!r}")
    for feature in on if isinstance(on, Sequence) and not isinstance(on, str | tuple) else [on]:
        names = feature if isinstance(feature, tuple) and len(feature) == 2 else [feature]
        if not all(isinstance(name, str) for name in names):
            raise UserError(f"on must be a name, a pair (student's, teacher's), or a list of these, got {on!r}")
    if isinstance(weight, str):
        AutoWeight.parse(weight)
    elif isinstance(weight, Tensor) and weight.requires_grad:
        raise UserError("a weight is a constant, and this tensor requires a gradient; weight the term inside its loss")
    elif not (callable(weight) or _is_number(weight)):
        raise UserError(f"a weight is a number, a schedule or 'auto:SHARE' as in 'auto:0.2', got {weight!r}")
    given = adapter if isinstance(adapter, Sequence | nn.ModuleList) and not isinstance(adapter, str) else [adapter]
    if adapter is not None and not all(isinstance(module, nn.Module) for module in given):
        raise UserError(f"adapter must be an nn.Module, or a list of them, got {adapter!r}")


def _checked_size(size: Any) -> tuple[int, int]:
    """Return the size as a tuple of two positive integers."""
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UserError(f"resize must be a height and a width, as in resize=(513, 513), got {size!r}")
    return sides


def _is_number(value: Any) -> bool:
    """Return True for a finite number: a Python or NumPy scalar, or a tensor with one element."""
    try:
        return math.isfinite(value)
    except (TypeError, ValueError):
        return False
