"""Finished run: its result, its student, and predictions."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdistill.jobs.checks import check_run_folder
from segdistill.runs.metric import read_result

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from segdistill.evaluation.prediction import Predictor


class Run:
    """Finished run in its folder.

    Args:
        folder: The folder of the run.
        trust: Import the code that ``student.json`` names.

    Attributes:
        folder: The folder of the run.

    Raises:
        UserError: If the folder holds no trained student.

    Example::

        run = segdistill.distill("folder", {"data.root": "my_images"})
        run.result["miou"], run.alone.result["miou"]
        labels = run.predict("new_image.jpg")
    """

    def __init__(self, folder: str | Path, *, trust: bool = False) -> None:
        self.folder = Path(folder)
        self._trust = trust
        check_run_folder(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of result.json: scores in [0, 1], parameters, FLOPs, seconds, the teacher's scores."""
        return read_result(self.folder / "result.json")

    @property
    def alone(self) -> "Run | None":
        """The student that was trained alone in this run; None if there is none."""
        return self._within("alone")

    @property
    def teacher(self) -> "Run | None":
        """The teacher that was trained in this run; None if there is none."""
        return self._within("teacher")

    @property
    def student(self) -> "nn.Module":
        """The trained student, in eval mode, on a GPU if one is available."""
        return self._predictor.network

    def predict(self, image: "str | Path | np.ndarray") -> "np.ndarray":
        """Return the class index of every pixel, uint8, shape (H, W).

        Args:
            image: An image file, or RGB pixels, uint8, shape (H, W, 3).

        Raises:
            UserError: If the file cannot be read, or the pixels have another shape or type.
        """
        return self._predictor(image)

    @cached_property
    def _predictor(self) -> "Predictor":
        from segdistill.evaluation.prediction import Predictor

        return Predictor(self.folder, trust=self._trust)

    def _within(self, name: str) -> "Run | None":
        folder = self.folder / name
        return Run(folder, trust=self._trust) if (folder / "student.json").exists() else None
