"""What a loss may have to know of the networks before it can be built: widths, classes, the teacher's classifier."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from segdistill.distillation.ensemble import Ensemble
from segdistill.distillation.features import FeatureReader, classifier_path, unwrap
from segdistill.distillation.term import FeatureNames
from segdistill.errors import UserError

FACTS = frozenset({"num_classes", "ignore_index", "channels", "student_channels", "teacher_channels", "classifier"})
"""Parameters of a loss's constructor that a recipe need not give."""


@dataclass(frozen=True)
class NetworkPair:
    """Student and teacher, as the losses between them are built for.

    Attributes:
        student: The student.
        teacher: The teacher; None where there is none.
        num_classes, ignore_index: The data set's.
        probe: An image batch to look at the features with.
    """

    student: nn.Module
    teacher: nn.Module | None
    num_classes: int
    probe: Tensor
    ignore_index: int = 255

    def fact(self, name: str, features: FeatureNames) -> Any:
        """Return one of :data:`FACTS` for a loss on these features.

        ``channels`` are the teacher's, to which the student's are adapted. For a loss on several features, widths are
        a tuple.

        Raises:
            UserError: A feature that the network does not have, or a fact about a teacher where there is none.
        """
        if name in ("num_classes", "ignore_index"):
            return getattr(self, name)
        if name == "student_channels":
            widths = self._widths(self.student, features.student)
            return widths[0] if features.is_single else widths
        if self.teacher is None:
            raise UserError("this loss needs a teacher, and there is none")
        if name == "classifier":
            teacher = unwrap(self.teacher)
            if isinstance(teacher, Ensemble):
                teacher = teacher.members[features.teacher[0].partition(".")[0]]
            return unwrap(teacher).get_submodule(classifier_path(teacher, self.probe))
        widths = self._widths(self.teacher, features.teacher)
        return widths[0] if features.is_single else widths

    def _widths(self, network: nn.Module, names: tuple[str, ...]) -> tuple[int, ...]:
        shapes = FeatureReader(network, names, self.probe).shapes
        return tuple(int(shapes[name][1]) for name in names)
