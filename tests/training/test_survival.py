"""What a run's folder survives: lost and damaged files, other inputs, an image that cannot be read, signals."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from segdistill import models
from segdistill.errors import Stopped, UserError
from segdistill.recipes import Recipe, load
from segdistill.reports.facts import facts
from segdistill.runs import run_folder
from segdistill.runs.records import environment
from segdistill.system.interrupt import deferred_interrupt
from segdistill.training import loop
from segdistill.training.run import alone_recipe, distill
from segdistill.training.session import Session
from segdistill.training.train import train_network
from tests.own_code import edit, own_module
from tests.tiny import image_folder, said, tiny

ALONE = ("baseline=false", "method=none")


def alone(*changes: str) -> Recipe:
    return alone_recipe(tiny(*changes))


def train(recipe: Recipe, folder: Path, console: Console) -> dict[str, Any]:
    return train_network(Session(recipe), folder, console=console, label="alone")


@pytest.fixture(autouse=True)
def heard_signals() -> Iterator[None]:
    """Under nohup, processes ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT) -> None:
    taken = loop.Training.take_step

    def interrupted(self, module, optimizers, batches, progress):
        out = taken(self, module, optimizers, batches, progress)
        if progress.step == step:
            signal.raise_signal(number)
        return out

    monkeypatch.setattr(loop.Training, "take_step", interrupted)


def steps(folder: Path, split: str) -> list[int]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry["step"] for entry in entries if entry["split"] == split]


