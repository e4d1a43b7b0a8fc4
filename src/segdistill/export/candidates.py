"""Files that are built and can be run, but are not written yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from segdistill.data.decoding.images import Array
from segdistill.export.images import LabeledImages
from segdistill.export.measure import Outputs, Predict, predictions
from segdistill.export.program import Program, classes_of
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
        further: The contents of the further files of the format.
    """

    content: bytes
    outputs: Outputs
    predict: Predict
    predict_on_one: Predict
    facts: Record
    further: Sequence[bytes] = ()


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
    wanted = predictions(student(model, metadata).predict_batch, validation, "float model: scoring")
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


def openvino_candidate(model: "ModelProto", metadata: Record) -> Candidate:
    """Return the files of OpenVINO of an ONNX model."""
    from segdistill.export.openvino_runtime import compiled
    from segdistill.export.to_openvino import to_openvino

    files = to_openvino(model, metadata)
    with_scores = compiled(files.model_with_scores)

    def outputs(images: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        *first, scores = with_scores(images)
        return scores, (first[0] if first else classes_of(torch.from_numpy(scores)).numpy())

    def predict(threads: int | None) -> Predict:
        run = compiled(files.model, threads)
        return Student(lambda images: run(images)[0], metadata).predict_batch

    return Candidate(files.xml, outputs, predict(None), predict(1), {}, (files.weights,))


def executorch_candidate(program: Program, metadata: Record, size: tuple[int, int]) -> Candidate:
    """Return the file of ExecuTorch.

    Args:
        program: The student as a program.
        metadata: Facts of the file.
        size: The height and width of an image; the file takes images up to this size.
    """
    from segdistill.export.executorch_runtime import ExecutorchProgram
    from segdistill.export.to_executorch import largest, to_executorch

    limits = largest(*size)
    content = to_executorch(program, limits, metadata)

    def outputs(images: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        *first, scores = ExecutorchProgram(content)(images)
        return scores.numpy(), (first[0] if first else classes_of(scores)).numpy()

    def predict(threads: int | None) -> Predict:
        loaded = ExecutorchProgram(content, threads)
        return Student(lambda images: loaded(images)[0].numpy(), metadata).predict_batch

    return Candidate(content, outputs, predict(None), predict(1), {"largest": list(limits)})
