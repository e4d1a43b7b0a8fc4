"""The page: content as tables, charts and pictures, in one file that loads nothing."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segdistill.recipes.yaml import write as to_yaml
from segdistill.reports.html import charts
from segdistill.reports.html.content import ALONE, TEACHER, Content
from segdistill.reports.html.curves import Points, curve, names_in, terms_in, thinned
from segdistill.reports.html.data import RunRecords, value_of
from segdistill.reports.html.pictures import ShownScene, shown
from segdistill.reports.table import Cell, Range, Spread, Table
from segdistill.runs.metric import MORE
from segdistill.system.atomic import write_text
from segdistill.version import __version__

FILE = "report.html"

# The largest page, in characters: small enough to be sent by mail.
LARGEST = 2_000_000

# The largest numbers of rows and charts, so that a comparison of any size fits.
MOST_CLASSES, MOST_ROWS_OF_A_CHART, MOST_CURVES, MOST_METHODS = 160, 40, 6, 12
MOST_RECIPE = 40_000


# The intervals of a difference: keys of the table, and names in charts.
INTERVALS = {"over_seeds": "over seeds", "over_images": "over images"}


@dataclass(frozen=True)
class ShownCell:
    """A cell of a table in the page: its text, the value that sorts it, and the length of its bar, in percent."""

    text: str
    value: float | str | None
    bar: float | None = None

    @property
    def is_text(self) -> bool:
        """Whether the cell holds words, not a number."""
        return isinstance(self.value, str)


@dataclass(frozen=True)
class ShownTable:
    """A table in the page; the first cell of a row is its name."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[ShownCell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart with its title and its key."""

    title: str
    chart: Markup
    key: str = ""
    moves: bool = False


def write_page(content: Content) -> Path:
    """Write report.html into the folder of the run or comparison, and return the file.

    Raises:
        UserError: The file cannot be written.
    """
    file = content.folder / FILE
    write_text(file, render(content))
    return file


def render(content: Content, largest: int = LARGEST) -> str:
    """Return the page. If it is too large, it has fewer pictures, then no curves of terms, then no class table."""
    # The curves of terms may take 60 % of the page: pictures matter more.
    for left_out, share in (((), 0.6), (("terms",), 1.0), (("terms", "classes"), 1.0)):
        bare = _render(content, (), left_out)
        if len(bare.encode()) <= share * largest:
            break
    measured = content.measured
    if measured.classes is None:
        return bare
    scenes = shown(measured.scenes, measured.classes, largest - len(bare.encode()))
    while scenes:  # their controls take room, too
        page = _render(content, scenes, left_out)
        if len(page.encode()) <= largest:
            return page
        scenes = scenes[:-1]
    return bare


