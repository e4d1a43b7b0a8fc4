"""Tables and charts of scores: of each method, of the differences between methods, and of each class."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from segdistill.reports.html import charts
from segdistill.reports.html.cells import Figure, ShownTable, mean_of, named, number_cell, table_cell, text_cell
from segdistill.reports.html.content import ALONE, TEACHER, Content
from segdistill.reports.html.data import value_of
from segdistill.reports.table import Range, Spread
from segdistill.runs.metric import MORE

# The largest numbers of rows, so that a comparison of any size fits.
MOST_CLASSES, MOST_ROWS_OF_A_CHART = 160, 40

# The intervals of a difference: keys of the table, and names in charts.
INTERVALS = {"over_seeds": "over seeds", "over_images": "over images"}


def score_tables(content: Content) -> list[ShownTable]:
    """Return the table of the scores, with published ones, and the table of the other scores."""
    table = content.summary.methods
    rows = [(named(row[0]), *row[1:]) for row in table.rows]
    columns = [column.title for column in table.columns]
    cells = [
        tuple(table_cell(table, number, cell) for number, cell in enumerate(row))
        + ((text_cell(content.published.get(str(row[0]))),) if content.published else ())
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
    for name, results in results_by_network(content).items():
        means = [mean_of(result.get(key) for result in results) for key in MORE]
        if any(value is not None for value in means):
            rows.append((text_cell(name), *(number_cell(value, 100) for value in means)))
    return ShownTable("Other scores in percent", ("method", *MORE.values()), tuple(rows)) if rows else None


def score_figures(content: Content) -> list[Figure]:
    """Return the charts of the scores and of the gains over the reference, seed by seed."""
    metric = content.metric
    reference = content.scores(content.reference)
    rows: dict[str, Sequence[float]] = {method: content.scores(method) for method in content.methods}
    if content.teacher_result is not None:
        rows[TEACHER] = [100 * content.teacher_result[metric.key]]
    title = f"{metric.name} of each method"
    unit = f"{metric.name}, percent"
    figures = [Figure(title, charts.dots(title, rows, unit, reference=fmean(reference) if reference else None))]
    gains = {method: content.gains(method) for method in content.methods if method != content.reference}
    if any(gains.values()):
        title = f"Gain over {content.over}, seed by seed"
        figures.append(Figure(title, charts.dots(title, gains, f"difference in {metric.name}, points", reference=0.0)))
    return [figure for figure in figures if figure.chart]


def note_on_scores(content: Content) -> str:
    """Return how to read the charts of the scores: only what is drawn in them."""
    several = any(len(content.scores(method)) > 1 for method in content.methods)
    note = "A ring is one seed, a dot the mean over seeds, a bar its standard deviation." if several else ""
    line = f"The dashed line is {content.over}." if content.scores(content.reference) else ""
    return f"{note} {line}".strip()


def difference_table(content: Content) -> ShownTable | None:
    """Return the paired differences with their intervals; None if no interval is known."""
    table = content.summary.differences.table
    if not table.rows:
        return None
    rows = [(named(row[0]), *row[1:]) for row in table.rows]
    cells = tuple(tuple(table_cell(table, number, cell) for number, cell in enumerate(row)) for row in rows)
    return ShownTable(table.title, tuple(column.title for column in table.columns), cells)


def difference_figures(content: Content) -> list[Figure]:
    """Return a chart of the differences for each group of classes."""
    table = content.summary.differences.table
    names = [column.key for column in table.columns]
    groups: dict[str, dict[str, tuple[float, list[charts.Ends | None]]]] = {}
    for cells in table.rows:
        row = dict(zip(names, cells, strict=True))
        difference = row["difference_points"]
        assert isinstance(difference, Spread)
        ends = [(each.low, each.high) if isinstance(each := row[key], Range) else None for key in INTERVALS]
        groups.setdefault(str(row["classes"]), {})[str(named(row["method"]))] = (difference.mean, ends)
    figures = []
    for group, rows in groups.items():
        drawn = [any(ends[number] for _, ends in rows.values()) for number in range(len(INTERVALS))]
        title = f"Difference to {content.over} with 95 % intervals, {group} classes"
        chart = charts.intervals(title, rows, list(INTERVALS.values()), f"difference in {content.metric.name}, points")
        figures.append(Figure(title, chart, charts.key_of_intervals(list(INTERVALS.values()), drawn)))
    return figures


def class_table(content: Content) -> ShownTable | None:
    """Return the scores of the most frequent classes; None if no class has any."""
    table = content.summary.classes
    rows = table.rows[:MOST_CLASSES]
    if not rows:
        return None
    has_bar = {number for number, column in enumerate(table.columns) if column.spreads or column.key == TEACHER}
    cells = tuple(
        tuple(table_cell(table, number, cell, bar=number in has_bar) for number, cell in enumerate(row)) for row in rows
    )
    more = len(table.rows) - len(rows)
    note = f"The {len(rows)} most frequent classes; {more} more are in result.json." if more else ""
    return ShownTable(table.title, tuple(named(column.title) for column in table.columns), cells, note)


def class_figures(content: Content) -> list[Figure]:
    """Return a chart for each group of classes: the reference, the best method and the teacher.

    If the reference is the best method, the student alone takes its place.
    """
    metric, results = content.metric, results_by_network(content)
    reference = content.reference if content.reference != content.best else ALONE
    networks = [name for name in (reference, content.best, TEACHER) if name in results]
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


def results_by_network(content: Content) -> dict[str, list[dict[str, Any]]]:
    """Return the results of each method's finished runs, and of the teacher, by name."""
    found = {method: list(content.results(method).values()) for method in content.methods}
    if content.teacher_result is not None:
        found[TEACHER] = [content.teacher_result]
    return {name: results for name, results in found.items() if results}


def _percent_of(results: Sequence[Mapping[str, Any]], key: str, name: str) -> float | None:
    value = mean_of(value_of(result, key, name) for result in results)
    return None if value is None else 100 * value
