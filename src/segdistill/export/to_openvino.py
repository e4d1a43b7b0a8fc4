"""The student as a pair of OpenVINO files, made from the ONNX model."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segdistill.errors import UserError, first_line
from segdistill.export.openvino_runtime import KEY, core, imported, read

if TYPE_CHECKING:
    from onnx import ModelProto


class OpenVinoFiles(NamedTuple):
    """A model of OpenVINO.

    Attributes:
        xml, weights: The contents of the two files.
        model: The model as it is read from them.
        model_with_scores: The same, whose last output is the scores from which the classes are computed.
    """

    xml: bytes
    weights: bytes
    model: Any
    model_with_scores: Any


def to_openvino(model: "ModelProto", metadata: Mapping[str, Any]) -> OpenVinoFiles:
    """Return the files of an ONNX model, with float32 weights.

    Args:
        model: The ONNX model.
        metadata: Facts for users of the file, stored as JSON.

    Raises:
        UserError: OpenVINO does not know an operation of the model.
    """
    try:
        converted = core().read_model(model.SerializeToString())
        converted.set_rt_info(json.dumps(metadata), KEY)
        with tempfile.TemporaryDirectory() as folder:
            xml, weights = Path(folder) / "student.xml", Path(folder) / "student.bin"
            imported().save_model(converted, xml, compress_to_fp16=False)
            contents = xml.read_bytes(), weights.read_bytes()
            found, scored = read(xml)[0], read(xml)[0]
    except RuntimeError as error:
        raise UserError(f"OpenVINO cannot read the network: {first_line(error)[:200]}; try onnx") from error
    for operation in found.get_ordered_ops():
        if operation.get_type_name() == "TopK":
            last = operation
    if metadata["output"] == "classes":
        name = last.get_friendly_name()
        same = next(each for each in scored.get_ops() if each.get_friendly_name() == name)
        scored.add_outputs(same.input(0).get_source_output())
    return OpenVinoFiles(*contents, found, scored)
