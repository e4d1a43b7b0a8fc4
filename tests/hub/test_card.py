"""The model card: scores, license, names from outside."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from segdistill.errors import UserError
from segdistill.hub.card import card
from segdistill.hub.facts import read_facts
from segdistill.hub.license import check_license
from segdistill.models import read_description
from tests.hub.folders import write, write_run

MODEL = "tests.networks:small"


def written(folder: Path, license: str = "mit") -> str:
    return card(read_facts(folder), read_description(folder), license)


def test_the_hub_reads_the_scores(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL)
    data = ModelCard(written(tmp_path)).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "segdistill", "image-segmentation")
    assert [(each.metric_type, each.metric_name, each.metric_value) for each in data.eval_results] == [
        ("mean_iou", "mIoU", 0.5),
        ("accuracy", "pixel accuracy", 0.8),
    ]
    first = data.eval_results[0]
    assert (first.task_type, first.dataset_type, first.dataset_split) == ("image-segmentation", "scenes", "test")


def test_the_text_has_scores_teacher_method_command_and_versions(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL)
    text = written(tmp_path)
    for part in (
        "distilled from `deeplabv3plus/tu-resnet10t` on the data set scenes with the method `kd`",
        "| mIoU | 43.75 | 50.00 | 62.50 |",
        "| sky | 50.00 | 50.00 | 50.00 |",
        "trained alone with the same seed: +6.25 points",
        "| `kd` | `kd` | `logits` |",
        "```\nsegdistill distill quickstart\n```",
        "commit abc123, torch 2.9.",
        "Classes: 0 road, 1 sky, 2 tree.",
    ):
        assert part in text


def test_without_the_student_alone_there_is_no_gain(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL, alone=None)
    text = written(tmp_path)
    assert "Gain" not in text
    assert "|  | this model | teacher |" in text


def test_in_a_comparison_the_student_alone_has_the_same_seed(tmp_path: Path) -> None:
    write_run(tmp_path / "kd-s0", MODEL, alone=None)
    write(tmp_path / "comparison.json", {})
    scores = {"miou": 0.25, "iou": {"road": 0.25}, "split": "test", "params": 1, "method": "none"}
    write(tmp_path / "none-s1" / "result.json", scores)
    assert read_facts(tmp_path / "kd-s0").gain is None
    write(tmp_path / "none-s0" / "result.json", scores)
    assert read_facts(tmp_path / "kd-s0").gain == 25.0


def test_the_student_alone_has_no_gain_over_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "none-s0", MODEL, method="none", alone=None)
    write(tmp_path / "comparison.json", {})
    assert read_facts(tmp_path / "none-s0").gain is None


def test_the_student_alone_is_not_called_distilled(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL, method="none", alone=None)
    text = written(tmp_path)
    assert "with labels alone" in text
    assert "distilled" not in text
    assert "knowledge-distillation" not in text


def test_a_protocol_of_its_own_is_told_with_the_scores(tmp_path: Path) -> None:
    write_run(tmp_path / "plain", MODEL, "evaluation.batch_size=2")  # it changes no score
    assert "evaluation." not in written(tmp_path / "plain")
    keys = ("scales=[0.75,1.0]", "flip=true", "absent=zero", "short_side=48", "resize_labels=true", "window=[32,48]")
    write_run(tmp_path / "run", MODEL, *(f"evaluation.{key}" for key in keys))
    text = written(tmp_path / "run")
    names = [each.metric_name for each in ModelCard(text).data.eval_results]
    line = next(line for line in text.splitlines() if line.startswith("Scored with "))
    for key in keys:
        assert f"`evaluation.{key}`" in line
        assert all(f"evaluation.{key}" in name for name in names)
    assert [name.partition(" (")[0] for name in names] == ["mIoU", "pixel accuracy"]


NASTY = "a: \"b\" # {c} [d] | 'e' <script>\n---\nlicense: mit"


def test_names_are_escaped(tmp_path: Path) -> None:
    names = (NASTY, "`road`|sky", "*tree*")
    write_run(tmp_path, MODEL, "data.name=folder", f"data.root={yaml.safe_dump('/data/' + NASTY)}", classes=names)
    text = written(tmp_path, "gpl-3.0")
    data = ModelCard(text).data
    assert data.license == "gpl-3.0"
    assert data.eval_results[0].dataset_name == NASTY
    body = text.split("\n---\n", 1)[1]
    assert "\n---\n" not in body  # no second front matter
    assert "<script>" not in body.replace("\\<script\\>", "")
    assert "| \\`road\\`\\|sky | 50.00 |" in body


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("data.root=/home/me/secret/images", "data.root=images"),
        ("/home/me/mine.yaml", "mine.yaml"),
        ("~/runs/a", "a"),
        (r"data.root=C:\Users\me\images", "data.root=images"),
        ("runs/a", "runs/a"),
        ("train.iterations=5", "train.iterations=5"),
        ("data.root=my images", "'data.root=my images'"),
        ("data.root=/home/me/run=3/images", "data.root=images"),
        ("/home/me/run=3/mine.yaml", "mine.yaml"),
        ("data.root=/home/me/a, b/(1)/it's/images", "data.root=images"),
        ("data.root=//home/me/x", "data.root=x"),
        ("x={a: //home/me/x}", "'x={a: x}'"),
        ("x={a: '/home/me/x}", "'x={a: '\"'\"'x}'"),
        ("data.root=file:///home/me/x", "data.root=x"),
        ("data.root=file:/home/me/x", "data.root=x"),
        ("teacher.members={a: {weights: /home/me/secret.pth}}", "'teacher.members={a: {weights: secret.pth}}'"),
        (
            "teacher.members={a: {weights: /home/me/a.pth}, b: /b/b.pth}",
            "'teacher.members={a: {weights: a.pth}, b: b.pth}'",
        ),
        ("x=[/home/me/a b,~/c,C:/me/d,{e: file:///me/e}]", "'x=[a b,c,d,{e: e}]'"),
        ('x={a: "/home/me, you/]/a.pth"}', """'x={a: "a.pth"}'"""),
        ("method=kd(weights=/home/me/a.pth)", "'method=kd(weights=a.pth)'"),
        ("data.root=https://host/images", "data.root=https://host/images"),
        ("x={a: https://host/images, b: runs/a}", "'x={a: https://host/images, b: runs/a}'"),
        ("student.model=unet/resnet18", "student.model=unet/resnet18"),
    ],
)
def test_the_command_shows_no_folders_of_the_machine(word: str, shown: str, tmp_path: Path) -> None:
    write_run(tmp_path, MODEL, command=("__main__.py", "distill", word))
    assert read_facts(tmp_path).command == f"segdistill distill {shown}"


def test_the_command_of_a_script_is_not_shown_as_a_command_of_segdistill(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL, command=("my_training.py", "--epochs", "3"))
    assert read_facts(tmp_path).command == ""


def test_the_license_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"yours to choose: give --license NAME"):
        check_license(None)
    for name in ("", "MIT License", "mit\nx: 1", "-x"):
        with pytest.raises(UserError, match=r"--license must be an identifier such as"):
            check_license(name)
    assert check_license("Apache-2.0") == "apache-2.0"


def test_a_license_that_the_hub_does_not_know_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL)
    data = ModelCard(written(tmp_path, "my-terms-1.0")).data
    assert (data.license, data.license_name) == ("other", "my-terms-1.0")


def test_a_student_that_classifies_has_accuracies(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL, alone=None)
    scores = {"top1": 0.75, "accuracy": {"road": 1.0}, "split": "val", "params": 1}
    write(tmp_path / "result.json", {**scores, "method": "kd", "teacher": scores})
    data = ModelCard(text := written(tmp_path)).data
    assert (data.pipeline_tag, data.tags) == ("image-classification", ["segdistill", "knowledge-distillation"])
    assert [(each.metric_type, each.metric_value) for each in data.eval_results] == [("accuracy", 0.75)]
    assert "top-1 accuracy" in text
    assert "aligned corners" not in text


def test_the_card_tells_how_logits_were_upsampled_and_images_scaled(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL)
    assert "upsampled bilinearly without aligned corners" in written(tmp_path)
    description = {**read_description(tmp_path), "align_corners": True, "scale": 0.5}
    text = card(read_facts(tmp_path), description, "mit")
    assert "upsampled bilinearly with aligned corners" in text
    assert "trained on images scaled by 0.5" in text
    assert "short side" not in text
    assert "windows" not in text


def test_the_card_tells_the_size_and_the_windows_of_the_scores(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL)
    text = card(read_facts(tmp_path), {**read_description(tmp_path), "short_side": 513, "window": [64, 96]}, "mit")
    assert "Resize images to a short side of 513 first, as for the scores." in text
    assert "The scores were computed in windows of 64x96, which overlap." in text


def test_terms_of_data_and_published_weights_are_named(tmp_path: Path) -> None:
    write_run(tmp_path, MODEL, "data.name=cityscapes", "data.root=x", "teacher.model=segformer_b4")
    text = written(tmp_path)
    assert "Data set cityscapes: " in text
    assert "Published weights of `segformer_b4`: NVIDIA's SegFormer weights: non-commercial" in text
