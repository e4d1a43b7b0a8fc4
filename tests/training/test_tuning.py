"""Both networks run in the form that is fastest, with the same results; the choice is kept with the run."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from segdistill import Distiller, models
from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.data import open_dataset
from segdistill.data import training_loader as loader
from segdistill.distillation.build import build_terms
from segdistill.distillation.facts import NetworkPair
from segdistill.errors import Stopped, UserError
from segdistill.recipes import Recipe, alone_recipe, load
from segdistill.speed.form import Form, keep_channels_last
from segdistill.training import forms, loop, tuning
from segdistill.training.session import Session
from segdistill.training.train import train_network
from tests.speed.test_form import trained
from tests.tiny import said
from tests.training.test_survival import stop_after

CLASSES = len(open_dataset("scenes").classes)
FAST = Form(folds=True, channels_last=True)
SMALL = (
    "data.size=[32,48]", "data.crop=[32,32]", "data.images=[12,3,3]", "teacher.min_miou=0", "train.batch_size=4",
    "train.iterations=6", "train.validate_every=3", "train.accelerator=cpu", "baseline=false",
    "student.model=unet/tu-test_resnet", "student.options={}", "teacher.model=deeplabv3plus/tu-test_resnet",
    "teacher.train=null",
)  # fmt: skip


@pytest.fixture
def prefers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Form], list[Any]]:
    """Return a function that makes a form the fastest one, also in a short run; it returns what was measured."""

    def prefer(form: Form) -> list[Any]:
        measured: list[Any] = []

        def seconds_of(work: dict[Form, Callable[[], object]], device: torch.device, **_: int) -> dict[Form, float]:
            measured.append(list(work))
            for run in work.values():
                run()
            return {each: 1.0 if each == form or each == Form(channels_last=True) else 1.9 for each in work}

        monkeypatch.setattr(forms, "LEAST_STEPS", 1)
        monkeypatch.setattr(forms, "seconds_of", seconds_of)
        return measured

    return prefer


def recipe(tmp_path: Path, *changes: str) -> Recipe:
    """Return a run with a teacher of known weights."""
    file = tmp_path / "teacher.pth"
    if not file.exists():
        torch.manual_seed(0)
        torch.save(trained(models.build("deeplabv3plus/tu-test_resnet", CLASSES)).state_dict(), file)
    return load("quickstart", [*SMALL, f"teacher.weights={file}", *changes])


def train(run: Recipe, folder: Path, console: Console) -> dict[str, Any]:
    return train_network(Session(run), folder, console=console, label="student")


def losses(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if entry["split"] == "train"]


def test_the_choice_is_told_and_kept(tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]]) -> None:
    prefers(FAST)
    train(recipe(tmp_path), tmp_path / "run", console)
    record = json.loads((tmp_path / "run" / "speed.json").read_text())
    assert Form(**record["teacher"]["form"]) in (FAST, Form(channels_last=True))
    assert record["student"]["form"]["channels_last"]
    assert record["teacher"]["gain"] == 1.9
    assert "teacher runs with" in said(console)
    assert "student runs with channels last" in said(console)


def test_a_resumed_run_measures_nothing_and_is_the_same_to_the_bit(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]]
) -> None:
    measured = prefers(FAST)
    train(recipe(tmp_path), tmp_path / "whole", console)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stopped):
            train(recipe(tmp_path), tmp_path / "parts", console)
    assert measured
    measured.clear()
    prefers(Form())  # it would choose otherwise now
    train(recipe(tmp_path), tmp_path / "parts", console)
    assert not measured
    whole, parts = (torch.load(tmp_path / name / "checkpoints" / "last.pt") for name in ("whole", "parts"))
    for name, value in whole["distiller"].items():
        assert value.equal(parts["distiller"][name])


def test_a_run_that_began_without_a_record_goes_on_plain(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stopped):
            train(recipe(tmp_path), tmp_path / "run", console)
    measured = prefers(FAST)
    train(recipe(tmp_path), tmp_path / "run", console)
    assert not measured
    assert not (tmp_path / "run" / "speed.json").exists()


def test_every_process_measures_and_takes_the_choice_of_the_first(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, session = prefers(Form()), Session(recipe(tmp_path))
    distiller = session.build_distiller()
    plain, real = distiller.teacher, session.fabric
    record = {"student": {"form": asdict(Form(channels_last=True))}, "teacher": {"form": asdict(FAST)}}
    theirs = tuning.Choice({}, {}, record)

    class Second:
        """The engine in the second process."""

        global_rank = 1

        def broadcast(self, record: Any) -> Any:
            return theirs

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(Session, "fabric", property(lambda _: Second()))
    tuning.tune(session, distiller, tmp_path, console, is_new=True)
    assert measured  # synchronized batch normalization in the first process would wait for this one
    assert not (tmp_path / "speed.json").exists()
    assert distiller.teacher is not plain
    assert next(p for p in distiller.student.parameters() if p.dim() == 4 and p.shape[1] > 1).is_contiguous(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize("of_teacher", [False, True])
def test_a_run_takes_the_forms_of_the_runs_with_which_it_is_compared(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]], of_teacher: bool
) -> None:
    """The student alone gives the student's form; a run with the same teacher and features gives both."""
    prefers(FAST)
    first = recipe(tmp_path) if of_teacher else alone_recipe(recipe(tmp_path))
    train(first, tmp_path / "first", console)
    measured = prefers(Form())  # noise: now another form seems to be the fastest
    chosen = tuning.choices_in(tmp_path / "first")
    second = recipe(tmp_path, "train.learning_rate=0.001", "train.iterations=5", "seed=1")
    train_network(Session(second), tmp_path / "second", console=console, label="kd", before=chosen)
    assert len(measured) == (0 if of_teacher else 2)  # the teacher: on a small image, then on a whole one
    records = [json.loads((tmp_path / name / "speed.json").read_text()) for name in ("first", "second")]
    assert records[0]["student"] == records[1]["student"]
    assert (records[0]["teacher"] == records[1]["teacher"]) == of_teacher


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("train.batch_size=2", 3),
        ("data.crop=[16,32]", 3),
        ("student.model=deeplabv3plus/tu-test_resnet", 3),
        ("method=gskd", 2),  # it reads a feature of the teacher that kd does not read
        ("train.clip=1", 0),
    ],
)
def test_other_settings_are_measured_again(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]], change: str, expected: int
) -> None:
    measured = prefers(FAST)
    session = Session(recipe(tmp_path, "method=kd"))
    first = tuning.choose(session, session.build_distiller(), console)
    assert len(measured) == 3
    measured.clear()
    other = Session(recipe(tmp_path, "method=kd", change))
    tuning.choose(other, other.build_distiller(), console, [first])
    assert len(measured) == expected