def _render(content: Content, scenes: Sequence[ShownScene], left_out: Sequence[str]) -> str:
    environment = Environment(
        loader=PackageLoader("segdistill.reports.html"),
        autoescape=True,  # not Jinja's default; names of classes and files are foreign text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (environment.get_template(name).render() for name in ("style.css", "script.js"))
    return environment.get_template("report.html.j2").render(
        title=content.title,
        content=content,
        metric=content.metric,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
        cards=_cards(content),
        facts=content.summary.facts,
        missing=content.summary.missing,
        scores=_scores(content),
        score_figures=_score_figures(content),
        difference_table=_difference_table(content),
        difference_figures=_difference_figures(content),
        class_table=None if "classes" in left_out else _class_table(content),
        class_figures=_class_figures(content),
        curve_figures=_curve_figures(content),
        terms=[] if "terms" in left_out else _terms(content),
        left_out=left_out,
        costs=_costs(content),
        scenes=scenes,
        classes=_legend(content),
        environment=_environment(content),
        recipe=_recipe(content)[:MOST_RECIPE],
    )


def _cards(content: Content) -> list[tuple[str, str, str]]:
    """Return the main numbers: a title, a number, and what it means."""
    metric, cards = content.metric, []
    teacher = content.teacher_result
    if teacher is not None:
        cards.append((TEACHER, f"{100 * teacher[metric.key]:.1f}", f"{metric.name}, percent"))
    for method in dict.fromkeys((ALONE, content.best)):
        if method is None or not content.scores(method):
            continue
        note, gains = f"{metric.name}, percent", content.gains(method)
        if method != ALONE and gains:
            seeds = f" (mean of {len(gains)} seeds)" if len(gains) > 1 else ""
            note += f"; {fmean(gains):+.1f} points over the student alone{seeds}"
        title = f"best on val: {method}" if content.kind == "comparison" and method != ALONE else method
        cards.append((title, f"{fmean(content.scores(method)):.1f}", note))
    finished = sum(run.records.result is not None for run in content.runs)
    if content.kind == "comparison" or finished < content.planned:
        cards.append(("finished", f"{finished} of {content.planned}", "runs"))
    return cards


def _scores(content: Content) -> list[ShownTable]:
    table = content.summary.methods
    rows = [(_named(row[0]), *row[1:]) for row in table.rows]
    columns = [column.title for column in table.columns]
    cells = [
        tuple(_cell(table, number, cell) for number, cell in enumerate(row))
        + ((_text(content.published.get(str(row[0]))),) if content.published else ())
        for row in rows
    ]
    if content.published:
        columns.append("published")
    shown_tables = [ShownTable(table.title, tuple(columns), tuple(cells))]
    more = _more_scores(content)
    return [*shown_tables, *([more] if more else [])]


def _more_scores(content: Content) -> ShownTable | None:
    """Return the scores next to the mean IoU; None if no result has any."""
    rows = []
    for name, results in _results(content).items():
        means = [_mean(result.get(key) for result in results) for key in MORE]
        if any(value is not None for value in means):
            rows.append((_text(name), *(_number(value, 100) for value in means)))
    return ShownTable("Other scores in percent", ("method", *MORE.values()), tuple(rows)) if rows else None


def _score_figures(content: Content) -> list[Figure]:
    metric = content.metric
    alone = content.scores(ALONE)
    rows: dict[str, Sequence[float]] = {method: content.scores(method) for method in content.methods}
    if content.teacher_result is not None:
        rows[TEACHER] = [100 * content.teacher_result[metric.key]]
    title = f"{metric.name} of each method"
    unit = f"{metric.name}, percent"
    figures = [Figure(title, charts.dots(title, rows, unit, reference=fmean(alone) if alone else None))]
    gains = {method: content.gains(method) for method in content.methods if method != ALONE}
    if any(gains.values()):
        title = "Gain over the student alone, seed by seed"
        figures.append(Figure(title, charts.dots(title, gains, f"difference in {metric.name}, points", reference=0.0)))
    return [figure for figure in figures if figure.chart]


def _difference_table(content: Content) -> ShownTable | None:
    """Return the paired differences with their intervals; None if no interval is known."""
    table = content.summary.differences.table
    if not table.rows:
        return None
    rows = [(_named(row[0]), *row[1:]) for row in table.rows]
    cells = tuple(tuple(_cell(table, number, cell) for number, cell in enumerate(row)) for row in rows)
    return ShownTable(table.title, tuple(column.title for column in table.columns), cells)


def _difference_figures(content: Content) -> list[Figure]:
    """Return a chart of the differences for each group of classes."""
    table = content.summary.differences.table
    names = [column.key for column in table.columns]
    groups: dict[str, dict[str, tuple[float, list[charts.Ends | None]]]] = {}
    for cells in table.rows:
        row = dict(zip(names, cells, strict=True))
        difference = row["difference_points"]
        assert isinstance(difference, Spread)
        ends = [(each.low, each.high) if isinstance(each := row[key], Range) else None for key in INTERVALS]
        groups.setdefault(str(row["classes"]), {})[str(_named(row["method"]))] = (difference.mean, ends)
    figures = []
    for group, rows in groups.items():
        title = f"Difference with 95 % intervals, {group} classes"
        chart = charts.intervals(title, rows, list(INTERVALS.values()), f"difference in {content.metric.name}, points")
        figures.append(Figure(title, chart, charts.key_of_intervals(list(INTERVALS.values()))))
    return figures


def _class_table(content: Content) -> ShownTable | None:
    table = content.summary.classes
    rows = table.rows[:MOST_CLASSES]
    if not rows:
        return None
    has_bar = {number for number, column in enumerate(table.columns) if column.spreads or column.key == TEACHER}
    cells = tuple(
        tuple(_cell(table, number, cell, bar=number in has_bar) for number, cell in enumerate(row)) for row in rows
    )
    more = len(table.rows) - len(rows)
    note = f"The {len(rows)} most frequent classes; {more} more are in result.json." if more else ""
    return ShownTable(table.title, tuple(_named(column.title) for column in table.columns), cells, note)


def _class_figures(content: Content) -> list[Figure]:
    metric, results = content.metric, _results(content)
    networks = [name for name in (ALONE, content.best, TEACHER) if name in results]
    groups: dict[str, list[str]] = {}
    table = content.summary.classes
    grouped = len(table.columns) > 1 and table.columns[1].key == "group"
    for row in table.rows:
        groups.setdefault(f"{row[1]} classes" if grouped else "classes", []).append(str(row[0]))
    figures = []
    every = [_percent_of(results[network], metric.classes, str(row[0])) for network in networks for row in table.rows]
    top = max((value for value in every if value is not None), default=0.0)
    for group, names in groups.items():
        values = {
            name: {network: _percent_of(results[network], metric.classes, name) for network in networks}
            for name in names[:MOST_ROWS_OF_A_CHART]
        }
        title = f"{metric.of_class} of {group}"
        if len(names) > MOST_ROWS_OF_A_CHART:
            title += f", the {MOST_ROWS_OF_A_CHART} most frequent"
        chart = charts.by_class(title, values, f"{metric.of_class}, percent", top=top)
        if chart:
            figures.append(Figure(title, chart, charts.key(networks, "marks")))
    return figures


def _curve_figures(content: Content) -> list[Figure]:
    """Return the curves of the score on val: for each method the mean over its seeds, and for the teacher."""
    metric = content.metric
    methods = [name for name in content.methods if name == ALONE]
    others = [name for name in content.methods if name != ALONE]
    others.sort(key=lambda name: -fmean(content.scores(name) or (0.0,)))
    methods += others[: MOST_CURVES - 1 - len(methods)]
    series: dict[str, Points] = {}
    for method in methods:
        begun = [run.records for run in content.runs if run.method == method]
        runs = [run for run in begun if run.result is not None] or begun
        series[method] = _mean_curve([curve(run.metrics, "val", metric.key, factor=100) for run in runs])
    if content.teacher is not None:
        series[TEACHER] = curve(content.teacher.metrics, "val", metric.key, factor=100)
    series = {name: points for name, points in series.items() if points}
    if not series:
        return []
    title = f"{metric.name} on val during training"
    if len(others) > len(methods):
        title += f", the best {len(methods)} methods"
    chart = charts.lines(title, series, f"{metric.name}, percent")
    return [Figure(title, chart, charts.key(list(series)), moves=True)]


def _mean_curve(curves: Sequence[Points]) -> Points:
    """Return the mean of curves at the steps that all of them have; of those that have begun."""
    begun = [dict(points) for points in curves if points]
    if not begun:
        return ()
    steps = [step for step in begun[0] if all(step in points for points in begun)]
    return thinned([(step, fmean(points[step] for points in begun)) for step in steps])


def _terms(content: Content) -> list[tuple[str, ShownTable, list[Figure]]]:
    """Return for each method, from the first run that has begun, the table of its terms and their curves."""
    found: list[tuple[str, ShownTable, list[Figure]]] = []
    for method in content.methods:
        run = next((each.records for each in content.runs if each.method == method and each.records.metrics), None)
        if run is not None and terms_in(run.metrics) and len(found) < MOST_METHODS:
            found.append((method, _term_table(run), _term_figures(run)))
    return found


def _term_table(run: RunRecords) -> ShownTable:
    rows = []
    for name in terms_in(run.metrics):
        values, weights = curve(run.metrics, "train", name), curve(run.metrics, "train", f"weight/{name}")
        share = next(
            (line[name] for line in run.metrics if line.get("split") == "gradient_share" and name in line), None
        )
        settings = value_of(run.recipe, "terms", name)
        cells = [_text(name), _text(value_of(settings, "loss")), _text(value_of(settings, "on"))]
        cells += [_number(each, 1, digits=4) for each in (*_ends(weights), *_ends(values))]
        cells.append(_number(share, 100, digits=1, bar=True))
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


def _costs(content: Content) -> ShownTable | None:
    rows = []
    sizes = {run.method: run.records.student_bytes for run in content.runs}
    sizes[TEACHER] = content.teacher.student_bytes if content.teacher is not None else None
    for name, results in _results(content).items():
        height, width = (results[0].get("flops_size") or (None, None))[:2]
        size, time = sizes.get(name), content.measured.milliseconds.get(name)
        cells = (
            _text(name),
            _number(_mean(result.get("params") for result in results), 1e-6),
            _number(_mean(result.get("flops") for result in results), 1e-9),
            _text(f"{height}x{width}" if height else None),
            _number(size, 1e-6),
            _number(time, 1),
            _number(_mean(result.get("seconds") for result in results), 1, digits=0),
        )
        rows.append(cells)
    if not rows:
        return None
    columns = ("network", "parameters, M", "GFLOPs an image", "image", "file, MB", "time of an image, ms")
    return ShownTable("Costs", (*columns, "training, seconds"), tuple(rows), content.measured.timed)


def _legend(content: Content) -> list[tuple[str, str]]:
    """Return the color and the name of each class in the pictures."""
    classes = content.measured.classes
    if classes is None:
        return []
    colors = ("#" + "".join(f"{channel:02x}" for channel in color) for color in classes.palette)
    return list(zip(colors, classes.names, strict=False))


def _environment(content: Content) -> ShownTable | None:
    """Return versions and hardware of the run, or of the first run of a comparison."""
    record = next((run.records.environment for run in content.runs if run.records.environment), {})
    rows = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            rows += [(_text(each), _text(version)) for each, version in value.items()]
        elif name == "changes" and isinstance(value, list):
            rows += [
                (_text(f"changed at step {value_of(each, 'step')}"), _text(value_of(each, "change"))) for each in value
            ]
        elif name != "command":
            rows.append((_text(name), _text(", ".join(map(str, value)) if isinstance(value, list) else value)))
    if not rows:
        return None
    which = "the run" if content.kind == "run" else "the first run"
    return ShownTable(f"Environment of {which}", ("what", "value"), tuple(rows))


def _recipe(content: Content) -> str:
    try:
        return to_yaml(content.recipe)
    except (KeyError, TypeError, AttributeError):  # a record of another version, or a damaged one
        return json.dumps(content.recipe, indent=2, default=str, ensure_ascii=False)


def _results(content: Content) -> dict[str, list[dict[str, Any]]]:
    """Return the results of each method's finished runs, and of the teacher, by name."""
    found = {method: list(content.results(method).values()) for method in content.methods}
    if content.teacher_result is not None:
        found[TEACHER] = [content.teacher_result]
    return {name: results for name, results in found.items() if results}


def _percent_of(results: Sequence[Mapping[str, Any]], key: str, name: str) -> float | None:
    value = _mean(value_of(result, key, name) for result in results)
    return None if value is None else 100 * value


def _mean(values: Any) -> float | None:
    numbers = [value for value in values if isinstance(value, int | float)]
    return fmean(numbers) if numbers else None


def _ends(points: Points) -> tuple[float | None, float | None]:
    return (points[0][1], points[-1][1]) if points else (None, None)


def _cell(table: Table, number: int, cell: Cell, *, bar: bool = False) -> ShownCell:
    mean = cell.mean if isinstance(cell, Spread) else cell.low if isinstance(cell, Range) else cell
    length = max(0.0, min(100.0, mean)) if bar and isinstance(mean, int | float) else None
    return ShownCell(_named(table.columns[number].show(cell)), mean, length)


def _text(value: Any) -> ShownCell:
    text = "-" if value is None or value == "" else str(value)
    return ShownCell(text, text)


def _number(value: float | None, factor: float, *, digits: int = 2, bar: bool = False) -> ShownCell:
    if not isinstance(value, int | float):
        return ShownCell("-", None)
    scaled = factor * value
    text = f"{scaled:.{digits}f}" if digits < 4 else f"{scaled:.{digits}g}"
    return ShownCell(text, scaled, max(0.0, min(100.0, scaled)) if bar else None)


def _named(text: Any) -> Any:
    return ALONE if text == "none" else text