def stopped(recipe: Recipe, folder: Path, console: Console, *, step: int) -> None:
    """Leave a run that was stopped after a step."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(step, patch)
        with pytest.raises(Stopped):
            train(recipe, folder, console)


def check_it_belongs_together(folder: Path) -> dict[str, Any]:
    """Assert that result.json, best.pt and student.safetensors are of one student; return the result."""
    result = json.loads((folder / "result.json").read_text())
    best = torch.load(folder / "checkpoints/best.pt", weights_only=True)
    assert best["step"] == result["best_step"]
    assert best["miou"] == result["val_miou"]
    student = load_file(folder / "student.safetensors")
    assert student.keys() == best["student"].keys() or len(student) == len(best["student"])
    for name, value in student.items():
        torch.testing.assert_close(best["student"].get(name, best["student"].get(f"network.{name}")), value)
    scores = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["split"] == "val":
            assert entry["step"] not in scores
            scores[entry["step"]] = entry["miou"]
    assert scores[result["best_step"]] == result["val_miou"]
    return result


STATES: dict[str, Callable[[Recipe, Path, Console], None]] = {}


def state(function: Callable[[Recipe, Path, Console], None]) -> Callable[[Recipe, Path, Console], None]:
    STATES[function.__name__] = function
    return function


@state
def in_the_middle(recipe: Recipe, folder: Path, console: Console) -> None:
    stopped(recipe, folder, console, step=4)


@state
def trained_and_not_scored(recipe: Recipe, folder: Path, console: Console) -> None:
    train(recipe, folder, console)
    (folder / "result.json").unlink()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("loss", ["missing", "damaged", "without_student"])
def test_a_lost_best_student_is_chosen_anew(state: str, loss: str, tmp_path: Path, console: Console) -> None:
    recipe, folder = alone(), tmp_path / "run"
    STATES[state](recipe, folder, console)
    best = folder / "checkpoints/best.pt"
    if loss == "missing":
        best.unlink()
    elif loss == "damaged":
        best.write_bytes(best.read_bytes()[:1000])
    else:
        torch.save({"step": 3, "miou": 0.9}, best)
    train(recipe, folder, console)
    result = check_it_belongs_together(folder)
    since = 4 if state == "in_the_middle" else 6
    assert result["best_step"] >= since
    assert f"the best student is chosen again, from step {since} on" in said(console)


@pytest.mark.parametrize("state", STATES)
def test_following_the_advice_on_an_unreadable_checkpoint(state: str, tmp_path: Path, console: Console) -> None:
    recipe, folder = alone(), tmp_path / "run"
    whole = train(recipe, tmp_path / "whole", console)
    STATES[state](recipe, folder, console)
    last = folder / "checkpoints/last.pt"
    for damaged in (b"", last.read_bytes()[:1000], b"not a checkpoint"):
        last.write_bytes(damaged)
        with pytest.raises(UserError, match=r"last.pt is not a checkpoint of a run: .*; delete it and run the same"):
            train(recipe, folder, console)
    last.unlink()
    result = train(recipe, folder, console)
    check_it_belongs_together(folder)
    assert result["val_miou"] == whole["val_miou"]
    assert result["best_step"] == whole["best_step"]
    assert "starting again from step 0" in said(console)


def test_a_run_begun_anew_leaves_no_student_of_the_old_one(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(alone(), tmp_path / "run", console)
    for name in ("checkpoints/last.pt", "result.json"):
        (tmp_path / "run" / name).unlink()
    stopped(alone("train.learning_rate=0.02"), tmp_path / "run", console, step=1)
    last, best = (torch.load(tmp_path / f"run/checkpoints/{name}.pt", weights_only=True) for name in ("last", "best"))
    for name, value in best["student"].items():
        torch.testing.assert_close(last["distiller"][f"student.{name}"], value, rtol=0, atol=0)


def test_a_best_student_of_later_steps_is_not_this_runs(tmp_path: Path, console: Console) -> None:
    """As when an older checkpoint is put back."""
    folder = tmp_path / "run"
    stopped(alone(), folder, console, step=4)
    last = (folder / "checkpoints/last.pt").read_bytes()
    train(alone(), folder, console)
    (folder / "result.json").unlink()
    (folder / "checkpoints/last.pt").write_bytes(last)
    best = torch.load(folder / "checkpoints/best.pt", weights_only=True)
    torch.save({**best, "step": 5, "miou": 1.0}, folder / "checkpoints/best.pt")
    train(alone(), folder, console)
    assert check_it_belongs_together(folder)["val_miou"] < 1
    assert "best.pt holds another student; the best student is chosen again, from step 4 on" in said(console)


def test_a_run_killed_between_the_best_students_two_files(tmp_path: Path, console: Console) -> None:
    train(alone(), tmp_path / "run", console)
    train(alone("seed=1"), tmp_path / "other", console)
    (tmp_path / "run/result.json").unlink()
    other = (tmp_path / "other/student.safetensors").read_bytes()
    (tmp_path / "run/student.safetensors").write_bytes(other)
    train(alone(), tmp_path / "run", console)
    check_it_belongs_together(tmp_path / "run")


def test_a_damaged_result_is_made_again_as_it_says(tmp_path: Path, console: Console) -> None:
    first = train(alone(), tmp_path / "run", console)
    record = tmp_path / "run/result.json"
    wrong = [{"miou": None}, {"iou": []}, {"iou": {"sky": "high"}}, {"params": "many"}, {"split": 3}, {"teacher": []}]
    contents = [json.dumps({**first, **change}) for change in wrong]
    for content in ("", "{", "null", "[]", '{"miou": 0.1}', "[" * 100_000, *contents):
        record.write_text(content)
        with pytest.raises(UserError, match=r"result.json .*delete it and run the same command again"):
            train(alone(), tmp_path / "run", console)
    record.unlink()
    again = train(alone(), tmp_path / "run", console)
    check_it_belongs_together(tmp_path / "run")
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


@pytest.mark.parametrize("name", ["student.json", "student.safetensors"])
def test_a_lost_student_is_made_again_as_it_says(name: str, tmp_path: Path, console: Console) -> None:
    train(alone(), tmp_path / "run", console)
    before = (tmp_path / "run" / name).read_bytes()
    (tmp_path / "run" / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist; .*delete this file and result.json, and repeat the"):
        models.load(tmp_path / "run", trust=True)
    (tmp_path / "run/result.json").unlink()
    train(alone(), tmp_path / "run", console)
    check_it_belongs_together(tmp_path / "run")
    assert (tmp_path / "run" / name).read_bytes() == before


def test_a_finished_run_without_its_environment_is_that_run(tmp_path: Path, console: Console) -> None:
    for content in (None, "null", "{"):
        distill(tiny(*ALONE), tmp_path / "run", console=console)
        record = tmp_path / "run/environment.json"
        record.unlink() if content is None else record.write_text(content)
        distill(tiny(*ALONE), tmp_path / "run", console=console)
    assert said(console).count("is finished") == 5


def test_a_run_that_is_resumed_elsewhere_records_both_environments(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, now = tmp_path / "run", environment(0)
    stopped(alone(), folder, console, step=2)
    monkeypatch.setattr(run_folder, "environment", lambda seed: {**now, "commit": "other", "gpus": ["A"]})
    stopped(alone(), folder, console, step=3)
    stopped(alone(), folder, console, step=4)  # the same as before
    train(alone(), folder, console)
    record = json.loads((folder / "environment.json").read_text())
    assert record["commit"] == now["commit"]
    assert [(each["step"], each["commit"]) for each in record["resumed"]] == [(2, "other")]
    told = facts(load(folder / "recipe.yaml").model_dump(mode="json"), [folder], ["test"], [0])[-1]
    assert told.startswith(f"commit {now['commit'] or 'unknown'}, other; ")
    assert "; A, " in told


def test_lines_that_are_no_records_are_dropped_from_the_metrics(tmp_path: Path, console: Console) -> None:
    stopped(alone(), tmp_path / "run", console, step=4)
    with (tmp_path / "run/metrics.jsonl").open("ab") as file:
        file.write(b'null\n[]\n3\n{"step": null, "split": "val"}\n{"step": 1, "split": []}\n\xff\n' + b"[" * 100_000)
    train(alone(), tmp_path / "run", console)
    check_it_belongs_together(tmp_path / "run")
    assert steps(tmp_path / "run", "train") == [1, 2, 4, 6]


# Validation.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("step", [3, 6])
def test_a_signal_during_validation_loses_nothing(
    step: int, number: int, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(alone(), tmp_path / "whole", console)
    scored = loop.Training._validate

    def interrupted(self, progress, metrics):
        if progress.step == step:
            signal.raise_signal(number)
        scored(self, progress, metrics)

    monkeypatch.setattr(loop.Training, "_validate", interrupted)
    with pytest.raises(Stopped):
        train(alone(), tmp_path / "run", console)
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == step
    monkeypatch.undo()
    train(alone(), tmp_path / "run", console)
    result = check_it_belongs_together(tmp_path / "run")
    assert result["val_miou"] == whole["val_miou"]
    assert steps(tmp_path / "run", "val") == [3, 6]


def test_a_stop_does_not_wait_for_validation(tmp_path: Path, console: Console) -> None:
    stopped(alone(), tmp_path / "run", console, step=3)
    assert steps(tmp_path / "run", "val") == []
    train(alone(), tmp_path / "run", console)
    assert steps(tmp_path / "run", "val") == [3, 6]


def test_a_run_killed_during_validation_has_the_step_before_it(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(alone(), tmp_path / "whole", console)

    class Killed(BaseException):
        pass

    def killed(self, progress, metrics):
        raise Killed

    monkeypatch.setattr(loop.Training, "_validate", killed)
    with pytest.raises(Killed):
        train(alone(), tmp_path / "run", console)
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 3
    monkeypatch.undo()
    train(alone(), tmp_path / "run", console)
    assert check_it_belongs_together(tmp_path / "run")["val_miou"] == whole["val_miou"]
    assert steps(tmp_path / "run", "val") == [3, 6]


def test_a_run_is_saved_as_often_as_it_says(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    save = loop.Training._save
    monkeypatch.setattr(
        loop.Training, "_save", lambda self, rest, progress: (saved.append(progress.step), save(self, rest, progress))
    )
    train(alone("train.save_every=2"), tmp_path / "a", console)
    assert saved == [2, 3, 4, 6]
    saved.clear()
    train(alone(), tmp_path / "b", console)
    assert saved == [3, 6]
    (tmp_path / "a/result.json").unlink()
    train(alone("train.save_every=5"), tmp_path / "a", console)  # how often is no part of what is run


def test_how_images_are_read_is_no_part_of_a_run(tmp_path: Path, console: Console) -> None:
    train(alone("data.cache=false"), tmp_path, console)
    (tmp_path / "result.json").unlink()
    train(alone("data.cache=true", "data.workers=1", "evaluation.batch_size=2"), tmp_path, console)
    (tmp_path / "result.json").unlink()
    with pytest.raises(UserError, match=r"data\.cache: False there, device now"):  # it rounds differently on a GPU
        train(alone("data.cache=device"), tmp_path, console)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    try:
        with deferred_interrupt() as interrupted:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)


# Inputs.


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A data set of two classes with an image for each of the first twelve positions, and four to validate on."""
    return image_folder(tmp_path / "data")


