"""The student as an int8 ONNX file: the better of two ranges, with accuracy control on the validation images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from segdistill.export.accuracy import accurate
from segdistill.export.images import LabeledImages
from segdistill.export.measure import agreement, predictions, score
from segdistill.export.quantize import Quantizer
from segdistill.export.runtime import Student, onnx_session
from segdistill.system.progress import tracked

if TYPE_CHECKING:
    from onnx import ModelProto

CALIBRATION_IMAGES = 40
"""The largest number of training images on which the ranges of activations are measured."""

_RANKING_IMAGES = 4

Predictions = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Int8:
    """A quantized model.

    Attributes:
        model: The model.
        in_float: The layers that are computed in float.
        layers: The number of layers that could be quantized.
        weight_bits: 8, or 7 if that agrees better with the float model on this machine.
    """

    model: "ModelProto"
    in_float: tuple[str, ...]
    layers: int
    weight_bits: int


def to_int8(
    model: "ModelProto",
    metadata: dict[str, Any],
    training: LabeledImages,
    validation: LabeledImages,
    wanted: Predictions,
    note: Callable[[str], None],
) -> Int8 | None:
    """Return the int8 model, or None if it loses too much accuracy with half of its layers in float.

    Args:
        model: The float model.
        metadata: Facts of the model.
        training: The images on which the ranges of activations are measured.
        validation: The images on which the accuracy is measured.
        wanted: The classes of the validation images, by the float model.
        note: Receives lines of progress.
    """
    images = tracked(training, "student.int8.onnx: calibrating", len(training))
    quantizer = Quantizer(model, (image for image, _ in images))
    found: dict[bool, tuple[ModelProto, Predictions]] = {}
    for reduce_range in (False, True):
        candidate = quantizer.quantized(reduce_range=reduce_range)
        what = f"student.int8.onnx: scoring {7 if reduce_range else 8}-bit weights"
        found[reduce_range] = (candidate, predictions(student(candidate, metadata).predict_batch, validation, what))
    reduced = max(found, key=lambda each: agreement(found[each][1], wanted))
    whole, first = found[reduced]

    def quantize(in_float: Sequence[str]) -> "ModelProto":
        return quantizer.quantized(in_float, reduce_range=reduced) if in_float else whole

    def score_of(candidate: "ModelProto") -> float:
        if candidate is whole:
            return score(first, validation)
        what = "student.int8.onnx: scoring with layers in float"
        return score(predictions(student(candidate, metadata).predict_batch, validation, what), validation)

    def ranked() -> list[str]:
        note(f"ranking {len(quantizer.layers)} layers by how many pixels change when one is quantized")
        few = training.first(_RANKING_IMAGES)
        expected = predictions(student(model, metadata).predict_batch, few)

        def kept(layer: str) -> float:
            alone = quantizer.alone(layer, reduce_range=reduced)
            return agreement(predictions(student(alone, metadata).predict_batch, few), expected)

        layers = quantizer.layers
        kept_by = {layer: kept(layer) for layer in tracked(layers, "student.int8.onnx: ranking layers", len(layers))}
        return sorted(layers, key=kept_by.__getitem__)

    def told(layer: str, lost: float) -> None:
        note(f"int8 loses {100 * lost:.2f}: {quantizer.label(layer)} goes back to float")

    accepted = accurate(quantize, score_of, ranked, score(wanted, validation), told)
    if accepted is None:
        return None
    in_float = tuple(quantizer.label(layer) for layer in accepted.in_float)
    return Int8(accepted.model, in_float, len(quantizer.layers), 7 if reduced else 8)


def student(model: "ModelProto", metadata: dict[str, Any], threads: int | None = None) -> Student:
    """Return a student that runs a model in memory.

    Args:
        model: The model.
        metadata: Facts of the model.
        threads: Number of threads; by default one for each core.
    """
    session = onnx_session(model.SerializeToString(), threads)
    return Student(lambda images: session.run([metadata["output"]], {"images": images})[0], metadata)
