"""Check a recipe before training: data, teacher, features, one step."""

import time

from rich.console import Console
from rich.table import Table

from segdistill.data import training_loader
from segdistill.distillation.distiller import Distiller
from segdistill.distillation.wiring import Wiring
from segdistill.errors import UserError
from segdistill.reports.screen import screen_table
from segdistill.training.blame import blame
from segdistill.training.console import clock
from segdistill.training.look import look
from segdistill.training.optimizer import build_optimizers, step_together
from segdistill.training.rehearsal import Rehearsal, step_in_a_line, try_networks
from segdistill.training.replayed import size_line
from segdistill.training.session import Session


def examine(session: Session, console: Console) -> None:
    """Scan all labels, score the teacher, print what each term compares, take three steps, estimate the time.

    Raises:
        UserError: At the first problem.
    """
    size = Rehearsal(session).part  # first, so that a mistyped name is reported before all labels are read
    recipe, fabric = session.recipe, session.fabric
    look(session, lambda line: console.print(line, soft_wrap=True), thoroughly=True)
    session.describe_cache(lambda line: console.print(line, soft_wrap=True))
    if teacher := session.teacher():
        score = teacher.checked_score()
        console.print(f"teacher: {score.value:.1%} {score.metric.name} on val")
    elif session.teacher_section is not None:
        console.print("teacher: not trained yet; a run trains it first")
    parts = recipe.train.accumulate
    with step_in_a_line(session, size):
        distiller = session.build_trial()
    console.print(_table(distiller))
    try_networks(session, distiller)
    if line := size_line(session, distiller):
        console.print(line, soft_wrap=True)
    stream = session.stream()
    optimizers = build_optimizers(distiller, recipe.train)
    times: list[float] = []
    loader = training_loader(stream, size, steps=3, workers=recipe.data.loaders)
    began = time.perf_counter()
    for images, labels in loader:
        distiller.measures_gradients = not times
        batch = images.to(fabric.device), labels.to(fabric.device)
        with step_in_a_line(session, size), fabric.autocast():
            asked, answered = time.perf_counter(), None
            if session.crops() is not None:  # the run has recorded the answers before
                answered = distiller.prepare(*batch)
                began += time.perf_counter() - asked
            out = distiller(*batch, answered)
        if not times:
            for name, share in out.gradient_shares.items():
                silent = out.gradients[name] == 0
                part = "no gradient!" if silent else f"{share:.0%} of the gradient at the student"
                console.print(f"step 1: {name} {float(out.terms[name].detach()):.4g}, {part}")
            began = time.perf_counter()
        out.total.backward()
        scaled = recipe.train.precision == "16-mixed"
        if wrong := blame(distiller, out, [(images, labels)], fabric, step=len(times) + 1, scaled=scaled):
            name, problem = wrong
            raise UserError(f"{problem}; lower train.learning_rate or terms.{name}.weight, or change the term")
        step_together(optimizers, None)
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    seconds = min(times[1:]) * parts * recipe.train.iterations
    console.print(f"a step takes {min(times[1:]) * parts:.2f}s, {recipe.train.iterations} steps take {clock(seconds)}")


def _table(distiller: Distiller) -> Table:
    table = screen_table(*Wiring.HEADER)
    for row in distiller.wiring().cells():
        table.add_row(*row)
    return table
