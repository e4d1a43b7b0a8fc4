"""The cost of distillation, as ratios within one process: the yardstick of docs/performance.md.

    make bench                                                       # or, without an installation:
    PYTHONPATH=src python -m benchmarks.bench [SECTION ...] [--device cuda] [--full] [--check]

prints the figures of this machine, compares them with the stored ones in benchmarks/records, and stores them. A line
that begins with WORSE names a figure that got worse by more than the spread of the rounds. With --check nothing is
stored, and the exit status is 1 if there is such a line.

On a CPU the sizes are small, so that all is done within ten minutes on two cores; --full takes the papers' crops. On an
accelerator the papers' sizes are the default.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from benchmarks import growth, reading, records, start, teacher, terms, versions
from benchmarks.host_waits import HostWaits
from benchmarks.steps import Size, bound, build_teacher, distiller_step, fastest_format, loop_step, random_images
from benchmarks.teacher import fastest_form
from benchmarks.timing import Figure, Work, in_turns, ratio, seconds
from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.system.threads import allowed_cores

METHODS = ("kd", "gskd", "dist+gskd", "cwd", "i2ckd", "aicsd", "cirkd", "af_dcd", "diffkd", "reviewkd", "ofd")


@dataclass(frozen=True)
class Plan:
    """The device, the number of rounds, and the sizes that are measured."""

    device: str
    rounds: int
    step: Size
    loss: Size
    growth: Size
    teacher: tuple[int, int, int]

    @classmethod
    def of(cls, device: str, rounds: int, *, full: bool) -> "Plan":
        if device != "cpu":
            papers = Size(16, 512, 1024)
            return cls(device, rounds, papers, papers, Size(4, 512, 512), (16, 512, 1024))
        if full:
            papers = Size(2, 512, 1024)
            return cls(device, rounds, papers, papers, Size(2, 256, 256), (1, 512, 1024))
        return cls(device, rounds, Size(2, 192, 192), Size(2, 512, 512), Size(2, 96, 96), (1, 256, 256))

    @property
    def precisions(self) -> tuple[str, ...]:
        return ("fp32",) if self.device == "cpu" else ("fp32", "bf16")

    @property
    def sizes(self) -> dict[str, str]:
        batch, height, width = self.teacher
        return {
            "step": str(self.step),
            "loss": str(self.loss),
            "growth": str(self.growth),
            "teacher": f"{batch} x {height}x{width}",
        }


def steps(plan: Plan) -> records.Sections:
    """Measure a step of the Distiller over the bound, for each method and precision, and its waits."""
    sections: records.Sections = {}
    for precision in plan.precisions:
        memory_format, gain = fastest_format(plan.step, plan.device, precision, plan.rounds)
        print(f"{precision}: the student of the bound is {memory_format}, {gain:.2f} times faster", flush=True)
        common: dict[str, Any] = {
            "teacher": build_teacher(plan.step, plan.device),
            "precision": precision,
            "memory_format": memory_format,
        }
        sides: dict[str, Work] = {"bound": bound(plan.step, plan.device, **common)}
        for method in METHODS:
            sides[method] = distiller_step(plan.step, plan.device, method, **common)
        if precision == "fp32":
            form = fastest_form(common["teacher"], random_images(plan.step, plan.device), plan.rounds)
            print(f"the teacher as used runs with {form}", flush=True)
            sides["kd, teacher as used"] = distiller_step(plan.step, plan.device, "kd", form=form, **common)
            sides["kd in the training loop"] = loop_step(plan.step, plan.device, "kd", teacher=common["teacher"])
        times = in_turns(sides, plan.rounds, plan.device)
        base = times.pop("bound")
        print(f"the bound: {median(base):.3f} s", flush=True)
        sections[f"step / bound, {precision}"] = {name: ratio(each, base) for name, each in times.items()}
        if precision == "fp32":
            sections["waits of a step"] = {method: exact(_waits(sides[method])) for method in METHODS}
        del sides
        clean(plan)
    return sections


def losses(plan: Plan) -> records.Sections:
    """Measure the time of each loss relative to the student's step, its memory, and its waits."""
    memory_format, _ = fastest_format(plan.loss, plan.device, "fp32", 1)
    step = bound(plan.loss, plan.device, teacher=None, memory_format=memory_format)
    step()
    shares, megabytes, waits = {}, {}, {}
    before = seconds(step, plan.device)
    for first in range(0, len(LOSS_CARDS), 6):  # the step again and again: a machine becomes slower and faster
        costs = {}
        for card in LOSS_CARDS[first : first + 6]:
            costs[card.name] = terms.cost(card.name, plan.loss, plan.device, plan.rounds)
            clean(plan)
        after = seconds(step, plan.device)
        for name, cost in costs.items():
            shares[name] = Figure.of([100 * each / base for each in cost.seconds for base in (before, after)])
            megabytes[name] = exact(cost.megabytes)
            waits[name] = exact(cost.waits.total())
        before = after
    return {"loss, % of the student's step": shares, "loss, MB": megabytes, "waits of a loss": waits}


