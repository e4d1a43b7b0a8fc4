"""Curves of the training: the score on val, the terms of the loss with their weights, the learning rate."""

from collections.abc import Sequence
from statistics import fmean

from segdistill.reports.html import charts
from segdistill.reports.html.cells import Figure, ShownTable, number_cell, text_cell
from segdistill.reports.html.content import ALONE, TEACHER, Content
from segdistill.reports.html.curves import Points, curve, names_in, terms_in, thinned
from segdistill.reports.html.data import RunRecords, value_of

# The largest numbers of curves in a chart and of methods, so that a comparison of any size fits.
MOST_CURVES, MOST_METHODS = 6, 12


def curve_figures(content: Content) -> list[Figure]:
    """Return the curves of the score on val: for each method the mean over its seeds, and for the teacher."""
    metric = content.metric
    curves = {method: points for method in content.methods if (points := _method_curve(content, method))}
    alone = [method for method in curves if method == ALONE]
    others = [method for method in curves if method != ALONE]
    others.sort(key=lambda name: -(content.on_val(name) or 0.0))
    best = others[: MOST_CURVES - 1 - len(alone)]
    series = {method: curves[method] for method in (*alone, *best)}
    if content.teacher is not None and (points := curve(content.teacher.metrics, "val", metric.key, factor=100)):
        series[TEACHER] = points
    if not series:
        return []
    title = f"{metric.name} on val during training"
    if len(best) < len(others):
        title += f", the best {len(best)} of {len(others)} methods"
    chart = charts.lines(title, series, f"{metric.name}, percent")
    return [Figure(title, chart, charts.key(list(series)), moves=True)]


def _method_curve(content: Content, method: str) -> Points:
    """Return the mean curve of a method's finished runs, or of those that have begun if none is finished."""
    begun = [run.records for run in content.runs if run.method == method]
    runs = [run for run in begun if run.result is not None] or begun
    return _mean_curve([curve(run.metrics, "val", content.metric.key, factor=100) for run in runs])


def _mean_curve(curves: Sequence[Points]) -> Points:
    """Return the mean of curves at the steps that all of them have; of those that have begun."""
    begun = [dict(points) for points in curves if points]
    if not begun:
        return ()
    steps = [step for step in begun[0] if all(step in points for points in begun)]
    return thinned([(step, fmean(points[step] for points in begun)) for step in steps])


def terms_of_methods(content: Content) -> list[tuple[str, ShownTable, list[Figure]]]:
    """Return for each method, from the first run that has begun, the table of its terms and their curves."""
    runs = list(_runs_with_terms(content).items())[:MOST_METHODS]
    return [(method, _term_table(run), _term_figures(run)) for method, run in runs]


def note_on_terms(content: Content) -> str:
    """Return which methods :func:`terms_of_methods` leaves out; empty if it leaves out none."""
    left_out = list(_runs_with_terms(content))[MOST_METHODS:]
    if not left_out:
        return ""
    return f"The first {MOST_METHODS} methods; the terms of {', '.join(left_out)} are in metrics.jsonl of their runs."


def _runs_with_terms(content: Content) -> dict[str, RunRecords]:
    """Return for each method with terms the first run that has begun."""
    runs: dict[str, RunRecords] = {}
    for run in content.runs:
        if run.records.metrics:
            runs.setdefault(run.method, run.records)
    return {method: run for method, run in runs.items() if terms_in(run.metrics)}


def _term_table(run: RunRecords) -> ShownTable:
    rows = []
    for name in terms_in(run.metrics):
        values, weights = curve(run.metrics, "train", name), curve(run.metrics, "train", f"weight/{name}")
        share = next(
            (line[name] for line in run.metrics if line.get("split") == "gradient_share" and name in line), None
        )
        settings = value_of(run.recipe, "terms", name)
        cells = [text_cell(name), text_cell(value_of(settings, "loss")), text_cell(value_of(settings, "on"))]
        cells += [number_cell(each, 1, digits=4) for each in (*_ends(weights), *_ends(values))]
        cells.append(number_cell(share, 100, digits=1, bar=True))
        rows.append(tuple(cells))
    columns = ("term", "loss", "compares", "weight at the start", "weight at the end", "value at the start")
    more = ("value at the end", "share of the gradient at step 1, percent")
    return ShownTable("Terms of the loss; values are without their weights", (*columns, *more), tuple(rows))


def _term_figures(run: RunRecords) -> list[Figure]:
    figures = []
    for name in ("loss", *terms_in(run.metrics)):
        title = "Total loss" if name == "loss" else f"Term {name}"
        chart = charts.lines(title, {title: curve(run.metrics, "train", name)}, "value")
        figures.append(Figure(title, chart, moves=True))
        weights = curve(run.metrics, "train", f"weight/{name}")
        if len({value for _, value in weights}) > 1:
            title = f"Weight of {name}"
            figures.append(Figure(title, charts.lines(title, {title: weights}, "weight"), moves=True))
    rates = curve(run.metrics, "train", "learning_rate")
    figures.append(Figure("Learning rate", charts.lines("Learning rate", {"learning rate": rates}, "rate"), moves=True))
    for name in names_in(run.metrics, "first_stage"):
        title = f"First stage: {name}"
        series = {title: curve(run.metrics, "first_stage", name)}
        figures.append(Figure(title, charts.lines(title, series, "value"), moves=True))
    return [figure for figure in figures if figure.chart]


def _ends(points: Points) -> tuple[float | None, float | None]:
    return (points[0][1], points[-1][1]) if points else (None, None)
