"""A whole run: what it leaves, how it goes on, what it refuses."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from rich.console import Console

from segdistill import models
from segdistill.errors import Stopped, UserError
from segdistill.outputs import read_output
from segdistill.recipes import alone_recipe, load
from segdistill.training import loop
from segdistill.training.rehearsal import rehearse
from segdistill.training.run import distill
from segdistill.training.session import Session
from segdistill.training.teacher_runs import teacher_recipe, teacher_runs
from segdistill.training.train import train_network
from tests.tiny import said, tiny


def lines(folder: Path, split: str) -> list[dict[str, float]]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["split"] == split]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["distiller"]


def test_a_run_leaves_everything_the_readme_lists(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    recipe = tiny()
    distill(recipe, folder, console=console)
    for name in ("recipe.yaml", "environment.json", "metrics.jsonl", "checkpoints/last.pt", "checkpoints/best.pt",
                 "student.safetensors", "student.json", "result.json", "figures/comparison.png",
                 "figures/training_samples.png", "teacher/result.json", "alone/result.json"):  # fmt: skip
        assert (folder / name).is_file(), name
    assert load(folder / "recipe.yaml") == recipe
    result = json.loads((folder / "result.json").read_text())
    for key in (
        "miou",
        "iou",
        "pixel_accuracy",
        "params",
        "flops",
        "iterations",
        "seconds",
        "seed",
        "method",
        "teacher_miou",
    ):
        assert key in result, key
    assert result["method"] == "gskd"
    assert 0 <= result["miou"] <= 1
    assert result["iterations"] == 6
    assert set(result["iou"]) == set(result["teacher"]["iou"])
    shown = said(console)
    for column in ("student alone", "gskd", "teacher", "gain"):
        assert column in shown
    assert not list(folder.rglob("*.tmp"))


def test_step_one_logs_every_terms_share_of_the_gradient(tmp_path: Path, console: Console) -> None:
    distill(tiny("baseline=false"), tmp_path / "run", console=console)
    (shares,) = lines(tmp_path / "run", "gradient_share")
    assert sum(shares[name] for name in ("task", "kd", "gskd")) == pytest.approx(1)
    assert shares["gskd"] > 0


def test_the_students_file_gives_the_scored_network(tmp_path: Path, console: Console) -> None:
    train_network(Session(alone_recipe(tiny())), tmp_path / "run", console=console, label="student alone")
    network, description = models.load(tmp_path / "run", trust=True), models.read_description(tmp_path / "run")
    best = torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)["student"]
    again = models.build("tests.networks:small", 10)
    again.load_state_dict(best)
    images = torch.randn(1, 3, 32, 48)
    torch.testing.assert_close(read_output(network(images)).logits, read_output(again.eval()(images)).logits)
    assert description["classes"][0] == "sky"


@pytest.mark.parametrize("method", ["none", "gskd"])
def test_a_run_that_is_stopped_goes_on_to_the_same_weights_bit_by_bit(
    method: str, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny("baseline=false", f"method={method}")
    distill(recipe, tmp_path / "whole", console=console)

    taken = loop.Training.take_step

    def interrupted(self, module, optimizer, batches, progress):
        out = taken(self, module, optimizer, batches, progress)
        if progress.step == 4 and self.folder.name == "parts":
            signal.raise_signal(signal.SIGINT)
        return out

    monkeypatch.setattr(loop.Training, "take_step", interrupted)
    with pytest.raises(Stopped):
        distill(recipe, tmp_path / "parts", console=console)
    assert torch.load(tmp_path / "parts/checkpoints/last.pt", weights_only=True)["step"] == 4
    distill(recipe, tmp_path / "parts", console=console)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=0)
    assert lines(tmp_path / "whole", "train") == lines(tmp_path / "parts", "train")
    assert "resuming from step 4" in said(console)


def test_a_killed_run_drops_what_it_logged_after_its_checkpoint(tmp_path: Path, console: Console) -> None:
    recipe = alone_recipe(tiny())
    train_network(Session(recipe), tmp_path / "run", console=console, label="student alone")
    (tmp_path / "run/result.json").unlink()
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "split": "train", "loss": 1.0}\n{"step": 100, "spl')
    last = tmp_path / "run/checkpoints/last.pt"
    state = torch.load(last, weights_only=True)
    torch.save({**state, "step": 5}, last)
    train_network(Session(recipe), tmp_path / "run", console=console, label="student alone")
    assert [entry["step"] for entry in lines(tmp_path / "run", "train")] == [1, 2, 4, 6]


def test_a_finished_run_is_not_run_again(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    distill(tiny(), folder, console=console)
    before = (folder / "metrics.jsonl").read_text()
    distill(tiny(), folder, console=console)
    assert "is finished" in said(console)
    assert (folder / "metrics.jsonl").read_text() == before


def test_only_the_missing_part_of_a_run_is_made_up(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    distill(tiny(), folder, console=console)
    shutil.rmtree(folder / "alone")
    before = (folder / "student.safetensors").stat().st_mtime_ns
    distill(tiny(), folder, console=console)
    assert (folder / "alone/result.json").exists()
    assert (folder / "student.safetensors").stat().st_mtime_ns == before


def test_student_alone_and_distilled_begin_with_the_same_weights(tmp_path: Path, console: Console) -> None:
    distill(tiny("train.learning_rate=1e-12", "train.momentum=0"), tmp_path / "run", console=console)
    distilled = models.load(tmp_path / "run", trust=True).state_dict()
    alone = models.load(tmp_path / "run/alone", trust=True).state_dict()
    torch.testing.assert_close(distilled["network.stem.weight"], alone["network.stem.weight"], rtol=1e-6, atol=1e-6)


def test_accumulation_counts_optimiser_steps(tmp_path: Path, console: Console) -> None:
    recipe = alone_recipe(tiny("train.accumulate=2"))
    result = train_network(Session(recipe), tmp_path / "run", console=console, label="student alone")
    assert result["iterations"] == 6


@pytest.mark.parametrize(
    "change",
    [
        "train.precision=bf16-mixed",
        "train.clip=0.1",
        "train.clip_modules=0.1",
        "train.optimizer=adamw",
        "train.warmup=2",
        "data.workers=1",
    ],
)
def test_training_options_run(change: str, tmp_path: Path, console: Console) -> None:
    train_network(Session(alone_recipe(tiny(change))), tmp_path / "run", console=console, label="student alone")
    assert lines(tmp_path / "run", "train")[-1]["loss"] > 0


def test_worker_processes_change_nothing(tmp_path: Path, console: Console) -> None:
    for workers in (0, 2):
        recipe = alone_recipe(tiny(f"data.workers={workers}"))
        train_network(Session(recipe), tmp_path / str(workers), console=console, label="student alone")
    for name, value in weights(tmp_path / "0").items():
        torch.testing.assert_close(weights(tmp_path / "2")[name], value, rtol=0, atol=0)


def test_tensorboard_events_are_written_on_request(tmp_path: Path, console: Console) -> None:
    pytest.importorskip("tensorboard")
    train_network(
        Session(alone_recipe(tiny("train.tensorboard=true"))), tmp_path / "run", console=console, label="student alone"
    )
    assert list((tmp_path / "run/tensorboard").glob("events*"))


def disconnected(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    return (student.detach() - teacher).square().mean()


def zero(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    return (student * 0).sum()


@pytest.mark.parametrize("name", ["disconnected", "zero"])
def test_a_term_without_gradient_is_an_error_that_names_it(name: str, tmp_path: Path, console: Console) -> None:
    recipe = tiny(f"terms.mine.loss={__name__}:{name}", "train.iterations=20", "train.validate_every=20")
    with pytest.raises(UserError, match="term 'mine' sends no gradient to the student"):
        distill(recipe, tmp_path / "run", console=console)


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path, console: Console) -> None:
    recipe = tiny(
        "baseline=false", "train.learning_rate=1e30", "teacher.train.learning_rate=0.01", "train.iterations=20"
    )
    with pytest.raises(UserError, match=r"term '\w+' is (nan|inf) at step \d+ .*; lower train.learning_rate"):
        distill(recipe, tmp_path / "run", console=console)


def test_a_bad_teacher_is_an_error(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match=r"the teacher has \d+.\d% mIoU on val, below teacher.min_miou=0.9"):
        distill(tiny("teacher.min_miou=0.9"), tmp_path / "run", console=console)


def test_a_teacher_that_was_trained_too_short_is_told_so_and_both_cures_work(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="longer, with teacher.train.iterations=NUMBER and another --run-dir, or lower"):
        distill(tiny("teacher.min_miou=0.9"), folder, console=console)
    short = json.loads((folder / "teacher/result.json").read_text())["val_miou"]
    gate = f"teacher.min_miou={short + 1e-4}"
    with pytest.raises(UserError, match="train it longer"):
        distill(tiny(gate), folder, console=console)
    longer = "teacher.train.iterations=40", "teacher.train.learning_rate=0.1"
    distill(tiny(gate, *longer, "baseline=false"), tmp_path / "other", console=console)
    distill(tiny(f"teacher.min_miou={short}", "baseline=false"), folder, console=console)


def test_a_budget_lifts_what_the_teacher_must_reach_and_says_so(tmp_path: Path, console: Console, caplog) -> None:
    caplog.set_level("INFO")
    recipe = tiny("teacher.min_miou=0.9", "train.budget=0.5")
    assert caplog.messages == ["with a budget of 0.5, the teacher need not reach teacher.min_miou=0.9"]
    assert recipe.teacher.min_miou == 0
    distill(recipe, tmp_path / "run", console=console)
    assert [line.split()[-1][0] in "+-" for line in said(console).splitlines() if line.startswith("mIoU")] == [True]
    weights = f"teacher.weights={tmp_path / 'run/teacher'}"
    assert tiny("teacher.min_miou=0.9", "teacher.train=null", weights, "train.budget=0.5").teacher.min_miou == 0.9
    assert tiny("teacher.min_miou=0.9").teacher.min_miou == 0.9


def test_a_teacher_below_the_student_alone_is_said(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    distill(tiny(), folder, console=console)
    for path, score in ((folder / "result.json", 0.3), (folder / "alone/result.json", 0.3)):
        result = json.loads(path.read_text())
        (result if path.parent == folder / "alone" else result["teacher"])["miou"] = score
        path.write_text(json.dumps(result))
    distill(tiny(), folder, console=console)
    assert "is below the student alone" not in said(console).rpartition("is finished")[2]
    result["miou"] = 0.345
    path.write_text(json.dumps(result))
    distill(tiny(), folder, console=console)
    line = "the teacher, with 30.0 mIoU, is below the student alone, with 34.5: train it longer, or take another one"
    assert line in said(console).splitlines()


def test_a_teacher_without_weights_is_an_error(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match="teacher.weights is not set, and random weights teach nothing"):
        distill(tiny("teacher.train=null"), tmp_path / "run", console=console)


def test_another_recipe_in_the_same_folder_is_refused_and_the_difference_named(
    tmp_path: Path, console: Console
) -> None:
    folder = tmp_path / "run"
    distill(tiny("baseline=false"), folder, console=console)
    with pytest.raises(UserError, match="another recipe .*train.iterations: 6 there, 7 now"):
        distill(tiny("baseline=false", "train.iterations=7"), folder, console=console)


def test_resume_wants_a_run_and_a_new_run_an_empty_folder(tmp_path: Path, console: Console) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        distill(tiny(), tmp_path / "run", console=console, must_exist=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        distill(tiny(), tmp_path / "mine", console=console)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_checkpoint_that_is_none_is_named(tmp_path: Path, console: Console) -> None:
    recipe = alone_recipe(tiny())
    train_network(Session(recipe), tmp_path / "run", console=console, label="student alone")
    (tmp_path / "run/result.json").unlink()
    (tmp_path / "run/checkpoints/last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"last.pt is not a checkpoint of a run: .*delete it"):
        train_network(Session(recipe), tmp_path / "run", console=console, label="student alone")


def test_the_teachers_own_recipe_is_a_student_of_its_own() -> None:
    recipe = teacher_recipe(tiny())
    assert recipe.student.model == "tests.networks:large"
    assert recipe.train.iterations == 3
    assert set(recipe.terms) == {"task"}


def test_several_teachers_are_each_trained_and_teach_together(tmp_path: Path, console: Console) -> None:
    teachers = {
        "members": {
            "big": {"model": "tests.networks:large", "train": {"iterations": 2}},
            "small": {"model": "tests.networks:small", "train": {}},
        }
    }
    terms = ("method=kd", "terms.at={teacher: big, on: head}")
    recipe = tiny(*terms, f"teacher={json.dumps(teachers)}", "baseline=false")
    folder = tmp_path / "run"
    result = distill(recipe, folder, console=console)
    assert json.loads((folder / "teachers/big/result.json").read_text())["iterations"] == 2
    assert json.loads((folder / "teachers/small/result.json").read_text())["iterations"] == 6
    params = [json.loads((folder / f"teachers/{name}/result.json").read_text())["params"] for name in ("big", "small")]
    assert result["teacher"]["params"] == sum(params)
    assert load(folder / "recipe.yaml").teacher == recipe.teacher
    distill(recipe, folder, console=console)
    assert "is finished" in said(console)


def test_a_run_of_before_a_key_existed_goes_on(tmp_path: Path, console: Console) -> None:
    recipe = tiny("baseline=false", "method=none")
    distill(recipe, tmp_path / "run", console=console)
    record = tmp_path / "run/recipe.yaml"
    written = record.read_text()
    record.write_text(written.replace("\n  floor: 0.0\n", "\n"))
    assert record.read_text() != written
    distill(recipe, tmp_path / "run", console=console)
    record.write_text(written.replace("\n  floor: 0.0\n", "\n  floor: 0.001\n"))
    with pytest.raises(UserError, match=r"run of another recipe \(.*train.floor: 0.001 there, 0.0 now"):
        distill(recipe, tmp_path / "run", console=console)
    record.write_text(re.sub("(?m)^(experiment|description): .*$", r"\1: other", written))
    distill(recipe, tmp_path / "run", console=console)
    record.write_text("- no recipe")
    with pytest.raises(UserError, match=r"recipe.yaml cannot be read \(.*is not a recipe.*delete the folder"):
        distill(recipe, tmp_path / "run", console=console)


def test_teachers_of_one_architecture_are_not_one_network() -> None:
    teachers = {name: {"model": "tests.networks:large", "train": {"iterations": 100}} for name in "ab"}
    recipe = tiny(f"teacher={json.dumps({'members': teachers})}", "train.budget=0.5")
    recipes = [own for _, own in teacher_runs(recipe).values()]
    assert [own.seed for own in recipes] == [0, 1]
    assert [own.train.iterations for own in recipes] == [50, 50]
    assert [own.train.budget for own in recipes] == [1.0, 1.0]


def broken(student: torch.Tensor, teacher: torch.Tensor, labels: None = None) -> torch.Tensor:
    return (student[..., 1:] - teacher).sum()


def test_a_loss_of_ones_own_that_fails_is_one_line(tmp_path: Path, console: Console) -> None:
    recipe = tiny(f"terms.mine.loss={__name__}:broken", "teacher.train=null", "teacher.weights=anywhere.pth")
    with pytest.raises(UserError, match="^term 'mine': The size of tensor a"):
        rehearse(Session(recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"weights": None})})))


def test_a_teacher_is_one_or_several() -> None:
    with pytest.raises(UserError, match="a teacher is one model, or several in members"):
        tiny("teacher.members={a: {model: 'tests.networks:large', weights: x}}")
    with pytest.raises(UserError, match="options, weights, weights_key, .*and train belong to each of the members"):
        tiny("teacher={members: {a: {model: 'tests.networks:large', weights: x}}, weights: y}")
    with pytest.raises(UserError, match="a member takes no members and no min_miou"):
        tiny("teacher={members: {a: {model: 'tests.networks:large', weights: x, min_miou: 0.5}}}")


def test_a_run_goes_on_with_the_threads_it_was_begun_with(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    recipe = tiny("method=none")
    now = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        distill(recipe, tmp_path, console=console)
        (tmp_path / "result.json").unlink()
        torch.set_num_threads(1)
        distill(recipe, tmp_path, console=console)
        assert torch.get_num_threads() == 2
        assert "resuming with 2 threads" in said(console)
        (tmp_path / "result.json").unlink()
        torch.set_num_threads(1)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        distill(recipe, tmp_path, console=console)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(now)


def test_a_student_has_the_threads_of_its_teacher_though_the_run_stopped_between(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    now = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        distill(tiny("baseline=false"), tmp_path, console=console)
        (tmp_path / "result.json").unlink()
        shutil.rmtree(tmp_path / "checkpoints")
        torch.set_num_threads(1)
        distill(tiny("baseline=false"), tmp_path, console=console)
        assert torch.get_num_threads() == 2
        assert json.loads((tmp_path / "environment.json").read_text())["torch_threads"] == 2
    finally:
        torch.set_num_threads(now)
