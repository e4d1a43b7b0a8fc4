"""The exported program computes what a run predicts."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segdistill import models
from segdistill.evaluation.prediction import Predictor
from segdistill.export.antialiasing import weights
from segdistill.export.program import Program, scaled_length
from tests.networks import small


def student(folder: Path, **extra: object) -> tuple[Program, Predictor]:
    """Save a student that expects other images than ImageNet's, and aligned corners."""
    torch.manual_seed(0)
    network = models.wrap(small(4), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.1), align_corners=True).eval()
    nn.init.normal_(network.network.norm.running_mean)
    models.save_student(network, folder, name="tests.networks:small", num_classes=4, classes=list("abcd"), extra=extra)
    return Program.of(models.load(folder, trust=True), models.read_description(folder)), Predictor(folder, trust=True)


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(40, 52), (37, 41), (64, 33)])
def test_is_what_the_run_predicts(size: tuple[int, int], tmp_path: Path) -> None:
    program, predictor = student(tmp_path)
    pixels = image(*size)
    classes = program(torch.from_numpy(pixels)[None])
    assert classes.dtype == torch.uint8
    assert len(classes.unique()) == 4
    assert np.array_equal(classes[0].numpy(), predictor(pixels))


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
def test_scales_as_the_run_does(scale: float, tmp_path: Path) -> None:
    program, predictor = student(tmp_path, scale=scale)
    pixels = image(65, 83)  # half of them is a tie
    equal = program(torch.from_numpy(pixels)[None])[0].numpy() == predictor(pixels)
    if "AVX" in torch.backends.cpu.get_cpu_capability():  # elsewhere, torchvision does not scale in whole numbers
        assert equal.mean() > (0.998 if scale > 1 else 0.9999)
    assert equal.mean() > 0.995


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_rows_are_scaled_and_rounded_before_columns(scale: float) -> None:
    class Seen(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.images = images
            return images

    network, pixels = Seen(), torch.from_numpy(image(18, 26))
    Program(network, mean=(0, 0, 0), std=(1, 1, 1), scale=scale)(pixels[None])
    height, width = round(18 * scale), round(26 * scale)
    like = torch.zeros((), dtype=torch.float64)
    across = (weights(width, 26, like) @ pixels.double().permute(2, 1, 0)).add(0.501).floor()  # (3, width, 18)
    expected = (weights(height, 18, like) @ across.mT).add(0.501).floor()
    torch.testing.assert_close(255 * network.images[0], expected.float(), rtol=0, atol=1e-3)


def test_void_classes_are_never_predicted(tmp_path: Path) -> None:
    program, predictor = student(tmp_path, void=[1, 2])
    pixels = image(40, 52)
    classes = program(torch.from_numpy(pixels)[None])[0]
    assert set(classes.unique().tolist()) == {0, 3}
    assert np.array_equal(classes.numpy(), predictor(pixels))


def test_raw_gives_the_scores_of_the_classes(tmp_path: Path) -> None:
    program, _ = student(tmp_path, void=[1])
    images = torch.from_numpy(np.stack([image(40, 52), 255 - image(40, 52)]))
    raw = Program.of(models.load(tmp_path, trust=True), models.read_description(tmp_path), raw=True)
    scores = raw(images)
    assert scores.shape == (2, 4, 40, 52)
    assert scores.dtype == torch.float32
    assert torch.isinf(scores[:, 1]).all()
    assert torch.equal(scores.argmax(1), program(images).long())


def test_many_classes_need_more_than_a_byte() -> None:
    images = torch.from_numpy(image(16, 16))[None]
    assert Program(small(256)).eval()(images).dtype == torch.uint8
    assert Program(small(257)).eval()(images).dtype == torch.int32


def test_classifiers_give_one_class_per_image() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    assert Program(network).eval()(torch.zeros(2, 8, 9, 3, dtype=torch.uint8)).shape == (2,)


@pytest.mark.parametrize("scale", [0.5, 0.25, 1 / 3, 0.75, 1.5, 2.0, 0.01])
def test_lengths_are_rounded_as_in_python(scale: float) -> None:
    fraction = Fraction(scale).limit_denominator(1000)
    found = [scaled_length(length, fraction) for length in range(1, 500)]
    assert found == [max(1, round(length * fraction)) for length in range(1, 500)]