def of(images: Path, *changes: str) -> Recipe:
    return tiny(*ALONE, "data.name=folder", f"data.root={images}", "train.batch_size=2", *changes)


def test_other_images_are_refused_and_named(images: Path, tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    stopped(of(images), folder, console, step=4)
    removed = [images / kind / "train/3.png" for kind in ("images", "labels")]
    contents = [file.read_bytes() for file in removed]
    for file in removed:
        file.unlink()
    with pytest.raises(UserError, match=r"begun with other inputs \(train: 12 images there, 11 now\)"):
        distill(of(images), folder, console=console)
    for file, content in zip(removed, contents, strict=True):
        file.with_name("x.png").write_bytes(content)
    with pytest.raises(UserError, match=r"\(train: other names among its 12 images\)"):
        distill(of(images), folder, console=console)
    for file in removed:  # the first advice: put back what was there
        file.with_name("x.png").rename(file)
    distill(of(images), folder, console=console)
    assert "changes" not in check_it_belongs_together(folder)


def test_other_images_are_taken_with_resume_and_remembered(images: Path, tmp_path: Path, console: Console) -> None:
    stopped(of(images), tmp_path / "run", console, step=4)
    for kind in ("images", "labels"):
        (images / kind / "val/3.png").unlink()
    distill(of(images), tmp_path / "run", console=console, must_exist=True)
    change = {"step": 4, "change": "val: 4 images there, 3 now"}
    assert check_it_belongs_together(tmp_path / "run")["changes"] == [change]
    assert json.loads((tmp_path / "run/environment.json").read_text())["changes"] == [change]
    distill(of(images), tmp_path / "run", console=console)
    assert "is finished" in said(console)


def test_another_teacher_is_refused(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 1):
        train(alone("student.model=tests.networks:large", f"seed={seed}"), tmp_path / f"teacher{seed}", console)
    file = tmp_path / "teacher.safetensors"
    file.write_bytes((tmp_path / "teacher0/student.safetensors").read_bytes())
    recipe = tiny("baseline=false", "method=kd", "teacher.train=null", f"teacher.weights={file}")
    stop_after(4, monkeypatch)
    with pytest.raises(Stopped):
        distill(recipe, tmp_path / "run", console=console)
    monkeypatch.undo()
    file.write_bytes((tmp_path / "teacher1/student.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"begun with other inputs \(teacher's weights: the content of the file has ch"):
        distill(recipe, tmp_path / "run", console=console)
    distill(recipe, tmp_path / "run", console=console, must_exist=True)
    assert "teacher's weights" in check_it_belongs_together(tmp_path / "run")["changes"][0]["change"]


def test_edited_code_is_refused_and_taken_with_resume(tmp_path: Path, console: Console) -> None:
    names = ("student.model=code_of_a_test:small", "terms.mine.loss=code_of_a_test:mine")
    recipe, run = tiny("baseline=false", "method=none", "teacher.train.iterations=1", *names), tmp_path / "run"
    with own_module(tmp_path) as module:
        with pytest.MonkeyPatch.context() as patch:
            stop_after(4, patch)
            with pytest.raises(Stopped):
                distill(recipe, run, console=console)
        edit(module)
        changes = [f"code_of_a_test:{name}: its source file has changed" for name in ("small", "mine")]
        remedy = "restore them, give another --run-dir, delete the folder, or accept the new ones with --resume"
        with pytest.raises(UserError, match=rf"begun with other inputs \({'; '.join(changes)}\); {remedy}"):
            distill(recipe, run, console=console)
        edit(module, ".square()", ".abs()")
        edit(module, "  # the student", "")
        with pytest.MonkeyPatch.context() as patch:
            stop_after(5, patch)
            with pytest.raises(Stopped):
                distill(recipe, run, console=console)  # a comment is no change
        edit(module)
        distill(recipe, run, console=console, must_exist=True)
        accepted = [{"step": 5, "change": change} for change in changes]
        assert check_it_belongs_together(run)["changes"] == accepted


def test_a_checkpoint_of_before_inputs_were_remembered_goes_on(tmp_path: Path, console: Console) -> None:
    stopped(alone(), tmp_path / "run", console, step=4)
    last = tmp_path / "run/checkpoints/last.pt"
    state = torch.load(last, weights_only=True)
    for key in ("inputs", "shares"):
        del state[key]
    torch.save(state, last)
    train(alone(), tmp_path / "run", console)
    check_it_belongs_together(tmp_path / "run")


# An image that cannot be read.


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_costs_no_step(
    images: Path, workers: int, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = of(images, "train.validate_every=6", "train.accumulate=2", f"data.workers={workers}")
    folder = tmp_path / "run"
    distill(recipe, tmp_path / "whole", console=console)
    order = loop.TrainingStream(range(12), None, recipe.seed)  # type: ignore[arg-type]
    file = images / f"images/train/{sorted(map(str, range(12)))[order.index(9)]}.png"  # of step 5, its second part
    whole = file.read_bytes()
    taken = loop.Training.take_step

    def damaging(self, module, optimizers, batches, progress):
        file.write_bytes(whole[:-500])
        return taken(self, module, optimizers, batches, progress)

    monkeypatch.setattr(loop.Training, "take_step", damaging)
    with pytest.raises(UserError, match=rf"{file.name}"):
        distill(recipe, folder, console=console)
    monkeypatch.undo()
    assert (folder / "recipe.yaml").exists()
    assert steps(folder, "train") == [1, 2, 4]
    assert torch.load(folder / "checkpoints/last.pt", weights_only=True)["step"] == 4
    file.write_bytes(whole)
    distill(recipe, folder, console=console)
    check_it_belongs_together(folder)
    ours, theirs = (
        torch.load(each / "checkpoints/last.pt", weights_only=True)["distiller"]
        for each in (folder, tmp_path / "whole")
    )
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


def test_an_image_of_another_size_in_bytes_is_mentioned(images: Path, tmp_path: Path, console: Console) -> None:
    stopped(of(images), tmp_path / "run", console, step=4)
    Image.new("RGB", (32, 32)).save(images / "images/train/0.png")
    distill(of(images), tmp_path / "run", console=console)
    assert "student alone: train: " in said(console)
    assert " bytes there, " in said(console)


def test_a_run_that_never_took_a_step_leaves_nothing(images: Path, tmp_path: Path, console: Console) -> None:
    for file in (images / "images/train").iterdir():
        file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(UserError, match="images/train"):
        distill(of(images), tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()


# Pictures.


@pytest.mark.parametrize("name", ["comparison.png", "training_samples.png"])
@pytest.mark.parametrize("loss", ["missing", "truncated"])
def test_a_lost_picture_is_drawn_again(name: str, loss: str, tmp_path: Path, console: Console) -> None:
    distill(tiny(*ALONE), tmp_path / "run", console=console)
    file = tmp_path / "run/figures" / name
    whole = file.read_bytes()
    if loss == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[:-20])
    before = (tmp_path / "run/metrics.jsonl").read_text()
    distill(tiny(*ALONE), tmp_path / "run", console=console)
    assert file.read_bytes() == whole
    assert (tmp_path / "run/metrics.jsonl").read_text() == before
