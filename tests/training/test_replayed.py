"""Runs with a replayed teacher: the same answers as the live teacher's, recorded once, and no teacher in memory."""

import gc
import json
import os
import pickle
import shutil
import signal
import weakref
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from segdistill.comparison.compare import compare
from segdistill.comparison.estimate import estimate
from segdistill.comparison.plan import plan
from segdistill.data import Scenes
from segdistill.errors import Stopped, UserError
from segdistill.recipes import Recipe
from segdistill.recipes.schema import Data, Teacher
from segdistill.replay import key
from segdistill.replay.crops import ReplayStream
from segdistill.runs import lock
from segdistill.training import loop, recording, replayed
from segdistill.training import train as training
from segdistill.training.doctor import examine
from segdistill.training.replayed import record_folder, replay_teacher
from segdistill.training.run import distill
from segdistill.training.session import Session
from tests.networks import sequential
from tests.own_code import edit, own_module
from tests.tiny import TINY, said, tiny

HERE = __name__


class Counted(nn.Module):
    """A teacher that counts the crops that it is shown, without those of trial steps and of the black probe."""

    crops = 0
    alive: ClassVar[weakref.WeakSet[nn.Module]] = weakref.WeakSet()

    def __init__(self, classes: int) -> None:
        super().__init__()
        Counted.alive.add(self)
        self.body = sequential(classes, width=12)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] == (32, 32) and not self.training:
            Counted.crops += int(images.flatten(1).any(1).sum())
        return self.body(images)


def counted(num_classes: int) -> nn.Module:
    return Counted(num_classes)


class Turned(nn.Module):
    """A teacher whose forward depends on code that the key of a record does not cover."""

    factor = 1.0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = sequential(classes, width=12)

    def forward(self, images: Tensor) -> Tensor:
        return Turned.factor * self.body(images)


def turned(num_classes: int) -> nn.Module:
    return Turned(num_classes)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    distill(tiny("method=kd", "baseline=false"), folder, console=Console(quiet=True))
    return folder / "teacher"


def recipe(teacher: Path, *changes: str) -> Recipe:
    given = ("teacher.train=null", f"teacher.weights={teacher}", "teacher.replay=3", "baseline=false")
    return tiny("method=kd", *given, "train.log_every=1", *changes)


def curve(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line.pop("split") in ("train", "first_stage", "gradient_share")]


def last(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "checkpoints/last.pt", weights_only=True)["distiller"]


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_the_stored_answers_are_the_live_teachers(teacher: Path, tmp_path: Path, console: Console, kind: str) -> None:
    session = Session(recipe(teacher, "method=cwd", f"teacher.replay_type={kind}"), runs=tmp_path)
    distiller = session.build_distiller()
    live = session.build_distiller()
    answers = replay_teacher(session, distiller, console)
    assert answers is not None
    assert distiller.teacher is None
    stream = session.stream(answers)
    for position in range(36):  # 3 passes over 12 images: every record
        image, labels, *stored = stream[position]
        part = live.prepare(image[None], labels[None])
        decoded = answers.decoded([tensor[None] for tensor in stored])
        assert set(decoded) == {"logits", "head"}
        for number, (name, feature) in enumerate(decoded.items()):
            expected = part.teacher[name]
            scale = stored[2 * number + 1][0].view(1, -1, 1, 1)
            bound = 0.501 * scale if kind == "int8" else 2e-3 * scale
            assert ((feature - expected).abs() <= bound + 1e-6).all()


