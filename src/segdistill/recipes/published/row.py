"""Row of a paper's result table."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result that a paper reports for one experiment and method, in percent as printed.

    Attributes:
        paper: "GSKD", "AICSD" or "I2CKD".
        table: The number of the table in the paper.
        experiment: The name of the recipe.
        method: ``method`` of the recipe; "none" is the student alone, "teacher" the teacher.
        changes: Further changes to the recipe that give this row, as in ``terms.gskd.samples=8``.
        miou: Mean IoU in percent; None if the table has none.
        spread: The number printed after the plus-minus sign of the mIoU.
        class_accuracy: Mean class accuracy in percent: the share of correct pixels, averaged over the classes.
        top1: Top-1 accuracy in percent, on ImageNet.
        iou: IoU of each class in percent, if the table has it.
        params: Millions of parameters.
        flops: Billions of operations.
        note: A contradiction in the paper, or an assumption about the row.
    """

    paper: str
    table: str
    experiment: str
    method: str
    changes: tuple[str, ...] = ()
    miou: float | None = None
    spread: float | None = None
    class_accuracy: float | None = None
    top1: float | None = None
    iou: Mapping[str, float] = field(default_factory=dict)
    params: float | None = None
    flops: float | None = None
    note: str = ""

    @property
    def score(self) -> float | None:
        """The score that networks are compared by: mIoU, or top-1 accuracy on ImageNet."""
        return self.top1 if self.miou is None else self.miou
