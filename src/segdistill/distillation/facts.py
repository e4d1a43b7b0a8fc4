"""Facts about the networks that some losses need when they are built: widths, classes, the teacher's classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.distillation.ensemble import Ensemble
from segdistill.distillation.feature_names import FeatureNames
from segdistill.distillation.guards import named
from segdistill.distillation.probing import read_features
from segdistill.distillation.taps import classifier_path, probe_for
from segdistill.errors import UserError
from segdistill.outputs import aligns_corners, unwrap

TEACHER_WIDTHS = frozenset({"channels", "teacher_channels"})
FACTS = frozenset({"num_classes", "ignore_index", "align_corners", "student_channels", "classifier"}) | TEACHER_WIDTHS
"""Parameters of a loss's constructor that are filled in from the networks if they are not given."""

Shapes = Mapping[str, torch.Size]


@dataclass(frozen=True)
class Asked:
    """The facts that one loss asks for, as names of its parameters, and the features that it compares."""

    facts: frozenset[str]
    features: FeatureNames


@dataclass(frozen=True)
class NetworkPair:
    """The networks that losses are built for.

    Attributes:
        student: The student.
        teacher: The teacher; None if there is none.
        num_classes: The number of classes of the data set; None for the number of channels of the student's logits.
        probe: An image batch for the forward pass that finds the widths; None for a black image.
        ignore_index: The label of void pixels.
    """

    student: nn.Module
    teacher: nn.Module | None
    num_classes: int | None = None
    probe: Tensor | None = None
    ignore_index: int = 255

    def facts(self, asked: Mapping[str, Asked]) -> dict[str, dict[str, Any]]:
        """Return the facts that the terms' losses ask for, by the term's name.

        At most one forward pass of each network finds the widths. ``channels`` are the channels of the teacher's
        feature, to which the student's feature is adapted. For a loss on several features, widths are a tuple. The
        term ``task`` has no teacher.

        Raises:
            UserError: A network does not have a feature, or a loss asks for a fact about a teacher and there is none;
                the message names the term.
        """
        student = self._student_shapes(asked)
        teacher = self._teacher_shapes(asked)
        facts: dict[str, dict[str, Any]] = {}
        for name, each in asked.items():
            with named(name):
                if each.facts & {*TEACHER_WIDTHS, "classifier"} and (self.teacher is None or name == "task"):
                    raise UserError("this loss needs a teacher, and there is none")
                facts[name] = {fact: self._fact(fact, each.features, student, teacher) for fact in sorted(each.facts)}
        return facts

    def _student_shapes(self, asked: Mapping[str, Asked]) -> Shapes:
        features = {name: each.features.student for name, each in asked.items() if "student_channels" in each.facts}
        counts_classes = self.num_classes is None and any("num_classes" in each.facts for each in asked.values())
        return read_features(self.student, "student", features, self.probe).shapes if features or counts_classes else {}

    def _teacher_shapes(self, asked: Mapping[str, Asked]) -> Shapes:
        features = {
            name: each.features.teacher
            for name, each in asked.items()
            if each.facts & TEACHER_WIDTHS and name != "task"
        }
        if self.teacher is None or not features:
            return {}
        return read_features(self.teacher, "teacher", features, self.probe).shapes

    def _fact(self, fact: str, features: FeatureNames, student: Shapes, teacher: Shapes) -> Any:
        if fact == "ignore_index":
            return self.ignore_index
        if fact == "align_corners":
            return aligns_corners(self.student)
        if fact == "num_classes":
            return student["logits"][1] if self.num_classes is None else self.num_classes
        if fact == "classifier":
            return self._classifier(features)
        names, shapes = (features.student, student) if fact == "student_channels" else (features.teacher, teacher)
        widths = tuple(int(shapes[name][1]) for name in names)
        return widths[0] if features.is_single else widths

    def _classifier(self, features: FeatureNames) -> nn.Module:
        assert self.teacher is not None
        teacher = unwrap(self.teacher)
        if isinstance(teacher, Ensemble):
            teacher = teacher.members[features.teacher[0].partition(".")[0]]
        default = probe_for(teacher)
        return unwrap(teacher).get_submodule(
            classifier_path(teacher, default if self.probe is None else self.probe.to(default))
        )