def teachers(plan: Plan) -> records.Sections:
    """Measure the teacher as it is used over the plain network."""
    batch, height, width = plan.teacher
    images = torch.randn(batch, 3, height, width, device=plan.device)
    return {"teacher as used / plain": teacher.relative_times(images, plan.rounds, plan.device)}


def read(plan: Plan) -> records.Sections:
    """Measure the items that a loader reads over those that a step consumes."""
    figures = {}
    for workers in (0,) if plan.device == "cpu" else (0, allowed_cores()):
        for name, figure in reading.read_over_consumed(plan.rounds, plan.device, workers).items():
            figures[f"{name}, {workers} workers"] = figure
    return {"items read / items consumed": figures}


def starting(plan: Plan) -> records.Sections:
    """Measure processor time until the first step and until an answer."""
    with tempfile.TemporaryDirectory() as folder:
        first = start.first_step_seconds(folder, plan.rounds)
    figures = {"first step of distill quickstart": first, **start.answer_seconds(plan.rounds)}
    return {"seconds to": figures, "import / import of torch": {"Distiller": start.import_over_torch(plan.rounds)}}


def grown(plan: Plan) -> records.Sections:
    """Measure how kd, gskd and cross-entropy grow."""
    memory_format, _ = fastest_format(plan.growth, plan.device, "fp32", 1)
    return growth.growth(plan.growth, plan.device, plan.rounds, memory_format)


SECTIONS: dict[str, Callable[[Plan], records.Sections]] = {
    "steps": steps,
    "losses": losses,
    "teacher": teachers,
    "reading": read,
    "start": starting,
    "growth": grown,
}


def exact(value: float) -> Figure:
    return Figure(value, value, value)


def _waits(work: Work) -> int:
    with HostWaits() as waits:
        work()
    return waits.total


def clean(plan: Plan) -> None:
    """Free what the last measurement held."""
    gc.collect()
    if plan.device.startswith("cuda"):
        torch.cuda.empty_cache()


def show(sections: records.Sections) -> None:
    for section, rows in sections.items():
        print(f"\n{section}")
        for name, figure in rows.items():
            spread = f"   {figure.least:.4g} to {figure.most:.4g}" if figure.spread else ""
            print(f"  {name:34}{figure.median:10.4g}{spread}")
    sys.stdout.flush()


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each figure (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="the papers' crops on a CPU, too")
    parser.add_argument("--check", action="store_true", help="store nothing; exit with 1 if a figure got worse")
    args = parser.parse_args()
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    plan = Plan.of(args.device, args.rounds, full=args.full)
    about = {**versions.about(args.device), "device": args.device, "rounds": args.rounds, "sizes": plan.sizes}
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    file = records.record_file(about, "full" if args.full else "")
    old_about, before = records.read(file) if file.exists() else ({}, {})

    now: records.Sections = {}
    for name in args.sections or SECTIONS:
        began, worked = time.monotonic(), time.process_time()
        measured = SECTIONS[name](plan)
        show(measured)
        took = f"{time.monotonic() - began:.0f} s, {time.process_time() - worked:.0f} s of processor time"
        print(f"({name}: {took})", flush=True)
        now |= measured
        clean(plan)

    print()
    changed = [key for key in ("hardware", "threads", "sizes") if old_about and old_about[key] != about[key]]
    if not old_about:
        print(f"nothing to compare with: {file.name} does not exist")
    if changed:
        print(f"not compared: {file.name} is of other {', '.join(changed)}")
    lines = [] if changed else records.worse(before, now)
    print(*lines, sep="\n")
    if args.check:
        return int(bool(lines))
    about["commits"] = dict.fromkeys(now, about["commit"])
    if args.sections and not changed:  # the other sections keep their figures and their commit
        about["commits"] = {**old_about.get("commits", {}), **about["commits"]}
        now = {**before, **now}
    records.write(file, about, now)
    return 0


if __name__ == "__main__":
    sys.exit(main())