CASES = {
    "kd": ["method=kd"],
    "correct": ["terms.kd.labels=teacher_correct"],
    "features": ["method=cwd"],
    "auto": ["terms.kd.weight=auto:0.3"],
    "accumulate": ["train.accumulate=2", "terms.kd.labels=teacher_correct"],
    "workers": ["data.workers=1"],
    "bfloat16": ["train.precision=bf16-mixed"],
    "classifier": ["method=none", "terms.srrl={}"],
    "first stage": ["method=none", "terms.maskd={}"],
    "discriminator": ["method=none", "terms.skd_holistic={}"],
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_losses_are_those_of_the_live_teacher_on_the_same_crops(
    teacher: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, changes: list[str]
) -> None:
    given = recipe(teacher, "teacher.replay_type=float16", *changes)
    distill(given, tmp_path / "a/replayed", console=console)
    assert "teacher: recording 12 images x 3 crops, " in said(console)
    monkeypatch.setattr(training, "replay_teacher", lambda *arguments: None)
    distill(given, tmp_path / "b/live", console=console)
    assert not (tmp_path / "b/replay").exists()
    replayed_curve, live_curve = curve(tmp_path / "a/replayed"), curve(tmp_path / "b/live")
    assert len(live_curve) > 6
    assert len(replayed_curve) == len(live_curve)
    if "terms.skd_holistic={}" in changes:  # rounding grows fast between a student and its discriminator
        live_curve = live_curve[:3]
    tolerance = 2e-2 if "train.precision=bf16-mixed" in changes else 2e-3
    for one, other in zip(replayed_curve, live_curve, strict=False):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance / 10)


def test_several_teachers_are_replayed(teacher: Path, tmp_path: Path, console: Console, monkeypatch) -> None:
    member = {"model": "tests.networks:large", "weights": str(teacher)}
    wide = {"model": "tests.networks:large", "train": {"iterations": 2}}
    section = {"members": {"a": member, "b": wide}, "replay": 3, "replay_type": "float16"}
    terms = ("terms.at={on: head, teacher: b}", "terms.kd.labels=teacher_correct")
    given = tiny(f"teacher={json.dumps(section)}", "method=kd", "baseline=false", "train.log_every=1", *terms)
    distill(given, tmp_path / "a/replayed", console=console)
    assert "b.head 12x8x8, logits 10x8x8, float16" in said(console)
    monkeypatch.setattr(training, "replay_teacher", lambda *arguments: None)
    distill(given, tmp_path / "b/live", console=console)
    for one, other in zip(curve(tmp_path / "a/replayed"), curve(tmp_path / "b/live"), strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=2e-4)


def test_a_member_takes_no_replay() -> None:
    with pytest.raises(UserError, match="a member takes no replay; teacher.replay is for all members together"):
        tiny("teacher={members: {a: {model: 'tests.networks:large', weights: x, replay: 2}}}")


