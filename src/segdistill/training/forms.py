"""The fastest form of teacher and student, and the number of loader processes, by a measurement on the run's images."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from segdistill.distillation.distiller import Distiller
from segdistill.distillation.features import FeatureReader
from segdistill.errors import FOREIGN
from segdistill.outputs import read_output
from segdistill.recipes.schema import Train
from segdistill.speed.form import FORMS, Form, keep_channels_last
from segdistill.speed.measuring import fastest, seconds_of
from segdistill.system.threads import allowed_cores
from segdistill.training.session import Session

# A run shorter than this many steps keeps both networks as they are: measuring would cost more than it gains.
LEAST_STEPS = 200

# How much faster another form must be, so that noise does not decide.
GAIN = 1.1

# The teacher must predict the same class in this share of the pixels of real images.
SAME_CLASS = 0.999

# Reading in the training process may take this share of a step.
LEAST_READING = 0.02

_HALF = (Form(half=True), Form(folds=True, half=True), Form(folds=True, channels_last=True, half=True))
_SMALL = 96  # side of the image on which forms are tried that may be many times slower


def can_measure(train: Train) -> bool:
    """Return whether a run with these settings is long enough to measure forms for, and may use them."""
    return not train.plain and train.iterations >= LEAST_STEPS


def measure_forms(
    session: Session, distiller: Distiller, console: Console, known: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the forms that are fastest on the run's own images, with what was measured; empty for a short run.

    Args:
        session: The opened recipe.
        distiller: The Distiller of the run, not wrapped.
        console: The console to print on.
        known: The parts of the record that are measured already.
    """
    train, data = session.recipe.train, session.recipe.data
    if train.plain or not (known or can_measure(train)):
        return {}
    # Every process measures, because synchronized batch normalization waits for all of them in each pass.
    images, record = _images(session, max(1, session.images_per_pass)), dict(known)
    for who, measure in (("student", _student), ("teacher", _teacher)):
        if who in record:
            continue
        record[who] = measure(distiller, images, session)
        if record[who] is not None:
            console.print(f"{who} runs {_told(record[who])}", soft_wrap=True)
    if data.workers == "auto" and "reading" not in record:
        record["reading"] = _reading(session, len(images), record)
        console.print(_told_of_reading(record["reading"]), soft_wrap=True)
    return record


def use_forms(session: Session, distiller: Distiller, record: Mapping[str, Any]) -> int:
    """Give the networks the forms of a record, and return the number of loader processes."""
    data = session.recipe.data
    if not record:
        return data.loaders
    if record["teacher"] is not None and distiller.teacher is not None:
        form = Form(**record["teacher"]["form"])
        if form != Form():
            distiller.replace_teacher(form.of(distiller.teacher, _images(session, 1)))
    if record["student"]["form"]["channels_last"]:
        keep_channels_last(distiller.student)
    return data.loaders if data.workers != "auto" else int(record.get("reading", {}).get("workers", 0))


def _images(session: Session, count: int) -> Tensor:
    """Return the first training images."""
    stream = session.stream()
    return torch.stack([stream[position][0] for position in range(count)]).to(session.fabric.device)


def _teacher(distiller: Distiller, images: Tensor, session: Session) -> dict[str, Any] | None:
    """Return the record of the teacher's form; None without a teacher."""
    network = distiller.teacher
    if network is None:
        return None
    candidates = [*FORMS, *(_HALF if session.recipe.train.precision == "32-true" else ())]
    passes: dict[Form, FeatureReader] = {}
    with session.fabric.autocast(), torch.no_grad():
        usual = distiller.teacher_pass(network)
        expected = usual(images)
        for form in candidates:
            try:
                each = usual if form == Form() else distiller.teacher_pass(form.of(network, images[:1]))
                if form == Form() or _agree(each(images[..., :_SMALL, :_SMALL]), usual(images[..., :_SMALL, :_SMALL])):
                    passes[form] = each
            except FOREIGN:  # the network cannot be copied, or a layer rejects the form
                continue
        small = images[:1, :, :_SMALL, :_SMALL]
        tried = seconds_of({form: _with(each, small) for form, each in passes.items()}, images.device, rounds=2)
        kept = [form for form in passes if form == Form() or tried[form] < 2 * min(tried.values())]
        kept = [form for form in kept if form == Form() or _agree(passes[form](images), expected)]
        seconds = seconds_of({form: _with(passes[form], images) for form in kept}, images.device)
    return _record(seconds)


def _student(distiller: Distiller, images: Tensor, session: Session) -> dict[str, Any]:
    """Return the record of the student's form, by its forward and backward pass."""
    steps: dict[Form, Callable[[], None]] = {}
    for form in FORMS[:2]:
        network = copy.deepcopy(distiller.student).train()  # statistics of the student itself stay
        if form.channels_last:
            keep_channels_last(network)
        steps[form] = _step(network, images, session)
    return _record(seconds_of(steps, images.device))


def _step(network: nn.Module, images: Tensor, session: Session) -> Callable[[], None]:
    def step() -> None:
        with session.fabric.autocast():
            logits = read_output(network(images)).logits
        session.fabric.backward(logits.float().square().mean())

    return step


def _reading(session: Session, images: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of the loader processes: enough to read the images of a step while one is computed."""
    stream, seconds = session.stream(), []
    for position in range(min(images, 8)):
        began = time.perf_counter()
        stream[position]
        seconds.append(time.perf_counter() - began)
    step = sum(each["milliseconds"][str(Form(**each["form"]))] for each in record.values() if each is not None)
    share = 1000 * median(seconds) * images / step
    most = most_workers(session.fabric.world_size // session.recipe.train.nodes)
    workers = 0 if share < LEAST_READING else min(most, math.ceil(share) + 1)
    return {"item_milliseconds": round(1000 * median(seconds), 3), "share": round(share, 4), "workers": workers}


def most_workers(processes: int) -> int:
    """Return the most loader processes for one of several processes that train on this machine and share its cores."""
    return max(1, allowed_cores() // processes - 1)


def _told_of_reading(reading: Mapping[str, Any]) -> str:
    return f"reading takes {reading['share']:.1%} of a step: {reading['workers']} loader processes (data.workers=auto)"


def _with(run: Callable[[Tensor], object], images: Tensor) -> Callable[[], object]:
    return lambda: run(images)


def _agree(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Return whether the classes are the same almost everywhere, and each feature is close to the expected one."""
    same = found["logits"].argmax(1) == expected["logits"].argmax(1)
    if same.float().mean() < SAME_CLASS:
        return False
    return all(
        (found[name].float() - value.float()).norm() <= 0.02 * value.float().norm() for name, value in expected.items()
    )


def _record(seconds: dict[Form, float]) -> dict[str, Any]:
    form = fastest(seconds, Form(), gain=GAIN)
    return {
        "form": asdict(form),
        "milliseconds": {str(each): round(1000 * value, 3) for each, value in seconds.items()},
        "gain": round(seconds[Form()] / seconds[form], 2),
    }


def _told(record: dict[str, Any]) -> str:
    """Return the choice in a few words."""
    form, plain = Form(**record["form"]), record["milliseconds"][str(Form())]
    if form == Form():
        return f"as it is: no other form of {len(record['milliseconds'])} is {GAIN:g} times faster"
    chosen = record["milliseconds"][str(form)]
    return f"with {form}: {chosen:.0f} ms a pass instead of {plain:.0f} (train.plain=true leaves it as it is)"
