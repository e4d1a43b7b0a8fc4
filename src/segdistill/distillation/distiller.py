"""The Distiller: joins student, teacher and terms into one module that any training loop can call."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import losses
from segdistill.distillation.arguments import check_apart, check_labels, check_network, check_outputs, check_terms
from segdistill.distillation.ensemble import Ensemble
from segdistill.distillation.features import FeatureReader, probe_for
from segdistill.distillation.gradients import AutoWeight, gradient_norms
from segdistill.distillation.parts import Part, share_out
from segdistill.distillation.running import version
from segdistill.distillation.term import Term, Wire
from segdistill.distillation.wiring import Wiring
from segdistill.errors import FOREIGN, UserError, first_line
from segdistill.losses.self_taught import SelfTaught
from segdistill.outputs import DistillerOutput


class Distiller(nn.Module):
    """Student, teacher and terms in one module: ``out = distiller(images, labels); out.total.backward()``.

    The teacher is frozen: no gradients, eval mode whatever ``train()`` says, and neither in ``parameters()`` nor in
    ``state_dict()``; it still follows ``.to()``. Student, adapters and losses with parameters are trained, so give
    the optimiser ``distiller.parameters()`` and wrap the Distiller, not the student, in DDP.

    A loss may have parts that learn from an objective of their own: a discriminator, beside the student, or mask
    tokens, before it. The former needs nothing (its objective is in ``out.total``), but learns as its paper says with
    an optimiser of its own: give the student's :meth:`main_parameters`, and step those of :meth:`own_optimizers` too.
    The latter need a first stage: see :attr:`first_stage_share`.

    The task loss is a term like the others, named ``"task"``: cross-entropy with ``ignore_index`` on the logits, the
    student's auxiliary head with 0.4 where it has one. Give a term of that name to change it; its loss may be any that
    takes student and labels, and is given None for the teacher.

    Args:
        student: Any module with dense class scores; trained.
        teacher: Any such module; frozen here. Several, as a list or by name, teach together: see
            :class:`segdistill.Ensemble`. None trains the student alone.
        terms: The distillation terms by name.
        probe: An image batch (N, 3, H, W) for the one forward pass at construction that decides the wiring; a black
            128x128 image by default.
        ignore_index: The label of pixels that do not count.

    Attributes:
        progress: How far the run is, from 0 to 1; set it before each step if a weight is a schedule.
        measures_gradients: Set it, and the next training steps measure every term's gradient at the student, at the
            price of one backward pass a term.

    Raises:
        UserError: A feature that a network does not have, logits with different numbers of classes, a term that
            needs a teacher where there is none, networks that share parameters, one output channel, a student without
            anything to train, or arguments of another kind.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None,
        terms: Mapping[str, Term] | None = None,
        *,
        probe: Tensor | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        check_network(student, "student")
        check_terms(terms or {})
        if isinstance(teacher, Mapping | list | tuple | nn.ModuleDict | nn.ModuleList):
            teacher = Ensemble(teacher)
        if teacher is not None:
            teacher = check_network(teacher, "teacher")
            check_apart(student, teacher)
        if not any(parameter.requires_grad for parameter in student.parameters()):
            raise UserError("the student has no parameter to train; was it frozen, or given as a teacher before?")
        self.student = student
        # In a tuple, so that nn.Module does not register it: the teacher is no part of what is trained or saved.
        self._teacher = () if teacher is None else (teacher.eval().requires_grad_(False),)
        self.ignore_index = ignore_index
        self.progress = 0.0
        self.measures_gradients = False

        chosen = dict(terms or {})
        if "task" in chosen:
            with _named("task"):
                chosen["task"].be_task()
        if teacher is None:
            for name, term in chosen.items():
                if term.needs_teacher or term.labels == "teacher_correct":
                    raise UserError(f"term '{name}' needs a teacher, and there is none")
        for name, term in chosen.items():
            if isinstance(teacher, Ensemble):
                _check_member(name, term, teacher)
            if not name.isidentifier() or hasattr(nn.ModuleDict, name):
                raise UserError(f"a term cannot be called '{name}'; give it another name, of letters and _")
            void = getattr(term.loss, "ignore_index", ignore_index)
            if void != ignore_index and term.labels is not None:
                raise UserError(
                    f"term '{name}': the loss leaves out label {void} and the Distiller {ignore_index}; give both the "
                    "same ignore_index"
                )
        self._read_student = _reader(student, "student", chosen, probe)
        self._read_teacher = None if teacher is None else _reader(teacher, "teacher", chosen, probe)
        self._labels_are_checked = False
        task = chosen.pop("task", None) or Term(losses.CrossEntropy(ignore_index=ignore_index), labels="valid")
        if "aux" in self._read_student.shapes:
            task.take_in_aux()
        self.terms = nn.ModuleDict({"task": task, **chosen})
        self._wires = self._wire()
        parameter = next(student.parameters(), None)
        if parameter is not None:
            self.terms.to(parameter.device)

    def _wire(self) -> list[tuple[str, Wire]]:
        ours = self._read_student.shapes
        theirs = self._read_teacher.shapes if self._read_teacher else {}
        wires = []
        for name, term in self._named_terms():
            if term.reads_classes:
                for role, shapes in (("student", ours), *((("teacher", theirs),) if term.needs_teacher else ())):
                    check_outputs(shapes["logits"], role, name)
            try:
                wires += [(name, wire) for wire in term.wire(ours, theirs)]
            except UserError as error:
                raise UserError(f"term '{name}': {error}") from None
            if term.labels == "teacher_correct" and ours["logits"][1] != theirs["logits"][1]:
                raise UserError(
                    f"term '{name}': the student has {ours['logits'][1]} classes and the teacher "
                    f"{theirs['logits'][1]}, so no pixel can be said to be right; use labels='valid'"
                )
        return wires

    @property
    def teacher(self) -> nn.Module | None:
        """The frozen teacher; None where the student trains alone."""
        return self._teacher[0] if self._teacher else None

    def forward(self, images: Tensor, labels: Tensor, part: Part | None = None) -> DistillerOutput:
        """Return the weighted sum of all terms, every term, and the weights.

        Args:
            images: Shape (N, 3, H, W), as the student expects them.
            labels: Class indices, shape (N, H', W'), or (N,) for classification.
            part: What :meth:`prepare` made of these, where they are a part of a step; the total is then this part of
                the step's, while the terms stay the means over the part.
        """
        self._check_labels(labels)
        if self._measures and not torch.compiler.is_compiling():
            with _uncompiled():
                return self._step(images, labels, part)
        return self._step(images, labels, part)

    def _step(self, images: Tensor, labels: Tensor, part: Part | None) -> DistillerOutput:
        if part is None:
            part = self.prepare(images, labels)
        ours = self._read_student(images)
        values, own = {}, {}
        for name, term in self._named_terms():
            with _named(name), _unchanged(ours, part.teacher, part.labels[term.labels]):
                values[name], objective = term(ours, part.teacher, part.labels[term.labels])
                if values[name].dim():
                    raise ValueError(f"the loss returns {tuple(values[name].shape)} values; return one, as their mean")
            if objective is not None:
                own[name] = objective
        gradients = self._measured(values)
        weights = {name: term.weight_at(self.progress) for name, term in self._named_terms()}
        weighted = [weights[name] * part.share_of(name) * _at_least_float32(value) for name, value in values.items()]
        objectives = [part.share * _at_least_float32(value) for value in own.values()]
        return DistillerOutput(torch.stack([*weighted, *objectives]).sum(), values, weights, gradients, own)

    def prepare(self, images: Tensor, labels: Tensor) -> Part:
        """Return what the teacher and the labels say of a batch that is a part of a step.

        A batch that is taken in parts, one after the other or in several processes, gives the gradient of the whole
        only if each part weighs what the losses' means count in it::

            parts = [distiller.prepare(images, labels) for images, labels in batches]
            distiller.share_out(parts)
            for (images, labels), part in zip(batches, parts):
                distiller(images, labels, part).total.backward()

        Args:
            images, labels: As for a step.
        """
        theirs = self._teacher_features(images)
        return Part(theirs, self._label_views(labels, theirs))

    def share_out(self, parts: Sequence[Part]) -> None:
        """Give each part of a step its weight; with several processes, call it in all of them.

        Args:
            parts: All parts of the step in this process.
        """
        share_out(parts, [self._counts(part) for part in parts])

    def _counts(self, part: Part) -> dict[str, Tensor]:
        counts = {}
        for name, term in self._named_terms():
            with _named(name):
                counts[name] = term.count(part.teacher, part.labels, self.ignore_index)
        return counts

    def _check_labels(self, labels: Tensor) -> None:
        """Look at all labels on a CPU; on a device only at the first, because looking waits for the device."""
        task = self.terms["task"]
        if not (isinstance(task, Term) and task.classifies):  # of a task of one's own only that knows what they are
            return
        if torch.compiler.is_compiling() or (labels.device.type != "cpu" and self._labels_are_checked):
            return
        check_labels(labels, self._read_student.shapes["logits"][1], self.ignore_index)
        self._labels_are_checked = True

    def _teacher_features(self, images: Tensor) -> dict[str, Tensor]:
        if self.teacher is None or self._read_teacher is None:
            return {}
        if self.teacher.training:  # somebody called train() on it from outside
            self.teacher.eval()
        with torch.no_grad():
            return self._read_teacher(images)

    def _named_terms(self) -> list[tuple[str, Term]]:
        return [(name, term) for name, term in self.terms.items() if isinstance(term, Term)]

    def _self_taught(self) -> dict[str, SelfTaught]:
        return {name: term.self_taught for name, term in self._named_terms() if term.self_taught is not None}

    def main_parameters(self) -> list[nn.Parameter]:
        """Return what the student's optimiser trains: all parameters but those with an objective of their own."""
        own = {id(parameter) for loss in self._self_taught().values() for parameter in loss.inner_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def own_optimizers(self, *, first_stage: bool = False) -> dict[str, torch.optim.Optimizer]:
        """Return a new optimiser for each loss with parts of its own, by term, with its paper's settings.

        Args:
            first_stage: Those of parts that learn before the student, instead of those that learn beside it.
        """
        return {
            name: loss.inner_optimizer()
            for name, loss in self._self_taught().items()
            if bool(loss.first_stage) == first_stage
        }

    @property
    def first_stage_share(self) -> float:
        """How many steps some losses' parts must learn before the student does, as a share of the student's steps.

        0 where there are none. Otherwise minimise :meth:`first_stage` for that long with the optimisers of
        ``own_optimizers(first_stage=True)``, then call :meth:`finish_first_stage`.
        """
        return max((loss.first_stage for loss in self._self_taught().values()), default=0.0)

    def first_stage(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the objective of the parts that learn before the student; the student is not run.

        Args:
            images, labels: As for a step.
        """
        theirs = self._teacher_features(images)
        views = self._label_views(labels, theirs)
        objectives = []
        for name, term in self._named_terms():
            if term.self_taught is not None and term.self_taught.first_stage:
                with _named(name):
                    objectives.append(_at_least_float32(term.first_stage(theirs, views[term.labels])))
        return torch.stack(objectives).sum()

    def finish_first_stage(self) -> None:
        """Freeze the parts that learned before the student; call it before wrapping in DDP."""
        for loss in self._self_taught().values():
            if loss.first_stage:
                for parameter in loss.inner_parameters():
                    parameter.requires_grad_(False)

    def _label_views(self, labels: Tensor, teacher: dict[str, Tensor]) -> dict[str | None, Tensor | None]:
        """Return the labels in each of the forms that a term may ask for."""
        views: dict[str | None, Tensor | None] = {None: None, "valid": labels}
        if any(term.labels == "teacher_correct" for _, term in self._named_terms()):
            views["teacher_correct"] = _where_correct(labels, teacher["logits"], self.ignore_index)
        return views

    @property
    def _measures(self) -> bool:
        """True in a step whose gradients are measured, term by term."""
        if not self.training or not torch.is_grad_enabled():
            return False
        return self.measures_gradients or bool(self._waiting())

    def _waiting(self) -> dict[str, AutoWeight]:
        """Return the weights that have yet to be set from gradients, by term."""
        return {
            name: term.weight
            for name, term in self._named_terms()
            if isinstance(term.weight, AutoWeight) and not term.weight.settled
        }

    def _measured(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Measure gradients where they are asked for, and in the first steps for ``weight="auto:..."``."""
        if not self._measures:
            return {}
        waiting = self._waiting()
        wanted = values if self.measures_gradients else {name: values[name] for name in ("task", *waiting) if waiting}
        try:
            norms = gradient_norms(wanted, self.student.parameters())
        except RuntimeError as error:
            if "donated buffers" not in str(error):
                raise
            raise UserError(
                'a compiled Distiller keeps no graph to measure gradients on, as for weight="auto:..."; compile the '
                "student and the losses instead, as in Distiller(torch.compile(student), teacher, ...)"
            ) from error
        for name, weight in waiting.items():
            weight.measure(norms["task"], norms[name])
        return norms

    def wiring(self) -> Wiring:
        """Return the table of what is compared with what: print it, or read its rows."""
        terms = dict(self._named_terms())
        return Wiring([(name, terms[name], wire) for name, wire in self._wires])

    def train(self, mode: bool = True) -> Self:
        """Set the student's mode; the teacher stays in eval mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.teacher is not None:
            self.teacher._apply(fn)  # type: ignore[no-untyped-call]
        return self


def _reader(network: nn.Module, side: str, terms: Mapping[str, Term], probe: Tensor | None) -> FeatureReader:
    own = probe_for(network)
    image = own if probe is None else probe.to(own)
    wanted = {
        name: term.student_names if side == "student" else term.teacher_names
        for name, term in terms.items()
        if side == "student" or term.needs_teacher
    }
    try:
        return FeatureReader(network, [feature for names in wanted.values() for feature in names], image)
    except FOREIGN as error:
        if not isinstance(error, UserError):
            size = "x".join(map(str, image.shape[2:]))
            raise UserError(
                f"the {side} fails on an image of {size}: {first_line(error)}; give a probe (in a recipe data.crop) "
                "of a size that it takes"
            ) from error
        for name, features in wanted.items():  # say whose feature it was
            try:
                FeatureReader(network, features, image)
            except UserError as error:
                raise UserError(f"term '{name}', {side}: {error}") from None
        raise


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Run what is compiled as it was before: gradients are measured on a graph that is kept; compiled ones are not."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say whose error it was."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"term '{name}': {error}") from error


@contextmanager
def _unchanged(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None) -> Iterator[None]:
    """Refuse a loss that changes in place what the other terms, or the caller, look at too."""
    given = {"labels": labels, **{f"the student's '{name}'": x for name, x in student.items()}}
    given |= {f"the teacher's '{name}'": x for name, x in teacher.items()}
    before = {what: version(tensor) for what, tensor in given.items() if tensor is not None}
    yield
    for what, tensor in given.items():
        if tensor is not None and version(tensor) != before[what]:
            raise ValueError(f"the loss changes {what} in place, and others need it as it was; let it take a .clone()")


def _check_member(name: str, term: Term, teachers: Ensemble) -> None:
    """Only logits can be averaged over teachers: any other feature must be one teacher's."""
    for feature in term.teacher_names if term.needs_teacher else ():
        if feature != "logits" and feature.partition(".")[0] not in teachers.names:
            raise UserError(
                f"term '{name}': there are several teachers; say whose '{feature}' with "
                f"teacher={' or '.join(repr(member) for member in teachers.names)}"
            )


def _at_least_float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _where_correct(labels: Tensor, teacher_logits: Tensor, ignore_index: int) -> Tensor:
    """Return the labels at the logits' resolution with every pixel void where the teacher is wrong."""
    if labels.dim() > 1:
        size = teacher_logits.shape[2:]
        labels = F.interpolate(labels[:, None].float(), size, mode="nearest")[:, 0].long()
    return torch.where(teacher_logits.argmax(1) == labels, labels, ignore_index)