@pytest.mark.parametrize("changes", [["terms.kd.weight=auto:0.3"], ["method=none", "terms.maskd={}"]], ids=" ".join)
def test_a_stopped_run_ends_with_the_same_weights(
    teacher: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, changes: list[str]
) -> None:
    given = recipe(teacher, *changes)
    distill(given, tmp_path / "whole", console=console)
    step = loop.Training.take_step

    def interrupted(self, module, optimizers, batches, progress):
        out = step(self, module, optimizers, batches, progress)
        if progress.step == 4:
            signal.raise_signal(signal.SIGINT)
        return out

    with monkeypatch.context() as patched:
        patched.setattr(loop.Training, "take_step", interrupted)
        with pytest.raises(Stopped):
            distill(given, tmp_path / "parts", console=console)
    distill(given, tmp_path / "parts", console=console)
    assert "resuming from step 4" in said(console)
    expected, resumed = last(tmp_path / "whole"), last(tmp_path / "parts")
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_no_teacher_is_in_memory_during_training(
    teacher: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = loop.Training.take_step, []

    def watched(self, *arguments):
        gc.collect()
        seen.append(len(Counted.alive))
        return step(self, *arguments)

    monkeypatch.setattr(loop.Training, "take_step", watched)
    given = tiny(
        "method=kd", "baseline=false", f"teacher.model={HERE}:counted", "teacher.replay=3", "teacher.min_miou=0"
    )
    distill(given, tmp_path / "a", console=console)
    # As the student of its own training it is there in 3 steps, and never in the 6 steps of its student.
    assert len(seen) == 9
    assert all(seen[:3])
    assert seen[3:] == [0] * 6
    assert json.loads((tmp_path / "a/result.json").read_text())["teacher"]["params"] > 0  # it was scored for the table


def test_each_seed_has_its_order(teacher: Path) -> None:
    streams = [Session(recipe(teacher, f"seed={seed}")).stream() for seed in (0, 1, 0)]
    drawn = [
        [stream.drawn(position) for position in range(36)] for stream in streams if isinstance(stream, ReplayStream)
    ]
    assert drawn[0] == drawn[2] != drawn[1]
    assert sorted(drawn[0]) == sorted(drawn[1])


def test_the_student_alone_draws_new_crops(tmp_path: Path, console: Console) -> None:
    distill(tiny("method=kd", "teacher.replay=1"), tmp_path / "a", console=console)
    distill(tiny("method=kd"), tmp_path / "b", console=console)
    assert curve(tmp_path / "a/alone") == curve(tmp_path / "b/alone")
    assert curve(tmp_path / "a") != curve(tmp_path / "b")


def test_a_comparison_asks_the_teacher_once_for_all_methods_and_seeds(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "crops", 0)
    changes = (f"teacher.model={HERE}:counted", "teacher.replay=3")
    planned = plan("quickstart", [*TINY, *changes], "kd,cwd", "0,1")
    compare(planned, tmp_path / "comparison", console=console)
    rehearsed = 2 * 2  # two images in the trial step of each method
    compared = 3  # one crop in each run that finds the record
    assert Counted.crops == 12 * 3 + rehearsed + compared
    assert len(list((tmp_path / "replay").iterdir())) == 1
    assert said(console).count("teacher: recording") == 1
    assert said(console).count("teacher: replayed from") == 4
    assert "12 images x 3 crops, head 12x8x8, logits 10x8x8, int8" in said(console)  # of both methods


def test_a_later_method_adds_its_features(teacher: Path, tmp_path: Path, console: Console) -> None:
    distill(recipe(teacher), tmp_path / "kd", console=console)
    distill(recipe(teacher, "method=cwd"), tmp_path / "cwd", console=console)
    lines = [line for line in said(console).splitlines() if "recording" in line]
    assert ["logits 10x8x8" in line for line in lines] == [True, False]
    assert ["head 12x8x8" in line for line in lines] == [False, True]
    assert len(list((tmp_path / "replay").iterdir())) == 1


def test_another_run_waits_for_the_answers(teacher: Path, tmp_path: Path, console: Console, monkeypatch) -> None:
    session = Session(recipe(teacher), runs=tmp_path)
    folder = record_folder(session)
    assert folder is not None
    taken = [True, True, False]
    held = lock.held

    def busy(path: Path):
        if path == folder.path and taken.pop(0):
            raise UserError(f"{path} is in use by process 7; wait until it ends, or give another --run-dir")
        return held(path)

    monkeypatch.setattr(replayed.lock, "held", busy)
    monkeypatch.setattr(replayed.time, "sleep", lambda seconds: None)
    replay_teacher(session, session.build_distiller(), console)
    assert said(console).count("in use by process 7; waiting for its answers") == 1
    assert set(folder.features()) == {"logits"}


class FirstOrOther:
    """The engine of one of two processes. What the first one has sent is what the other one receives."""

    def __init__(self, received: list[object] | None = None) -> None:
        self.received, self.sent = received, []

    def broadcast(self, value: object) -> object:
        if self.received is not None:
            return self.received.pop(0)
        self.sent.append(pickle.loads(pickle.dumps(value)))
        return value

    def barrier(self) -> None:
        raise AssertionError("a barrier ends after PyTorch's time limit, which is shorter than a recording")


def in_both_processes(first: Callable[[Path], object], folder: Path, console: Console, monkeypatch) -> None:
    """Lock a folder in the first of two processes, where ``first`` does so, then in the other."""
    engine = FirstOrOther()
    for fabric, held in ((engine, first), (FirstOrOther(engine.sent), lambda path: nullcontext())):
        monkeypatch.setattr(replayed.lock, "held", held)
        with suppress(UserError), replayed._locked(SimpleNamespace(fabric=fabric), folder, console):
            console.print("locked")
    assert engine.sent == []  # the other process has received all


def test_all_processes_wait_together_for_another_run(tmp_path: Path, console: Console, monkeypatch) -> None:
    taken, slept = [True, True, True, False], []

    def held(path: Path):
        if taken.pop(0):
            raise UserError(f"{path} is in use by process 7; wait until it ends")
        return nullcontext()

    monkeypatch.setattr(replayed.time, "sleep", slept.append)
    in_both_processes(held, tmp_path, console, monkeypatch)
    assert slept == [1] * 6
    assert said(console).count("is in use by process 7; waiting for its answers") == 2
    assert said(console).count("locked") == 2


def test_a_folder_that_cannot_be_locked_stops_all_processes(tmp_path: Path, console: Console, monkeypatch) -> None:
    def held(path: Path):
        raise PermissionError(13, "Permission denied")

    in_both_processes(held, tmp_path, console, monkeypatch)
    assert "locked" not in said(console)


def test_a_stopped_recording_is_continued(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "crops", 0)
    given = tiny("method=kd", "baseline=false", f"teacher.model={HERE}:counted", "teacher.replay=3")
    write, written = recording.Recorder._write, []

    def interrupted(self, *arguments):
        write(self, *arguments)
        written.append(1)
        if len(written) == 5:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(recording.Recorder, "_write", interrupted)
        with pytest.raises(Stopped):
            distill(given, tmp_path / "a", console=console)
    assert Counted.crops == 5 * 3 + 2
    distill(given, tmp_path / "a", console=console)
    assert Counted.crops == 12 * 3 + 2 + 2  # no crop twice; the run rehearses again
    assert not list((tmp_path / "replay").rglob("*.part"))
    distill(given, tmp_path / "b/c", console=console)
    parts, whole = next((tmp_path / "replay").iterdir()), next((tmp_path / "b/replay").iterdir())
    assert (parts / "logits.answers").read_bytes() == (whole / "logits.answers").read_bytes()


KEYS = {
    "crop": "data.crop=[32,24]",
    "scales": "data.scales=[0.5,1]",
    "device": "data.cache=device",  # a GPU resizes with other rounding
    "scale": "data.scale=2",
    "count": "teacher.replay=2",
    "type": "teacher.replay_type=float16",
    "size": "data.size=[40,48]",
    "images": "data.images=[11,3,3]",
    "mean": "teacher.mean=[0,0,0]",
    "std": "teacher.std=[1,1,1]",
    "align": "teacher.align_corners=true",
}


@pytest.mark.parametrize("change", KEYS.values(), ids=KEYS)
def test_each_change_of_crops_or_teacher_is_another_record(teacher: Path, tmp_path: Path, change: str) -> None:
    # Without its student.json, so that the recipe may give another normalization than the teacher's run.
    weights = Path(shutil.copy(teacher / "student.safetensors", tmp_path))
    one, other = (record_folder(Session(recipe(weights, *more))) for more in ([], [change]))
    assert one is not None
    assert other is not None
    assert one.path != other.path


SHARED = (
    "seed=3", "train.precision=bf16-mixed", "method=cwd", "data.workers=1", "data.cache=true",
    "data.allow_empty_classes=true", "teacher.min_miou=0.01",
)  # fmt: skip


@pytest.mark.parametrize("change", SHARED)
def test_other_changes_share_the_record(teacher: Path, change: str) -> None:
    one, other = (record_folder(Session(recipe(teacher, *more))) for more in ([], [change]))
    assert one is not None
    assert other is not None
    assert one.path == other.path


def test_every_key_of_data_and_teacher_is_in_the_record_unless_it_is_listed() -> None:
    data, network = set(Data.model_fields), set(Teacher.model_fields)
    assert data - key._NOT_OF_CROPS >= {"crop", "scales", "scale"}
    assert data > key._NOT_OF_CROPS
    assert network > key._NOT_OF_NETWORK
    assert network - key._NOT_OF_NETWORK >= {"model", "options", "mean", "std", "align_corners"}


def test_other_weights_are_another_record(teacher: Path, tmp_path: Path) -> None:
    one = record_folder(Session(recipe(teacher)))
    distill(tiny("method=kd", "baseline=false", "teacher.train.iterations=4"), tmp_path, console=Console(quiet=True))
    other = record_folder(Session(recipe(tmp_path / "teacher")))
    assert one is not None
    assert other is not None
    assert one.path != other.path


def test_an_edited_teacher_is_another_record_and_other_keys_are_as_before(tmp_path: Path) -> None:
    images = Scenes("train", length=4, size=(32, 48))
    with own_module(tmp_path) as module:
        own, named = Teacher(model="code_of_a_test:large"), Teacher(model="unet/resnet18")
        several = Teacher(members={"a": own, "b": named})
        before = [key.record_key(each, "weights", Data(), images) for each in (own, several, named)]
        edit(module, "nn.ReLU()", "nn.GELU()")
        after = [key.record_key(each, "weights", Data(), images) for each in (own, several, named)]
    assert [key.digest(one) == key.digest(other) for one, other in zip(before, after, strict=True)] == [
        False, False, True,
    ]  # fmt: skip
    assert list(before[2]) == ["format", "teacher", "weights", "crops", "type", "augmentation", "data", "images"]


@pytest.mark.parametrize(("factor", "is_other"), [(1.001, False), (0.9, True), (-5.0, True)])
def test_answers_of_a_teacher_whose_code_has_changed_elsewhere_are_refused(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, factor: float, is_other: bool
) -> None:
    changes = ("method=kd", "baseline=false", f"teacher.model={HERE}:turned", "teacher.replay=2")
    distill(tiny(*changes), tmp_path / "a", console=console)
    monkeypatch.setattr(Turned, "factor", factor)
    again = tiny(*changes, "teacher.train=null", f"teacher.weights={tmp_path}/a/teacher")
    if not is_other:  # rounding on another machine
        distill(again, tmp_path / "b", console=console)
        return
    with pytest.raises(UserError, match=r"the recorded feature 'logits' in .* is not what the teacher gives now: .*"):
        distill(again, tmp_path / "b", console=console)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A data set of two classes: 12 images to train on, and 4 to validate on."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for split, count in (("train", 12), ("val", 4)):
        for kind, high in (("images", 255), ("labels", 2)):
            (root / kind / split).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, high, (32, 32, 3) if kind == "images" else (32, 32), np.uint8)
                # Without compression, all files have one size.
                Image.fromarray(pixels).save(root / f"{kind}/{split}/{index}.png", compress_level=0)
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b"]}))
    return root


