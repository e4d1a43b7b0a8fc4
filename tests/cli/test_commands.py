"""The commands as a user calls them, in one process."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.cli import main
from segdistill.evaluation import best_classes, prediction
from segdistill.evaluation.class_scores import class_scores
from segdistill.frames import ahead as frames_ahead
from segdistill.recipes import BUILTIN, METHODS
from segdistill.recipes.schema import Evaluation
from tests.networks import small
from tests.tiny import TINY


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Call the command line; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["segdistill", *arguments])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "distill", "quickstart", *TINY, "--run-dir", str(folder)) == 0
    return folder


def test_help_is_short_and_lists_every_command(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    for command in ("distill", "train", "evaluate", "predict", "doctor", "recipes", "losses", "models", "taps"):
        assert command in said


def test_recipes_lists_and_prints(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "recipes") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in BUILTIN)
    assert run(monkeypatch, "recipes", "quickstart") == 0
    assert "cwd_logits: {loss: cwd, on: logits" in capsys.readouterr().out


def test_losses_lists_losses_and_methods(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "losses") == 0
    said = capsys.readouterr().out
    first_words = {line.split()[0] for line in said.splitlines() if line.strip()}
    assert {card.name for card in LOSS_CARDS} | set(METHODS) <= first_words
    assert "CWD (Shu et al., ICCV 2021)" in said


def test_models_and_taps(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "models") == 0
    assert "deeplabv3_resnet101" in capsys.readouterr().out
    assert run(monkeypatch, "taps", "unet/tu-mobilenetv2_035", "--classes", "3", "--size", "64") == 0
    said = capsys.readouterr().out
    assert "logits" in said
    assert "stage4" in said
    assert "logits are upsampled with align_corners=true" in said
    assert run(monkeypatch, "taps", "torchvision/lraspp_mobilenet_v3_large", "--size", "64") == 0
    assert "logits are upsampled with align_corners=false" in capsys.readouterr().out


def test_train_trains_the_student_or_the_teacher(monkeypatch, tmp_path, capsys) -> None:
    assert run(monkeypatch, "train", "quickstart", *TINY, "--run-dir", str(tmp_path / "alone")) == 0
    assert run(monkeypatch, "train", "quickstart", "--teacher", *TINY, "--run-dir", str(tmp_path / "teacher")) == 0
    alone, teacher = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("alone", "teacher"))
    assert alone["method"] == teacher["method"] == "none"
    assert alone["iterations"] == 6
    assert teacher["iterations"] == 3
    assert alone["params"] < teacher["params"]


def test_evaluate_repeats_the_runs_score(monkeypatch, finished: Path, capsys) -> None:
    assert run(monkeypatch, "evaluate", "--trust", str(finished)) == 0
    mean = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mIoU"))
    expected = 100 * json.loads((finished / "result.json").read_text())["miou"]
    assert mean.split()[1] == f"{expected:.1f}"
    assert run(monkeypatch, "evaluate", "--trust", str(finished), "split=val") == 0
    assert "on val" in capsys.readouterr().out


def test_evaluate_scores_by_another_protocol(monkeypatch, finished: Path, capsys) -> None:
    seen: list[Evaluation] = []

    def noted(*arguments):
        seen.append(arguments[3])
        return class_scores(*arguments)

    monkeypatch.setattr(best_classes, "class_scores", noted)
    changes = ("evaluation.absent=zero", "evaluation.scales=[0.5,1]", "evaluation.window=[16,16]")
    assert run(monkeypatch, "evaluate", "--trust", str(finished), *changes) == 0
    assert {(each.scales, each.window, each.absent) for each in seen} == {((0.5, 1.0), (16, 16), "zero")}
    assert "mIoU" in capsys.readouterr().out


def test_evaluate_puts_the_classes_in_the_data_sets_order(monkeypatch, finished: Path, tmp_path, capsys) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "turned"))
    description = json.loads((folder / "student.json").read_text())
    names = description["classes"]
    weights = load_file(folder / "student.safetensors")
    turned = {key: tensor.roll(1, 0) if key.startswith("classify") else tensor for key, tensor in weights.items()}
    save_file(turned, folder / "student.safetensors")
    (folder / "student.json").write_text(json.dumps({**description, "classes": [names[-1], *names[:-1]]}))
    assert run(monkeypatch, "evaluate", "--trust", str(folder)) == 0
    said = capsys.readouterr().out
    mean = next(line for line in said.splitlines() if line.startswith("mIoU"))
    assert mean.split()[1] == f"{100 * json.loads((finished / 'result.json').read_text())['miou']:.1f}"
    assert f"has the classes in another order, {names[-1]}, sky" in said
    (folder / "student.json").write_text(json.dumps({**description, "classes": ["heaven", *names[1:]]}))
    assert run(monkeypatch, "evaluate", "--trust", str(folder)) == 2
    assert "has other classes than the data set: heaven, " in capsys.readouterr().err


def test_predict_writes_an_overlay_and_labels_of_the_pictures_size(
    monkeypatch, finished: Path, tmp_path, capsys
) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 52, 3), dtype=np.uint8)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    out = tmp_path / "out"
    assert run(monkeypatch, "predict", "--trust", str(finished), str(tmp_path / "in"), "--out", str(out)) == 0
    results = {"a_overlay.png", "a_labels.png", "b_overlay.png", "b_labels.png"}
    assert {file.name for file in out.iterdir()} == {*results, "legend.png"}
    said = capsys.readouterr().out
    assert f"2 overlays and label PNGs in {out}\n2 frames in " in said
    assert re.search(r" s, [\d.]+ frames/s; for each: network [\d.]+ ms, waiting for reading [\d.]+ ms", said)
    labels = Image.open(out / "a_labels.png")
    assert labels.size == (52, 40)
    assert labels.mode == "P"
    assert np.asarray(labels).max() < 10


@pytest.mark.parametrize("ahead", [1, 4, 99])
def test_pictures_are_read_ahead_and_keep_their_names(
    monkeypatch, finished: Path, tmp_path, capsys, ahead: int
) -> None:
    monkeypatch.setattr(frames_ahead, "AHEAD", ahead)
    pictures, out = tmp_path / "in", tmp_path / "out"
    pictures.mkdir()
    for index in range(11):
        pixels = np.random.default_rng(index).integers(0, 255, (24 + index, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{index:02}.png")
    command = ("predict", "--trust", str(finished), str(pictures), "--out", str(out))
    assert run(monkeypatch, *command) == 0
    predictor = prediction.Predictor(finished, trust=True)
    for index in range(11):
        with Image.open(out / f"{index:02}_labels.png") as picture:
            assert np.array_equal(np.asarray(picture), predictor(pictures / f"{index:02}.png"))
    shutil.rmtree(out)
    damaged = pictures / "05.png"
    damaged.write_bytes(damaged.read_bytes()[:80])
    assert run(monkeypatch, *command) == 2
    assert re.search(r"cannot read '.*05\.png'", capsys.readouterr().err)
    assert {f"{index:02}_{kind}.png" for index in range(5) for kind in ("labels", "overlay")} == {
        file.name for file in out.iterdir() if file.name != "legend.png"
    }


def test_doctor_shows_labels_wiring_gradients_and_time(monkeypatch, finished: Path, capsys) -> None:
    changes = (*TINY, "teacher.train=null", f"teacher.weights={finished}/teacher", "data.cache=device")
    assert run(monkeypatch, "doctor", "quickstart", *changes) == 0
    said = capsys.readouterr().out
    for words in (
        "train: 12 images",
        "train: 12 decoded images take 73.7 kB on the device",
        "mIoU on val",
        "teacher_correct",
        "of the gradient at the student",
        "a step takes",
    ):
        assert words in said


def test_the_same_command_again_says_that_it_is_finished(monkeypatch, finished: Path, capsys) -> None:
    assert run(monkeypatch, "distill", "quickstart", *TINY, "--run-dir", str(finished)) == 0
    said = capsys.readouterr().out
    assert "is finished; give another --run-dir" in said
    assert "gain" in said


def test_at_most_25_lines_come_before_the_first_loss(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "segdistill", "distill", "quickstart", *TINY, "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    lines = done.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if "loss" in line)
    assert first < 25
    assert done.stderr == ""


def test_a_message_is_printed_once(monkeypatch, tmp_path: Path, capsys) -> None:
    folder = str(tmp_path / "run")
    words = (*TINY, "train.budget=0.9", "teacher.min_miou=0.9", f"student.weights={tmp_path / 'weights.pth'}")
    torch.save(small(10).state_dict(), tmp_path / "weights.pth")
    assert run(monkeypatch, "distill", "quickstart", *words, "--run-dir", folder) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert "with a budget of 0.9, the teacher need not reach teacher.min_miou=0.9" in said
    assert sum("weights.pth" in line for line in said) == 1  # the distilled student and the student alone begin with it
    assert len(said) == len(set(said))


def test_version(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("segdistill 0.")


def test_ctrl_c_writes_a_checkpoint_and_ends_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "segdistill", "distill", "quickstart", *TINY]
    changes = ["train.iterations=100000", "train.validate_every=100000", "method=none"]
    process = subprocess.Popen(
        [*command, *changes, "--run-dir", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    while "loss" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaint == "stopped; run the same command to resume\n"
    assert (tmp_path / "run/checkpoints/last.pt").exists()
    assert (tmp_path / "run/student.safetensors").exists()
