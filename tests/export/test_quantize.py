"""What is quantized, and how."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from segdistill.export.candidates import onnx_candidate
from segdistill.export.measure import check, reference
from segdistill.export.program import Program
from segdistill.export.quantize import Quantizer
from segdistill.export.to_onnx import to_onnx
from segdistill.export.trace import trace

METADATA = {"output": "classes"}


class Net(nn.Module):
    """Two branches, of which one is pooled at a size that depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, images):
        x = torch.relu(self.first(images))
        pooled = nn.functional.interpolate(self.pool(x), x.shape[-2:], mode="bilinear")
        return self.last(x + pooled)


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    program = Program(Net()).eval()
    model = to_onnx(trace(program), METADATA)
    images = [np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8) for seed in range(3)]
    return program, model, Quantizer(model, images), images


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return Counter(node.op_type for node in model.graph.node)


def test_weights_are_s8_per_channel_and_activations_u8(made) -> None:
    model = made[2].quantized()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = [tensor for name, tensor in tensors.items() if name.endswith("weight_quantized")]
    assert len(weights) == 2
    for weight in weights:
        scales = next(node.input[1] for node in model.graph.node if weight.name in node.input)
        assert weight.data_type == onnx.TensorProto.INT8
        assert list(tensors[scales].dims) == [weight.dims[0]]
    quantized = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert quantized
    assert {tensors[node.input[2]].data_type for node in quantized} == {onnx.TensorProto.UINT8}


def test_before_the_first_layer_and_after_the_last_stays_float(made) -> None:
    nodes = made[2].quantized().graph.node
    argmax = next(node for node in nodes if node.op_type == "ArgMax")
    source = {output: node for node in nodes for output in node.output}
    assert source[argmax.input[0]].op_type == "Resize"  # without QuantizeLinear between them, which makes ties
    labels = [made[2].label(layer) for layer in made[2].layers]
    assert (labels[0], labels[-1]) == ("first", "last")


def test_products_with_a_matrix_of_the_images_size_stay_float(made) -> None:
    model = made[2].quantized()
    produced = {output: node.op_type for node in model.graph.node for output in node.output}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert len(products) == 2  # rows and columns of the pooling
    sized = [name for node in products for name in node.input]
    assert Counter(produced.get(name) for name in sized)["DequantizeLinear"] <= 1  # the map alone, never a matrix


def test_named_layers_stay_float(made) -> None:
    quantizer = made[2]
    layer = next(layer for layer in quantizer.layers if quantizer.label(layer) == "last")
    stored = {tensor.name for tensor in quantizer.quantized([layer]).graph.initializer}
    assert not any("last" in name and "quantized" in name for name in stored)
    assert any("first" in name and "quantized" in name for name in stored)
    alone = {tensor.name for tensor in quantizer.alone(layer).graph.initializer}
    assert any("last" in name and "quantized" in name for name in alone)
    assert not any("first" in name and "quantized" in name for name in alone)


def test_reduced_range_uses_7_bits(made) -> None:
    for reduce_range, limit in ((False, 127), (True, 64)):
        model = made[2].quantized(reduce_range=reduce_range)
        values = [
            onnx.numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
            if tensor.name.endswith("weight_quantized")
        ]
        assert max(int(np.abs(each.astype(int)).max()) for each in values) == limit


def test_computes_nearly_the_same_at_other_sizes(made) -> None:
    program, _, quantizer, _ = made
    outputs = onnx_candidate(quantizer.quantized(), METADATA, {}).outputs
    images = [np.random.default_rng(9).integers(0, 256, (2, *size, 3), dtype=np.uint8) for size in ((9, 11), (90, 70))]
    expected = reference(program)
    for image, each in zip(images, check(outputs, expected, images), strict=True):
        assert 0 < each.difference < 0.1 * np.abs(expected(image)[0]).max()