def of(images: Path, *changes: str) -> Recipe:
    return tiny("method=kd", "baseline=false", "data.name=folder", f"data.root={images}", "teacher.replay=2", *changes)


def test_another_image_is_another_record(images: Path, tmp_path: Path, console: Console) -> None:
    distill(of(images), tmp_path / "a", console=console)
    again = ("teacher.train=null", f"teacher.weights={tmp_path}/a/teacher")
    file = images / "images/train/3.png"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    distill(of(images, *again), tmp_path / "b", console=console)
    assert len(list((tmp_path / "replay").iterdir())) == 2
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    (images / "labels/train/3.png").touch()  # the teacher does not see the labels
    images.rename(tmp_path / "moved")
    distill(of(tmp_path / "moved", *again), tmp_path / "c", console=console)
    assert len(list((tmp_path / "replay").iterdir())) == 2


def test_an_image_that_changed_without_a_trace_is_found(images: Path, tmp_path: Path, console: Console) -> None:
    distill(of(images), tmp_path / "a", console=console)
    again = ("teacher.train=null", f"teacher.weights={tmp_path}/a/teacher")
    one, other = images / "images/train/3.png", images / "images/train/4.png"
    before = record_folder(Session(of(images, *again), runs=tmp_path))
    status = one.stat()
    one.write_bytes(other.read_bytes())
    os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert before == record_folder(Session(of(images, *again), runs=tmp_path))
    with pytest.raises(UserError, match="a crop of image '3' is not the one that the teacher answered"):
        distill(of(images, *again, "train.iterations=12"), tmp_path / "b", console=console)


