"""Every named network in every format, at three sizes and in a batch.

One network of each family by default, without ExecuTorch, which takes half a minute for each; all of them with
EXPORT_ALL=1, which takes about half an hour.
"""

import operator
import os
from functools import lru_cache

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from segdistill import models
from segdistill.export.candidates import (
    Candidate,
    executorch_candidate,
    onnx_candidate,
    openvino_candidate,
    pt2_candidate,
)
from segdistill.export.formats import FORMATS
from segdistill.export.measure import batches, check, reference
from segdistill.export.program import Program
from segdistill.export.quantize import Quantizer
from segdistill.export.to_onnx import to_onnx
from segdistill.export.trace import trace
from tests.export.conftest import needs

FAMILIES = (
    "deeplabv3_mobilenetv2",
    "pspnet_resnet18",
    "segformer_b0",
    "resnet18",
    "deeplabv3plus/tu-test_resnet",  # pads images, pools with partial windows, and computes a rounded-up quotient
)
MORE = ("unet/tu-mobilenetv2_035", "torchvision/lraspp_mobilenet_v3_large")
ALL = bool(os.environ.get("EXPORT_ALL"))
NETWORKS = (*models.names(), FAMILIES[-1], *MORE) if ALL else FAMILIES
METADATA = {"output": "classes"}


def picture() -> NDArray[np.uint8]:
    """Smooth colors with noise."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 8, 10)))
    smooth = nn.functional.interpolate(coarse, (128, 160), mode="bilinear")[0].permute(1, 2, 0).numpy()
    return np.clip(smooth + rng.normal(0, 10, smooth.shape), 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def exported(name: str):
    """Return the program of a network with varied batch statistics, and what the formats are made of."""
    torch.manual_seed(0)
    network = models.build(name, 11)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    program = Program(network).eval()
    traced = trace(program)
    return program, traced, to_onnx(traced, METADATA)


def candidate(name: str, format: str) -> Candidate:
    program, traced, model = exported(name)
    if format == "executorch":
        return executorch_candidate(program, METADATA, picture().shape[:2])
    if format == "openvino":
        return openvino_candidate(model, METADATA)
    if format == "pt2":
        return pt2_candidate(traced, METADATA)
    if format == "int8":
        quantizer = Quantizer(model, [picture(), picture()[:, ::-1].copy()])
        return onnx_candidate(quantizer.quantized(), METADATA, {})
    return onnx_candidate(model, METADATA, {})


@pytest.mark.parametrize("format", [format for format in FORMATS if ALL or format != "executorch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_pytorch(name: str, format: str) -> None:
    needs(format)
    program = exported(name)[0]
    images = batches(picture(), resizes=not name.startswith("resnet"))
    expected = reference(program)
    outputs = candidate(name, format).outputs
    checks = check(outputs, expected, images)
    largest = max(float(np.abs(expected(each)[0]).max()) for each in images)
    assert [(each.batch, each.height, each.width) for each in checks] == [each.shape[:3] for each in images]
    assert max(each.batch for each in checks) == 3
    if format == "int8":  # of random weights, which lose more than trained ones
        assert min(np.corrcoef(outputs(each)[0].ravel(), expected(each)[0].ravel())[0, 1] for each in images) > 0.8
    else:
        assert max(each.difference for each in checks) < 1e-4 * largest
        assert min(each.equal for each in checks) >= 0.999


def test_axes_have_names() -> None:
    model = exported(FAMILIES[0])[2]
    onnx.checker.check_model(model)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"images": ["batch", "height", "width", 3], "classes": ["batch", "height", "width"]}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_sizes_are_computed_without_negative_numbers() -> None:
    """Some runtimes round them towards 0, so that the padding of a side would be negative."""
    graph = exported(FAMILIES[-1])[1].graph
    assert operator.mod in {node.target for node in graph.nodes}
    assert operator.neg not in {node.target for node in graph.nodes}


def test_pixels_become_numbers_before_anything_else() -> None:
    """TensorRT takes images of uint8 into a cast only."""
    model = exported(FAMILIES[0])[2]
    readers = {node.op_type for node in model.graph.node if "images" in node.input}
    assert readers == {"Cast", "Shape"}
