"""Names of the features that a term compares, in student and teacher."""

from collections.abc import Sequence
from dataclasses import dataclass

Feature = str | tuple[str, str]


@dataclass(frozen=True)
class FeatureNames:
    """The argument ``on`` of a :class:`segdistill.Term`, parsed.

    Attributes:
        student, teacher: The names in each network, in the order of ``on``.
        is_single: True for one feature, which the loss takes as a tensor; False for a list, which it takes as a tuple.
    """

    student: tuple[str, ...]
    teacher: tuple[str, ...]
    is_single: bool

    @classmethod
    def of(cls, on: Feature | Sequence[Feature], teacher: str | None = None) -> "FeatureNames":
        """Parse ``on``; ``teacher`` names one of several teachers."""
        is_single = isinstance(on, str | tuple)
        features: Sequence[Feature] = [on] if isinstance(on, str | tuple) else list(on)
        member = "" if teacher is None else f"{teacher}."
        pairs = [(feature, feature) if isinstance(feature, str) else feature for feature in features]
        return cls(
            student=tuple(student for student, _ in pairs),
            teacher=tuple(member + teacher for _, teacher in pairs),
            is_single=is_single,
        )
