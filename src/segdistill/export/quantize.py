"""Quantization of an ONNX model to int8 with ONNX Runtime: activations u8, weights s8 per channel."""

import copy
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdistill.data.decoding.images import Array
from segdistill.export.trace import quiet

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# Softmax, normalizations and products of activations stay in float: they cost little time and much accuracy.
_TYPES = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "MaxPool", "Relu",
    "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
_WEIGHTED = ("Conv", "Gemm", "MatMul")


class Quantizer:
    """Quantized versions of one model, with the ranges of its activations measured once.

    Args:
        model: The float model, with the input ``images``.
        images: The images to measure the ranges on, from the least to the largest value; uint8 (H, W, 3).

    Attributes:
        layers: The names of the convolutions, matrix products and additions that are quantized, in order.
    """

    def __init__(self, model: "ModelProto", images: Iterable[Array]) -> None:
        from onnx import shape_inference

        self._model = shape_inference.infer_shapes(model)
        _name_nodes(self._model)
        self._nodes = quantizable(self._model)
        by_name = {node.name: node for node in self._model.graph.node}
        self._types = sorted({by_name[name].op_type for name in self._nodes})
        self.layers = tuple(name for name in self._nodes if by_name[name].op_type in (*_WEIGHTED, "Add"))
        self._ranges = self._measured(images)

    def quantized(self, in_float: Collection[str] = (), *, reduce_range: bool = False) -> "ModelProto":
        """Return the quantized model.

        Args:
            in_float: The layers that stay in float.
            reduce_range: Use 7 bits for weights, which cannot overflow on processors without VNNI.
        """
        return self._quantized([name for name in self._nodes if name not in in_float], reduce_range)

    def label(self, layer: str) -> str:
        """Return the path of a layer in the network, or its name in the model if it has no weights."""
        node = next(node for node in self._model.graph.node if node.name == layer)
        weights = node.input[1] if len(node.input) > 1 else ""
        return weights.removeprefix("network.").removesuffix(".weight") if weights.endswith(".weight") else layer

    def alone(self, layer: str, *, reduce_range: bool = False) -> "ModelProto":
        """Return the model with one quantized layer."""
        return self._quantized([layer], reduce_range)

    def _quantized(self, nodes: list[str], reduce_range: bool) -> "ModelProto":
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        with quiet():
            quantizer = QDQQuantizer(
                copy.deepcopy(self._model),
                True,  # per channel
                reduce_range,
                QuantType.QInt8,
                QuantType.QUInt8,
                self._ranges,
                nodes,
                [],
                self._types,
                {},
            )
            quantizer.quantize_model()
        model: ModelProto = quantizer.model.model
        return model

    def _measured(self, images: Iterable[Array]) -> Any:
        import onnx
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            """The images, one at a time."""

            def __init__(self) -> None:
                self._images: Iterator[Array] = iter(images)

            def get_next(self) -> dict[str, Array] | None:
                image = next(self._images, None)
                return None if image is None else {"images": image[None]}

        with tempfile.TemporaryDirectory() as folder, quiet():
            file = Path(folder) / "model.onnx"
            onnx.save(self._model, file)
            calibrator = create_calibrator(
                file,
                self._types,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(Reader())
            return calibrator.compute_data()


def quantizable(model: "ModelProto") -> list[str]:
    """Return the names of the nodes to quantize: those between the first layers with weights and the last ones.

    The normalization before and the upsampling and argmax after stay in float, and so does a product with a matrix that
    is computed from the size of the image (see :mod:`segdistill.export.pooling`), whose range depends on the size.
    """
    nodes: list[NodeProto] = list(model.graph.node)
    weights = {tensor.name for tensor in model.graph.initializer}
    after: set[str] = set()  # the tensors that depend on a layer with weights
    before: set[str] = set()  # the tensors on which such a layer depends
    for node in nodes:
        if _has_weights(node, weights) or after.intersection(node.input):
            after.update(node.output)
    for node in reversed(nodes):
        if _has_weights(node, weights) or before.intersection(node.output):
            before.update(node.input)
    chosen = []
    for node in nodes:
        between = _has_weights(node, weights) or (after.intersection(node.input) and before.intersection(node.output))
        computed = node.op_type == "MatMul" and any(name not in weights | after for name in node.input)
        if between and node.op_type in _TYPES and (not computed or _has_weights(node, weights)):
            chosen.append(node.name)
    return chosen


def _has_weights(node: "NodeProto", weights: Collection[str]) -> bool:
    return node.op_type in _WEIGHTED and len(node.input) > 1 and node.input[1] in weights


def _name_nodes(model: "ModelProto") -> None:
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
