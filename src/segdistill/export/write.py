"""Export of a student: each file is written after it has been run and compared with PyTorch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from segdistill.data.decoding.images import Array
from segdistill.errors import UserError
from segdistill.export.candidates import (
    Candidate,
    Record,
    executorch_candidate,
    int8_candidate,
    onnx_candidate,
    openvino_candidate,
    pt2_candidate,
)
from segdistill.export.formats import FORMATS, REPORT, files_of
from segdistill.export.images import LabeledImages
from segdistill.export.measure import (
    Outputs,
    agreement,
    batches,
    check,
    milliseconds,
    one_thread,
    predictions,
    reference,
    score,
)
from segdistill.export.program import Program
from segdistill.system.atomic import replacing_together
from segdistill.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.export import ExportedProgram

EQUAL = 0.999
"""The least share of pixels that a float file must have in common with PyTorch, at every size."""

_FACTS = ("model", "num_classes", "classes", "palette", "void", "mean", "std", "scale", "short_side", "align_corners")


class Writer:
    """Writer of the files of one student.

    Args:
        program: The student as a program.
        description: The content of its ``student.json``.
        validation: The images for checks and scores.
        training: Returns the images on which int8 is calibrated.
        note: Receives lines of progress.
    """

    def __init__(
        self,
        program: Program,
        description: Record,
        validation: LabeledImages,
        training: Callable[[], LabeledImages],
        note: Callable[[str], None],
    ) -> None:
        known = {key: description[key] for key in _FACTS if key in description}
        self._metadata: Record = {"version": __version__, "output": "logits" if program.raw else "classes", **known}
        self._program, self._validation, self._training, self._note = program, validation, training, note
        self._expected: Outputs = reference(program)
        self._image = next(iter(validation))[0]
        self._model: ModelProto | None = None
        self._exported: ExportedProgram | None = None

    def write(self, formats: Sequence[str], out: Path) -> Record:
        """Write the files and return the content of ``export.json``.

        Args:
            formats: Names of :data:`~segdistill.export.formats.FORMATS`.
            out: The folder.

        Raises:
            UserError: The network cannot be exported, or a float file differs from PyTorch on too many pixels. That
                file and the next ones are not written. The report of an earlier export is removed before the first
                file is replaced, because it describes other files from then on.
        """
        images = self._validation
        self._note(f"PyTorch: scoring {len(images)} of {images.total} images")
        self._wanted = predictions(self._eager, images, "PyTorch: scoring")
        with one_thread():
            records = {
                "pytorch": {
                    "milliseconds": milliseconds(self._eager, self._image),
                    "score": score(self._wanted, images),
                }
            }
        for name in formats:
            self._note(f"{FORMATS[name].file}: building")
            records[name] = self._written(name, self._candidate(name), out / FORMATS[name].file)
        return {
            "metadata": self._metadata,
            "metric": "top1" if images.classifies else "miou",
            "images": {"split": images.split, "scored": len(images), "all": images.total},
            "timed": {"height": self._image.shape[0], "width": self._image.shape[1], "threads": 1},
            "formats": records,
        }

    def _eager(self, images: Array) -> NDArray[Any]:
        return self._expected(images)[1]

    def _candidate(self, name: str) -> Candidate | None:
        if name == "executorch":  # has another trace, of one image
            return executorch_candidate(self._program, self._metadata, self._validation.largest)
        if self._exported is None:
            from segdistill.export.trace import trace

            self._note("tracing the network for any batch, height and width")
            self._exported = trace(self._program)
        if name == "pt2":
            return pt2_candidate(self._exported, self._metadata)
        from segdistill.export.to_onnx import to_onnx

        if name == "openvino":
            from segdistill.export.antialiasing import without_antialiasing

            return openvino_candidate(to_onnx(without_antialiasing(self._exported), self._metadata), self._metadata)
        if self._model is None:
            self._model = to_onnx(self._exported, self._metadata)
        if name == "int8":
            return int8_candidate(self._model, self._metadata, self._training(), self._validation, self._note)
        return onnx_candidate(self._model, self._metadata, {})

    def _written(self, name: str, candidate: Candidate | None, file: Path) -> Record:
        further = [file.with_name(each) for each in files_of(name)[1:]]
        if candidate is None:
            if file.exists():
                self._note(f"{file.name}: the file of an earlier export is kept")
            return {"written": False, "reason": "loses too much accuracy even with half of its layers in float"}
        images, what = self._validation, f"{file.name}: scoring"
        self._note(f"{file.name}: comparing with PyTorch")
        checks = check(candidate.outputs, self._expected, batches(self._image, resizes=not images.classifies))
        predicted = predictions(candidate.predict, images, what)
        equal = min(agreement(predicted, self._wanted), *(each.equal for each in checks))
        if name != "int8" and equal < EQUAL:
            raise UserError(
                f"{file.name} is not written: it differs from PyTorch on {100 * (1 - equal):.2f} % of the pixels; "
                "export another format"
            )
        with one_thread():
            time = milliseconds(candidate.predict_on_one, self._image)
        contents = [*candidate.further, candidate.content]
        with replacing_together(*further, file) as opened:
            for each, content in zip(opened, contents, strict=True):
                each.write(content)
            file.with_name(REPORT).unlink(missing_ok=True)
        return {
            "written": True,
            "file": file.name,
            "megabytes": sum(map(len, contents)) / 1e6,
            "milliseconds": time,
            "score": score(predicted, images),
            "difference": max(each.difference for each in checks),
            "equal": equal,
            "checks": [each.record() for each in checks],
            **candidate.facts,
        }
