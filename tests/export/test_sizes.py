"""Files of students that were scored at a short side or in windows: what they take, and what is said about it."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import segdistill
from segdistill.data.decoding.short_side import at_short_side
from segdistill.data.layouts import open_layout
from segdistill.errors import UserError
from segdistill.export.images import LabeledImages
from segdistill.export.runtime import Student
from segdistill.jobs.export import bench, export
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.tiny import tiny


def finished(folder: Path, *changes: str) -> Path:
    """Train a student for a few steps."""
    changes = ("method=none", "data.size=[64,90]", "train.iterations=20", "train.learning_rate=0.3", *changes)
    distill(tiny(*changes), folder, console=Console(file=io.StringIO()))
    return folder


def image(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)[:height, :width].copy()


def test_a_short_side_is_left_to_the_user_and_measured_so(tmp_path: Path) -> None:
    keys = ("evaluation.short_side=48", "evaluation.resize_labels=true", "data.scale=0.5")
    folder = finished(tmp_path, *keys)
    console = Console(record=True, width=300, file=io.StringIO())
    report = export(folder, formats="onnx,pt2", trust=True, console=console)
    said = (
        "the files take images resized to a short side of 48, and are measured on images and labels of that size; "
        "segdistill.load and predict resize them"
    )
    assert said in console.export_text(clear=False)
    assert "windows" not in console.export_text()
    assert (report["metadata"]["short_side"], report["metadata"]["scale"]) == (48, 1.0)
    assert report["timed"] == {"height": 48, "width": 68, "threads": 1}
    val = segdistill.Run(folder).result["val_miou"]  # of images that were halved first
    assert report["formats"]["pytorch"]["score"] == pytest.approx(val, abs=0.05)
    for name in ("onnx", "pt2"):
        assert report["formats"][name]["equal"] > 0.999
    run, pixels = segdistill.Run(folder, trust=True), image(96, 160)
    expected = run.predict(pixels)
    assert len(np.unique(expected)) > 1
    for file in ("student.onnx", "student.pt2"):
        student = segdistill.load(folder / file)
        assert (student.predict(pixels) == expected).mean() > 0.9
        assert student.predict_batch(pixels[None]).shape == (1, 96, 160)  # as it is
    console = Console(record=True, width=300, file=io.StringIO())
    assert bench(folder, trust=True, console=console)["onnx"]["score"] == report["formats"]["onnx"]["score"]
    assert said in console.export_text()


def test_scores_at_a_short_side_are_those_of_the_run(tmp_path: Path) -> None:
    folder = finished(tmp_path, "evaluation.short_side=48", "evaluation.resize_labels=true")
    report = export(folder, formats="pt2", trust=True, console=Console(file=io.StringIO()))
    val = segdistill.Run(folder).result["val_miou"]
    assert report["formats"]["pytorch"]["score"] == pytest.approx(val, abs=0.002)


def test_windows_are_not_in_the_files_which_is_said(tmp_path: Path) -> None:
    folder = finished(tmp_path, "evaluation.window=[32,48]")
    console = Console(record=True, width=300, file=io.StringIO())
    export(folder, formats="pt2", trust=True, console=console)
    said = console.export_text()
    assert "the run was scored with evaluation.window=[32,48];" in said
    assert (
        "the files segment whole images, while the run was scored in windows of 32x48: its own score may differ" in said
    )


def test_a_protocol_of_the_run_that_the_table_does_not_have_is_said(tmp_path: Path) -> None:
    keys = ("evaluation.absent=zero", "evaluation.flip=true", "evaluation.scales=[0.5,1.0]")
    folder = finished(tmp_path, *keys)
    said = f"the run was scored with {', '.join(keys)}; the scores in this table are of one pass over each image"
    for job in (export, bench):
        console = Console(record=True, width=300, file=io.StringIO())
        job(folder, trust=True, console=console, **({"formats": "pt2"} if job is export else {}))
        assert said in console.export_text()


def test_a_network_of_one_size_is_refused_in_one_line(tmp_path: Path) -> None:
    name = "tests.networks:Fixed"
    keys = ("evaluation.window=[16,24]", f"student.model={name}", "data.crop=[16,24]")
    folder = finished(tmp_path, *keys)
    expected = r"the student fails on 1 images of 64x90: expected 16x24\.; only networks that take images of any size"
    for job in (lambda: export(folder, formats="pt2", trust=True), lambda: bench(folder, trust=True)):
        with pytest.raises(UserError, match=expected):
            job()


def test_images_have_the_short_side_and_so_has_the_largest() -> None:
    recipe = tiny("data.size=[64,90]")
    layout = open_layout("scenes", None)
    images = LabeledImages(recipe, layout, "val", 2, 32)
    for pixels, labels in images:
        assert (pixels.shape, labels.shape) == ((32, 45, 3), (32, 45))
    assert images.largest == (32, 45)
    native, kept = Session(recipe).dataset("val")[0][1], np.asarray(next(iter(images))[1])
    assert np.array_equal(kept, np.asarray(native)[1::2, 1::2])  # the pixel under each center


def test_a_student_resizes_images_to_its_short_side_and_classes_back() -> None:
    taken = []

    def run(images: np.ndarray) -> np.ndarray:
        taken.append(images)
        return np.arange(4 * 6, dtype=np.uint8).reshape(1, 4, 6)

    pixels = image(8, 12)
    classes = Student(run, {"short_side": 4}).predict(pixels)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), (4, 6), mode="bilinear", antialias=True
    )
    assert np.abs(taken[0][0] - expected[0].permute(1, 2, 0).numpy()).max() <= 1
    assert np.array_equal(classes, np.arange(24).reshape(4, 6).repeat(2, 0).repeat(2, 1))
    smaller = Student(run, {"short_side": 4}).predict(image(2, 3))
    assert np.array_equal(smaller, np.arange(24).reshape(4, 6)[1::2, 1::2])
    Student(run, {"short_side": 4}, run_resizes=True).predict(pixels)
    assert np.array_equal(taken[-1][0], pixels)


@pytest.mark.parametrize("error", [RuntimeError, type("OfARuntime", (Exception,), {})])
def test_an_image_that_a_file_cannot_take_is_one_line(error: type[Exception]) -> None:
    def run(images: np.ndarray) -> np.ndarray:
        raise error("\nbad size\nmore")

    expected = "the student cannot take an image of 8x12: bad size; resize the image to a size that it was trained on"
    with pytest.raises(UserError) as raised:
        Student(run, {}).predict(image(8, 12))
    assert str(raised.value) == expected


@pytest.mark.parametrize(("size", "expected"), [((64, 90), (32, 45)), ((90, 64), (45, 32)), ((1, 500), (32, 16000))])
def test_the_size_at_a_short_side(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert at_short_side(*size, 32) == expected
