"""The student as an ONNX file with named axes, whose metadata names the classes."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from segdistill.errors import UserError, first_line
from segdistill.export.trace import AXES, quiet

if TYPE_CHECKING:
    from onnx import ModelProto


def to_onnx(exported: ExportedProgram, metadata: Mapping[str, Any]) -> "ModelProto":
    """Return the ONNX model: input ``images``, output ``classes`` or ``logits``, weights inside.

    Args:
        exported: The traced program.
        metadata: Facts for users of the file, stored as JSON; ``output`` is the name of the output.

    Raises:
        UserError: The exporter of PyTorch does not know an operation of the network.
    """
    try:
        with quiet():
            program = torch.onnx.export(
                exported, dynamo=True, verbose=False, input_names=["images"], output_names=[metadata["output"]]
            )
        assert program is not None
        model: ModelProto = program.model_proto
    except Exception as error:  # the exporter raises anything
        raise UserError(f"PyTorch cannot write the network as ONNX: {first_line(error)[:200]}; try pt2") from error
    _name_axes(model)
    model.metadata_props.add(key="segdistill", value=json.dumps(metadata))
    for key in ("classes", "mean", "std"):  # again, under names that readers of other programs look for
        if key in metadata:
            model.metadata_props.add(key=key, value=json.dumps(metadata[key]))
    return model


def _name_axes(model: "ModelProto") -> None:
    """Name the dynamic axes batch, height and width, which PyTorch calls s34, s90 and so on."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    names = {dims[axis].dim_param: name for axis, name in AXES.items()}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda match: names.get(match[0], match[0]), dim.dim_param)


def with_scores(model: "ModelProto") -> "ModelProto":
    """Return a copy of a model whose last output is the scores, from which the classes are computed."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for node in model.graph.node:
        if node.op_type == "ArgMax":
            copied.graph.output.add(name=node.input[0])
    return copied
