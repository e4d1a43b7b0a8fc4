"""The Distiller: student, teacher and terms in one module that any training loop can call."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Self

import torch
from torch import Tensor, nn

from segdistill import losses
from segdistill.distillation.arguments import check_apart, check_network, check_outputs
from segdistill.distillation.features import FeatureReader
from segdistill.distillation.first_stage import FirstStage
from segdistill.distillation.gradients import AutoWeight, gradient_norms
from segdistill.distillation.guards import named, unchanged, uncompiled
from segdistill.distillation.labels import check_labels, label_forms
from segdistill.distillation.methods import Teacher, Terms, as_network, resolve_terms
from segdistill.distillation.modes import rest, trains
from segdistill.distillation.parts import Part, share_out
from segdistill.distillation.probing import read_features
from segdistill.distillation.reminders import Reminders
from segdistill.distillation.term import Term
from segdistill.distillation.term_checks import check_term, teacher_names
from segdistill.distillation.wired import WiredTerm
from segdistill.distillation.wiring import Wiring
from segdistill.errors import UserError
from segdistill.losses._ops import at_least_float32
from segdistill.losses.self_taught import SelfTaught
from segdistill.outputs import DistillerOutput, aligns_corners


class Distiller(nn.Module):
    """Student, teacher and terms in one module: ``out = distiller(images, labels); out.total.backward()``.

    The teacher is frozen: it gets no gradients, stays in eval mode after ``train()``, and is in neither
    ``parameters()`` nor ``state_dict()``. It follows ``.to()``. Student, adapters and losses with parameters are
    trained, so give ``distiller.parameters()`` to the optimizer, and wrap the Distiller, not the student, in DDP.

    The terms are given in one of three ways::

        Distiller(student, teacher, "dist+gskd")  # a method, with the weights of its papers
        Distiller(student, teacher, {"kd": Term(losses.KD()), "mine": Term(my_loss, on="head", weight=2.0)})
        Distiller(student, teacher, lambda student, teacher: {"kd": Term(losses.KD())})

    A method gives exactly the terms of ``method=NAME`` in a recipe; :func:`segdistill.method_terms` returns them. Your
    own loss is any callable of the type :class:`segdistill.losses.Loss`.

    The term named ``"task"`` is the student's own objective. By default it is the cross-entropy of the logits, plus 0.4
    times the cross-entropy of an auxiliary head. Give a term of that name to change it: its loss gets the student's
    logits, None in place of the teacher, and the labels.

    Some losses have parts that learn from an inner objective. A discriminator learns along with the student, and its
    objective is part of ``out.total``. To train it as its paper does, give :meth:`student_parameters` to the student's
    optimizer and step :meth:`inner_optimizers` too. Mask tokens learn before the student: see :attr:`first_stage`.

    Args:
        student: Any module that returns class scores; it is trained.
        teacher: Any such module; it is frozen here. Several, as a list or a mapping, become one
            :class:`segdistill.Ensemble`. None trains the student alone.
        terms: A mapping of names to :class:`segdistill.Term` objects, the name of a method, or a function
            ``(student, teacher)`` that returns such a mapping.
        probe: An image batch of shape (N, 3, H, W) for the forward pass at construction that finds the features'
            shapes; by default a black 128x128 image.
        ignore_index: The label of void pixels, which no loss counts.

    Attributes:
        terms: The wired terms by name, ``"task"`` first.
        measures_gradients: If True, training steps measure the gradient of every term with respect to the student's
            parameters, at the cost of one backward pass for each term.
        reminds: If True, training steps warn of a call that the loop leaves out, and of a loss without a gradient.

    Raises:
        UserError: An unknown method, a feature that a network does not have, logits with different numbers of classes,
            a term that needs a teacher if there is none, networks that share parameters, one output channel, a student
            with nothing to train, or an argument of the wrong type.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher | None,
        terms: Terms | None = None,
        *,
        probe: Tensor | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        check_network(student, "student")
        teacher = as_network(teacher)
        if teacher is not None:
            check_apart(student, teacher)
        if not any(parameter.requires_grad for parameter in student.parameters()):
            raise UserError("the student has no parameter to train; was it frozen, or given as a teacher before?")
        # The terms are built before the teacher is frozen, as in a recipe.
        given = resolve_terms(terms, student, teacher, ignore_index=ignore_index, probe=probe)
        self.student = student
        # In a tuple, so that nn.Module does not register it: the teacher is neither trained nor saved.
        self._teacher: tuple[nn.Module, ...] = () if teacher is None else (teacher.eval().requires_grad_(False),)
        self.ignore_index = ignore_index
        self._reminders, self._progress = Reminders(), 0.0
        self.measures_gradients = False
        self.reminds = True
        self._labels_are_checked = self._gradients_are_checked = False
        self._probe = probe

        task = given.pop("task", None)
        if task is not None:
            with named("task"):
                task = task.as_task()
            given = {"task": task, **given}
        for name, term in given.items():
            check_term(name, term, teacher, ignore_index)
        students = {name: term.features.student for name, term in given.items()}
        self._read_student = read_features(student, "student", students, probe)
        teachers = {name: term.features.teacher for name, term in given.items() if term.needs_teacher}
        self._read_teacher = None if teacher is None else read_features(teacher, "teacher", teachers, probe)
        self._teacher_names = teacher_names(given.values())
        if self._read_teacher is not None:
            self._end_early(self._read_teacher)
        aligns = aligns_corners(student)
        task = task or Term(losses.CrossEntropy(ignore_index=ignore_index, align_corners=aligns)).as_task()
        if "aux" in self._read_student.shapes:
            task = task.with_aux()
        self._checks_labels = task.classifies
        if task.classifies and ignore_index == 255 < (classes := self._read_student.shapes["logits"][1]):
            raise UserError(
                f"the student has {classes} classes, and label 255 is void; give ignore_index=-1, also to the losses"
            )
        self.terms = nn.ModuleDict(self._wired({**given, "task": task}))
        parameter = next(student.parameters(), None)
        if parameter is not None:
            self.terms.to(parameter.device)
        if student.training:
            self._rest()
        else:  # as from_pretrained of transformers returns it
            self.train()

    def _wired(self, terms: dict[str, Term]) -> dict[str, WiredTerm]:
        student = self._read_student.shapes
        teacher = self._read_teacher.shapes if self._read_teacher else {}
        wired = {}
        for name in ("task", *(name for name in terms if name != "task")):
            term = terms[name]
            if term.reads_classes:
                check_outputs(student["logits"], "student", name)
                if term.needs_teacher:
                    check_outputs(teacher["logits"], "teacher", name)
            with named(name):
                wired[name] = term.wire(student, teacher)
                if term.labels == "teacher_correct" and student["logits"][1] != teacher["logits"][1]:
                    raise UserError(
                        f"the student has {student['logits'][1]} classes and the teacher {teacher['logits'][1]}, so "
                        "their labels cannot be compared; use labels='valid'"
                    )
        return wired

    @property
    def teacher(self) -> nn.Module | None:
        """The frozen teacher; None if the student trains alone."""
        return self._teacher[0] if self._teacher else None

    @property
    def progress(self) -> float:
        """The progress of the run, from 0 to 1; set it before each step if a weight is a schedule."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress, self._reminders.knows_progress = value, True

    @property
    def first_stage(self) -> FirstStage | None:
        """The stage before the student's first step, in which parts of losses learn; None if no loss has such parts.

        A loop that resumes after this stage calls ``first_stage.finish()`` instead of training it again.
        """
        self._reminders.knows_first_stage = True
        terms = {name: term for name, term in self._named_terms() if term.self_taught and term.self_taught.first_stage}
        return FirstStage(terms, self.prepare) if terms else None

    def student_parameters(self) -> list[nn.Parameter]:
        """Return the parameters for the student's optimizer: all except those that learn from an inner objective."""
        inner = {id(parameter) for loss in self._self_taught().values() for parameter in loss.inner_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in inner]

    def term_parameters(self) -> list[nn.Parameter]:
        """Return those of :meth:`student_parameters` that the terms add: adapters and the learned layers of losses."""
        student = {id(parameter) for parameter in self.student.parameters()}
        return [parameter for parameter in self.student_parameters() if id(parameter) not in student]

    def inner_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return a new optimizer for each loss with parts that learn along with the student, by the term's name.

        It has the settings of the loss's paper. Step it together with the student's optimizer.
        """
        return {name: loss.inner_optimizer() for name, loss in self._self_taught().items() if not loss.first_stage}

    def forward(self, images: Tensor, labels: Tensor, part: Part | None = None) -> DistillerOutput:
        """Return the weighted sum of all terms, the value of every term, and the weights.

        Args:
            images: Images of shape (N, 3, H, W), normalized as the student expects them.
            labels: Class indices of shape (N, H', W'), or (N,) for classification.
            part: The result of :meth:`prepare` for these images and labels, if they are one part of a step. The total
                is then the part's share of the step's total; the terms are means over the part.
        """
        self._check_labels(labels)
        if torch.compiler.is_compiling():
            return self._step(images, labels, part)
        if self.reminds and self._learns:
            self._reminders.look(dict(self._named_terms()))
        with uncompiled() if self._measures else nullcontext():
            return self._step(images, labels, part)

    def _step(self, images: Tensor, labels: Tensor, part: Part | None) -> DistillerOutput:
        if part is None:
            part = self.prepare(images, labels)
        student = self._read_student(images)
        values, inner = {}, {}
        for name, term in self._named_terms():
            with named(name), unchanged(student, part.teacher, part.labels[term.labels]):
                values[name], objective = term(student, part.teacher, part.labels[term.labels])
                self._check_gradient(name, term, student, values[name])
                if values[name].dim():
                    raise ValueError(f"the loss returns {tuple(values[name].shape)} values; return one, as their mean")
            if objective is not None:
                inner[name] = objective
        self._gradients_are_checked |= self._learns
        gradients = self._measured(values)
        weights = {name: term.weight_at(self.progress) for name, term in self._named_terms()}
        weighted = [weights[name] * part.share_of(name) * at_least_float32(value) for name, value in values.items()]
        objectives = [part.share * at_least_float32(value) for value in inner.values()]
        return DistillerOutput(torch.stack([*weighted, *objectives]).sum(), values, weights, gradients, inner)

    def prepare(self, images: Tensor, labels: Tensor, teacher: Mapping[str, Tensor] | None = None) -> Part:
        """Return the teacher's features and the labels of a batch that is one part of a step.

        Parts of a batch, one after the other or in several processes, give the gradient of the whole batch if each is
        weighted by the number of images or pixels that the losses average over in it::

            parts = [distiller.prepare(images, labels) for images, labels in batches]
            distiller.share_out(parts)
            for (images, labels), part in zip(batches, parts):
                distiller(images, labels, part).total.backward()

        Args:
            images, labels: As for :meth:`forward`.
            teacher: The features of :attr:`teacher_features` that the teacher has computed for these images before, by
                name. The teacher then does not run.

        Raises:
            UserError: The teacher was released, and its features are not given.
        """
        if teacher is None:
            teacher = self._teacher_features(images)
        forms = {term.labels for _, term in self._named_terms()}
        return Part(teacher, label_forms(labels, teacher, forms, self.ignore_index))

    @property
    def teacher_features(self) -> tuple[str, ...]:
        """The names of the teacher's features that the terms read, sorted."""
        return self._teacher_names

    def release_teacher(self) -> None:
        """Forget the teacher, so that its memory is freed. Each part then needs the teacher's features.

        See :meth:`prepare`.
        """
        self._teacher, self._read_teacher = (), None

    def share_out(self, parts: Sequence[Part]) -> None:
        """Set the weight of each part of a step. With several processes, call it in all of them.

        Args:
            parts: All parts of the step in this process.
        """
        share_out(parts, [self._counts(part) for part in parts])

    def teacher_pass(self, teacher: nn.Module) -> FeatureReader:
        """Return a reader of the features that the terms need, from another form of the teacher.

        Args:
            teacher: A network with the same features, for instance the teacher with folded batch normalization.

        Raises:
            UserError: The network lacks a feature.
        """
        assert self._read_teacher is not None
        names = self._read_teacher.names
        reader = read_features(teacher, "teacher", {name: (name,) for name in names}, self._probe)
        if reader.shapes != self._read_teacher.shapes:
            raise UserError(f"the features of this form of the teacher have other shapes: {reader.shapes}")
        return reader

    def replace_teacher(self, teacher: nn.Module) -> None:
        """Use another form of the teacher from now on; see :meth:`teacher_pass`."""
        reader = self.teacher_pass(teacher)
        self._end_early(reader)
        self._teacher = (teacher.eval().requires_grad_(False),)
        self._read_teacher = reader

    def _end_early(self, reader: FeatureReader) -> None:
        """End the teacher's passes after the last feature that a term reads, if none reads its outputs."""
        if "logits" not in self.teacher_features:
            reader.stop_early()

    def wiring(self) -> Wiring:
        """Return the table of the features that are compared. Print it, or read its rows."""
        return Wiring([(name, term, wire) for name, term in self._named_terms() for wire in term.wires])

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything except what does not learn, which stays in eval mode.

        That is the teacher, and every module of the student, of an adapter and of a loss whose parameters are all
        frozen: its batch normalization keeps its statistics, and its dropout stays off. Parts of a loss that have
        learned in a first stage follow the mode.
        """
        super().train(mode)
        self._rest()
        return self

    def _rest(self) -> None:
        """Put what does not learn in eval mode."""
        if self.teacher is not None:
            self.teacher.eval()
        rest(self.student)
        for _, term in self._named_terms():
            if term.self_taught is None:
                rest(term)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.teacher is not None:
            self.teacher._apply(fn)  # type: ignore[no-untyped-call]
        return self

    def _named_terms(self) -> list[tuple[str, WiredTerm]]:
        return [(name, term) for name, term in self.terms.items() if isinstance(term, WiredTerm)]

    def _self_taught(self) -> dict[str, SelfTaught]:
        return {name: term.self_taught for name, term in self._named_terms() if term.self_taught is not None}

    def _teacher_features(self, images: Tensor) -> dict[str, Tensor]:
        if self.teacher is None or self._read_teacher is None:
            if self._teacher_names:
                raise UserError("the teacher was released; give its features: distiller.prepare(..., teacher=FEATURES)")
            return {}
        if trains(self.teacher):  # the caller has called train() of it, or of a network inside it
            self.teacher.eval()
        with torch.no_grad():
            return self._read_teacher(images)

    def _counts(self, part: Part) -> dict[str, Tensor]:
        counts = {}
        for name, term in self._named_terms():
            with named(name):
                counts[name] = term.count(part.teacher, part.labels, self.ignore_index)
        return counts

    def _check_labels(self, labels: Tensor) -> None:
        """Check the labels of every step on a CPU; on a device only the first, because the check waits for it."""
        if not self._checks_labels or torch.compiler.is_compiling():  # a user's own task may define its own labels
            return
        if labels.device.type != "cpu" and self._labels_are_checked:
            return
        check_labels(labels, self._read_student.shapes["logits"][1], self.ignore_index)
        self._labels_are_checked = True

    def _check_gradient(self, name: str, term: WiredTerm, student: Mapping[str, Tensor], value: Tensor) -> None:
        """Raise in the first training step if a term compares frozen features; warn if its value has no gradient."""
        if self._gradients_are_checked or not self._learns or not term.needs_teacher:
            return
        features = term.features.student
        if not any(student[feature].requires_grad for feature in features):
            raise ValueError(
                f"it gives the student no gradient: '{', '.join(features)}' is in a frozen part or under "
                "torch.no_grad; name another feature"
            )
        if self.reminds and not value.requires_grad:
            self._reminders.warn_of_value(name)

    @property
    def _measures(self) -> bool:
        """True in a step that measures the terms' gradients."""
        return self._learns and (self.measures_gradients or bool(self._waiting()))

    @property
    def _learns(self) -> bool:
        """True in a training step."""
        return self.training and torch.is_grad_enabled()

    def _waiting(self) -> dict[str, AutoWeight]:
        """Return the automatic weights that are not settled yet, by the term's name."""
        return {
            name: term.weight
            for name, term in self._named_terms()
            if isinstance(term.weight, AutoWeight) and not term.weight.settled
        }

    def _measured(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Return the norms of the terms' gradients, if asked for or if a ``weight="auto:..."`` is not settled yet."""
        if not self._measures:
            return {}
        waiting = self._waiting()
        measured = values if self.measures_gradients else {name: values[name] for name in ("task", *waiting) if waiting}
        try:
            norms = gradient_norms(measured, self.student.parameters())
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