@pytest.mark.parametrize("changes", [["train.plain=true"], []])
def test_plain_and_short_runs_keep_the_networks(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]], changes: list[str]
) -> None:
    measured = prefers(FAST) if changes else []
    train(recipe(tmp_path, *changes), tmp_path / "run", console)
    assert not measured
    assert not (tmp_path / "run" / "speed.json").exists()


def test_a_form_that_changes_the_teacher_is_not_chosen(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefers(FAST)
    of = Form.of

    def wrong(self: Form, network: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
        made = of(self, network, images)
        if self.folds:
            for module in made.modules():
                if isinstance(module, torch.nn.Conv2d) and module.out_channels == CLASSES:
                    module.weight.data.neg_()
        return made

    monkeypatch.setattr(Form, "of", wrong)
    train(recipe(tmp_path), tmp_path / "run", console)
    record = json.loads((tmp_path / "run" / "speed.json").read_text())
    assert not record["teacher"]["form"]["folds"]
    assert not [name for name in record["teacher"]["milliseconds"] if "folded" in name]


def test_the_fast_and_the_plain_path_have_the_same_losses_in_a_run(
    tmp_path: Path, console: Console, prefers: Callable[[Form], list[Any]]
) -> None:
    changes = (
        "train.iterations=50",
        "train.log_every=1",
        "train.optimizer=sgd",
        "method=dist+gskd",
        "train.learning_rate=0.00001",
    )
    train(recipe(tmp_path, *changes, "train.plain=true"), tmp_path / "plain", console)
    prefers(FAST)
    train(recipe(tmp_path, *changes), tmp_path / "fast", console)
    plain, fast = losses(tmp_path / "plain"), losses(tmp_path / "fast")
    assert len(plain) == 50
    assert fast == pytest.approx(plain, rel=1e-3)
    assert fast != plain


@pytest.mark.parametrize(("item", "expected"), [(0.001, 0), (0.1, 2), (0.7, 3), (60.0, 3)])
def test_loader_processes_follow_from_the_time_of_an_item(
    tmp_path: Path,
    console: Console,
    prefers: Callable[[Form], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    item: float,
    expected: int,
) -> None:
    prefers(Form())  # student and teacher take 1 s each
    clock = iter(range(1000))
    monkeypatch.setattr(forms, "allowed_cores", lambda: 4)
    monkeypatch.setattr(forms.time, "perf_counter", lambda: next(clock) * item)
    used: list[int] = []
    monkeypatch.setattr(
        loop,
        "training_loader",
        lambda *args, **kwargs: used.append(kwargs["workers"]) or loader(*args, **kwargs | {"workers": 0}),
    )
    train(recipe(tmp_path, "data.workers=auto"), tmp_path / "run", console)
    record = json.loads((tmp_path / "run" / "speed.json").read_text())["reading"]
    assert used == [record["workers"]] == [expected]
    assert f"{expected} loader processes (data.workers=auto)" in said(console)


@pytest.mark.parametrize(("cores", "processes", "expected"), [(64, 1, 63), (64, 8, 7), (4, 8, 1)])
def test_processes_share_the_cores_for_reading(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, expected: int
) -> None:
    monkeypatch.setattr(forms, "allowed_cores", lambda: cores)
    assert forms.most_workers(processes) == expected


def test_a_run_that_recomputes_is_the_same_to_the_bit(tmp_path: Path, console: Console) -> None:
    train(recipe(tmp_path, "method=dist+gskd"), tmp_path / "plain", console)
    train(recipe(tmp_path, "method=dist+gskd", "train.recompute=true"), tmp_path / "recomputed", console)
    plain, recomputed = (torch.load(tmp_path / name / "checkpoints" / "last.pt") for name in ("plain", "recomputed"))
    for name, value in plain["distiller"].items():
        assert value.equal(recomputed["distiller"][name])
    small = recipe(tmp_path, "student.model=tests.networks:small", "train.recompute=true")
    with pytest.raises(UserError, match="has no blocks of several layers"):
        train(small, tmp_path / "small", console)


# PyTorch's own warning, about the features that the hooks note.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_run_has_the_same_losses(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    train(recipe(tmp_path, "method=dist+gskd", "train.log_every=1"), tmp_path / "plain", console)
    compiled: list[Any] = []

    def eager(module: torch.nn.Module, **options: Any) -> Any:  # the real backend compiles for minutes
        compiled.append(module)
        return compile_(module, **options | {"backend": "eager"})

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", eager)
    changes = ("method=dist+gskd", "train.log_every=1", "train.compile=true")
    train(recipe(tmp_path, *changes), tmp_path / "compiled", console)
    assert isinstance(compiled[0], Distiller)
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-4)


@pytest.mark.parametrize("name", [card.name for card in LOSS_CARDS if card.teacher])
def test_every_loss_has_the_same_values_on_both_paths(name: str) -> None:
    change = f"terms.{name}=" + ("{on: [head, logits]}" if name == "dsd_pixel" else "{}")  # without auxiliary heads
    recipe, rng = load("quickstart", ["method=none", change]), torch.Generator().manual_seed(2)
    batches = [
        (torch.randn(2, 3, 32, 32, generator=rng), torch.randint(0, 5, (2, 32, 32), generator=rng)) for _ in range(50)
    ]
    plain, fast = (_values(recipe, batches, is_fast=is_fast) for is_fast in (False, True))
    assert len(plain) == 50
    assert fast == [pytest.approx(values, rel=1e-3, abs=1e-5) for values in plain]


def _values(recipe: Recipe, batches: list[Any], *, is_fast: bool) -> list[list[float]]:
    """Return the values of all terms and objectives in each step."""
    torch.manual_seed(0)
    teacher, student = (models.build("deeplabv3plus/tu-test_resnet", 5) for _ in range(2))
    terms = build_terms(recipe.term_settings, NetworkPair(student, trained(teacher), 5))
    distiller = Distiller(student, teacher, terms)
    distiller.reminds = False
    if is_fast:
        distiller.replace_teacher(FAST.of(teacher, batches[0][0][:1]))
        keep_channels_last(distiller.student)
    distiller.student.eval()  # the normalization of two values would magnify rounding
    optimizer, values = torch.optim.SGD(distiller.parameters(), lr=1e-6), []
    for number, batch in enumerate(batches):
        torch.manual_seed(number)
        out = distiller(*batch)
        out.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append([float(value.detach()) for value in (*out.terms.values(), *out.inner_objectives.values())])
    return values
