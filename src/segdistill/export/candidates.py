"""Files that are built and can be run, but are not written yet."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from segdistill.data.decoding.images import Array
from segdistill.export.images import LabeledImages
from segdistill.export.measure import Outputs, Predict
from segdistill.export.program import classes_of
from segdistill.export.runtime import Student, onnx_session
from segdistill.export.to_int8 import student, to_int8
from segdistill.export.to_onnx import with_scores
from segdistill.export.to_pt2 import ScoreReader, to_pt2

if TYPE_CHECKING:
    from onnx import ModelProto

Record = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A file in memory.

    Attributes:
        content: The content of the file.
        outputs: Its scores and classes.
        predict: Its classes.
        predict_on_one: The same on one thread.
        facts: More for its record.
    """

    content: bytes
    outputs: Outputs
    predict: Predict
    predict_on_one: Predict
    facts: Record


def onnx_candidate(model: "ModelProto", metadata: Record, facts: Record) -> Candidate:
    """Return the file of an ONNX model."""
    session = onnx_session(with_scores(model).SerializeToString())

    def outputs(images: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        *first, scores = session.run(None, {"images": images})
        classes = first[0] if first else classes_of(torch.from_numpy(scores)).numpy()
        return scores, classes

    return Candidate(
        model.SerializeToString(),
        outputs,
        student(model, metadata).predict_batch,
        student(model, metadata, threads=1).predict_batch,
        facts,
    )


def int8_candidate(
    model: "ModelProto",
    metadata: Record,
    training: LabeledImages,
    validation: LabeledImages,
    note: Callable[[str], None],
) -> Candidate | None:
    """Return the int8 file of a float model, or None if it would lose too much accuracy."""
    wanted = [student(model, metadata).predict_batch(image[None])[0] for image, _ in validation]
    found = to_int8(model, metadata, training, validation, wanted, note)
    if found is None:
        return None
    facts = {
        "weight_bits": found.weight_bits,
        "layers": found.layers,
        "in_float": list(found.in_float),
        "calibration_images": len(training),
    }
    return onnx_candidate(found.model, metadata, facts)


def pt2_candidate(exported: ExportedProgram, metadata: Record) -> Candidate:
    """Return the file of torch.export."""
    module = exported.module()

    def outputs(images: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        reader = ScoreReader(module)
        with torch.no_grad():
            result = reader.run(torch.from_numpy(images))
        scores = result if reader.scores is None else reader.scores
        return scores.numpy(), (classes_of(scores) if reader.scores is None else result).numpy()

    @torch.no_grad()
    def run(images: Array) -> NDArray[Any]:
        output: NDArray[Any] = module(torch.from_numpy(images)).numpy()
        return output

    predict = Student(run, metadata).predict_batch
    return Candidate(to_pt2(exported, metadata), outputs, predict, predict, {})