def test_a_damaged_answer_stops_the_run_in_one_line(teacher: Path, tmp_path: Path, console: Console) -> None:
    distill(recipe(teacher), tmp_path / "a", console=console)
    (file,) = (tmp_path / "replay").rglob("logits.answers")
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"^\S+logits.answers is damaged; delete the folder \S+, and run") as caught:
            distill(recipe(teacher, f"data.workers={workers}", "seed=1"), tmp_path / f"b{workers}", console=console)
        assert "\n" not in str(caught.value)


class Overflowing(Counted):
    def forward(self, images: Tensor) -> Tensor:
        bad = self.training is False and images.shape[2:] == (32, 32) and images[0].any()
        return super().forward(images) * (float("inf") if bad else 1.0)


def overflowing(num_classes: int) -> nn.Module:
    return Overflowing(num_classes)


def test_an_answer_that_is_not_finite_is_named(tmp_path: Path, console: Console, monkeypatch) -> None:
    given = tiny("method=kd", "baseline=false", f"teacher.model={HERE}:overflowing", "teacher.replay=2")
    with pytest.raises(UserError, match=r"the teacher's feature 'logits' of image '.*' cannot be recorded"):
        distill(given, tmp_path / "a", console=console)


def test_a_given_folder_holds_the_records_and_does_not_matter_to_the_run(
    teacher: Path, tmp_path: Path, console: Console
) -> None:
    distill(recipe(teacher, f"teacher.replay_folder={tmp_path}/x"), tmp_path / "a", console=console)
    assert len(list((tmp_path / "x").iterdir())) == 1
    assert not (tmp_path / "replay").exists()
    distill(recipe(teacher, f"teacher.replay_folder={tmp_path}/y"), tmp_path / "a", console=console)
    assert "is finished" in said(console)


