"""Cost of a step with a replayed teacher, and the error of the recorded answers, in one process.

A step of the student alone, of each method with the live teacher, and of each method with the replayed one take turns,
so that a slow moment of the machine meets all of them. A step is the forward pass, the terms, backward and the
optimizer. The times to read a batch and to decode the answers are shown apart; the step includes decoding. On a CPU all
times are processor time. The goal is a step of at most 1.03 times the student's.

    python benchmarks/replay.py [RECIPE] [KEY=VALUE ...] [--methods kd,cwd,dist,gskd,aicsd] [--rounds 5]
        [--no-live] [--error FILE]

The teacher has random weights, on which the time does not depend. With --error, the teacher with the weights of that
file or run folder answers, and the error of both types of records is printed instead of times.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from rich.console import Console

from segdistill import losses
from segdistill.data import training_loader
from segdistill.evaluation.cost import count_parameters
from segdistill.recipes import Recipe, alone_recipe, load
from segdistill.training.optimizer import build_optimizers, step_together
from segdistill.training.replayed import record_folder, replay_teacher
from segdistill.training.session import Session

Step = Callable[[], tuple[float, float, float]]
"""Takes a step, and returns the seconds that reading, decoding, and the step with decoding have taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="quickstart")
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--methods", default="kd,cwd,dist,gskd,aicsd")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each step (default: %(default)s)")
    parser.add_argument("--no-live", action="store_true", help="leave out the steps with the live teacher")
    parser.add_argument("--error", help="weights of the teacher whose answers are compared")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        if args.error:
            errors(args, Path(runs))
        else:
            times(args, Path(runs))


def opened(args: argparse.Namespace, runs: Path, *more: str) -> Session:
    given = ("teacher.train=null", "teacher.min_miou=0", "data.cache=true", "teacher.replay=2")
    return Session(load(args.recipe, [*args.changes, *given, *more]), runs=runs)


def times(args: argparse.Namespace, runs: Path) -> None:
    methods = args.methods.split(",")
    torch.manual_seed(0)
    sides: dict[str, Step] = {}
    networks = ""
    for method in methods:
        session = opened(args, runs, f"method={method}")
        if not sides:
            sides["student"] = step_of(session.variant(alone_recipe(session.recipe)), replays=False)
            networks = described(session)
        if not args.no_live:
            sides[f"{method}, live"] = step_of(session, replays=False)
        sides[f"{method}, replayed"] = step_of(session, replays=True)
    seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for side in sides.values():  # warm up
        side()
    for _ in range(args.rounds):
        for name, side in sides.items():
            seconds[name].append(side())
    print(f"{networks}, {args.rounds} rounds, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':20}{'read ms':>10}{'decode ms':>11}{'step ms':>10}{'least':>10}{'most':>10}{'/ student':>12}")
    # A ratio of each round, whose median does not depend on a slow moment
    alone = [step for _, _, step in seconds["student"]]
    for name, measured in seconds.items():
        reads, decodes, steps = zip(*measured, strict=True)
        ratio = median(step / base for step, base in zip(steps, alone, strict=True))
        values = "".join(f"{1e3 * value:10.1f}" for value in (median(steps), min(steps), max(steps)))
        print(f"{name:20}{1e3 * median(reads):10.1f}{1e3 * median(decodes):11.2f}{values}{ratio:12.3f}")


def described(session: Session) -> str:
    recipe: Recipe = session.recipe
    teacher = session.teacher()
    assert teacher is not None
    millions = count_parameters(teacher.network) / 1e6
    height, width = recipe.data.crop
    return (
        f"{recipe.student.model}, teacher of {millions:.1f} M parameters, {recipe.train.batch_size} crops of "
        f"{height}x{width}, {session.fabric.device}"
    )


def step_of(session: Session, *, replays: bool) -> Step:
    distiller, fabric, train = session.build_distiller(), session.fabric, session.recipe.train
    answers = replay_teacher(session, distiller, Console(quiet=True)) if replays else None
    optimizers = build_optimizers(distiller, train)
    distiller.train()
    loader = training_loader(
        session.stream(answers), train.batch_size, steps=10**6, workers=session.recipe.data.workers
    )
    batches: Iterator[list[torch.Tensor]] = iter(loader)

    def step() -> tuple[float, float, float]:
        began = now(fabric.device)
        read = next(batches)
        ready = now(fabric.device)
        images, labels, *stored = (tensor.to(fabric.device) for tensor in read)
        features = None if answers is None else answers.decoded(stored)
        decoded = now(fabric.device)
        with fabric.autocast():
            part = None if features is None else distiller.prepare(images, labels, features)
            out = distiller(images, labels, part)
        out.total.backward()
        step_together(optimizers, None)
        return ready - began, decoded - ready, now(fabric.device) - ready

    return step


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


@torch.no_grad()
def errors(args: argparse.Namespace, runs: Path) -> None:
    columns = ("bytes/crop", "argmax kept", "KL(live, stored)", "KD live", "KD stored", "feature error")
    print(" " * 10 + "".join(f"{column:>18}" for column in columns))
    for kind in ("int8", "float16"):
        session = opened(args, runs, "method=cwd", f"teacher.weights={args.error}", f"teacher.replay_type={kind}")
        distiller, live = session.build_distiller(), session.build_distiller()
        answers = replay_teacher(session, distiller, Console(quiet=True))
        folder = record_folder(session)
        assert answers is not None
        assert folder is not None
        torch.manual_seed(0)
        batch = session.recipe.train.batch_size
        rows = []
        for read in training_loader(session.stream(answers), batch, steps=8):
            images, labels, *stored = (tensor.to(session.fabric.device) for tensor in read)
            truth, decoded = live.prepare(images, labels).teacher, answers.decoded(stored)
            student = F.avg_pool2d(truth["logits"], 3, 1, 1) + torch.randn_like(truth["logits"])
            one, other = truth["logits"], decoded["logits"]
            kept = (one.argmax(1) == other.argmax(1)).float().mean()
            divergence = losses.kd(other, one)  # of the stored answer as a student of the live one
            feature, stored_feature = truth["head"], decoded["head"]
            relative = (feature - stored_feature).norm() / feature.norm()
            values = (kept, divergence, losses.kd(student, one), losses.kd(student, other), relative)
            rows.append([float(value) for value in values])
        kept, divergence, one, other, relative = (sum(column) / len(rows) for column in zip(*rows, strict=True))
        size = folder.bytes(folder.features()) // folder.crops
        print(f"{kind:10}{size:18}{kept:18.4%}{divergence:18.2e}{one:18.5f}{other:18.5f}{relative:18.2e}")


if __name__ == "__main__":
    main()
