"""One line of a paper's table, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a paper reports of one experiment and method; percentages as printed.

    Attributes:
        paper: "GSKD", "AICSD" or "I2CKD".
        table: Its number there.
        experiment: The recipe.
        method: ``method`` of the recipe; "none" is the student alone, "teacher" the teacher itself.
        changes: What else of the recipe makes this row, as in ``terms.gskd.samples=8``.
        miou: Mean IoU in percent; None where the table has none.
        spread: What is printed behind its plus-minus sign.
        accuracy: Pixel accuracy in percent; top-1 on ImageNet.
        iou: IoU of each class in percent, where the table has them.
        params: Millions of parameters.
        flops: Billions of operations.
        note: What does not fit, or was decided.
    """

    paper: str
    table: str
    experiment: str
    method: str
    changes: tuple[str, ...] = ()
    miou: float | None = None
    spread: float | None = None
    accuracy: float | None = None
    iou: Mapping[str, float] = field(default_factory=dict)
    params: float | None = None
    flops: float | None = None
    note: str = ""

    @property
    def score(self) -> float | None:
        """What networks are compared by: mean IoU, or top-1 accuracy on ImageNet."""
        return self.accuracy if self.miou is None else self.miou