def test_doctor_states_the_size_and_writes_nothing(
    teacher: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = recipe(teacher, "method=cwd")
    size = 36 * (10 * 64 + 10 * 8 + 4 + 12 * 64 + 12 * 8 + 4 + 96)
    shown = f"replay: 12 images x 3 crops, head 12x8x8, logits 10x8x8, int8: {size / 1e3:.1f} kB"
    examine(Session(given), console)
    assert f"{shown}, to be recorded once in runs/replay/" in said(console)
    assert not (tmp_path / "runs").exists()
    distill(given, tmp_path / "runs/a", console=console)
    examine(Session(given), console)
    assert "replay: the answers are recorded in runs/replay/" in said(console)
    examine(Session(tiny("method=cwd", "teacher.replay=3")), console)
    assert f"{shown}, once the teacher is trained" in said(console)


def test_a_dry_run_counts_the_teachers_answers_once(
    teacher: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "crops", 0)
    given = ["teacher.train=null", f"teacher.weights={teacher}", "teacher.replay=3"]
    planned = plan("quickstart", [*TINY, *given], "kd,cwd", "0,1")
    estimate(planned, tmp_path / "comparison", console=console)
    assert said(console).count("replay: 12 images x 3 crops, head 12x8x8, logits 10x8x8, int8: 60.8 kB, to be") == 1
    assert said(console).count("the teacher answers all crops once, in") == 1
    assert not list(tmp_path.iterdir())
    compare(planned, tmp_path / "comparison", console=console)
    (tmp_path / "comparison/kd-s0/result.json").unlink()
    estimate(planned, tmp_path / "comparison", console=console)
    assert said(console).count("replay: the answers are recorded in") == 1
    assert said(console).count("the teacher answers all crops once, in") == 1
