"""The page: content as tables, charts and pictures, in one file that loads nothing."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segdistill.recipes.yaml import write as to_yaml
from segdistill.reports.html.cells import ShownTable, mean_of, number_cell, text_cell
from segdistill.reports.html.content import TEACHER, Content
from segdistill.reports.html.data import value_of
from segdistill.reports.html.learning import curve_figures, note_on_terms, terms_of_methods
from segdistill.reports.html.pictures import ShownScene, shown
from segdistill.reports.html.scores import (
    class_figures,
    class_table,
    difference_figures,
    difference_table,
    note_on_scores,
    results_by_network,
    score_figures,
    score_tables,
)
from segdistill.system.atomic import write_text
from segdistill.version import __version__

FILE = "report.html"

# The largest page, in characters: small enough to be sent by mail.
LARGEST = 2_000_000

# The largest recipe, in characters.
MOST_RECIPE = 40_000


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
        scores=score_tables(content),
        score_figures=score_figures(content),
        note_on_scores=note_on_scores(content),
        difference_table=difference_table(content),
        difference_figures=difference_figures(content),
        class_table=None if "classes" in left_out else class_table(content),
        class_figures=class_figures(content),
        curve_figures=curve_figures(content),
        terms=[] if "terms" in left_out else terms_of_methods(content),
        note_on_terms="" if "terms" in left_out else note_on_terms(content),
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
    for method in dict.fromkeys((content.reference, content.best)):
        if method is None or not content.scores(method):
            continue
        note, gains = f"{metric.name}, percent", content.gains(method)
        if method != content.reference and gains:
            seeds = f" (mean of {len(gains)} seeds)" if len(gains) > 1 else ""
            note += f"; {fmean(gains):+.1f} points over {content.over}{seeds}"
        title = f"best on val: {method}" if content.kind == "comparison" and method == content.best else method
        cards.append((title, f"{fmean(content.scores(method)):.1f}", note))
    finished = sum(run.records.result is not None for run in content.runs)
    if content.kind == "comparison" or finished < content.planned:
        cards.append(("finished", f"{finished} of {content.planned}", "runs"))
    return cards


def _costs(content: Content) -> ShownTable | None:
    rows = []
    sizes = {run.method: run.records.student_bytes for run in content.runs}
    sizes[TEACHER] = content.teacher.student_bytes if content.teacher is not None else None
    for name, results in results_by_network(content).items():
        height, width = (results[0].get("flops_size") or (None, None))[:2]
        size, time = sizes.get(name), content.measured.milliseconds.get(name)
        cells = (
            text_cell(name),
            number_cell(mean_of(result.get("params") for result in results), 1e-6),
            number_cell(mean_of(result.get("flops") for result in results), 1e-9),
            text_cell(f"{height}x{width}" if height else None),
            number_cell(size, 1e-6),
            number_cell(time, 1),
            number_cell(mean_of(result.get("seconds") for result in results), 1, digits=0),
        )
        rows.append(cells)
    if not rows:
        return None
    columns = ("network", "parameters, M", "GFLOPs an image", "image", "file, MB", "time of an image, ms")
    measured = content.measured
    note = f"{measured.timed} {measured.note}".strip() if measured.milliseconds else measured.timed
    return ShownTable("Costs", (*columns, "training, seconds"), tuple(rows), note)


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
            rows += [(text_cell(each), text_cell(version)) for each, version in value.items()]
        elif name == "changes" and isinstance(value, list):
            rows += [
                (text_cell(f"changed at step {value_of(each, 'step')}"), text_cell(value_of(each, "change")))
                for each in value
            ]
        elif name != "command":
            rows.append((text_cell(name), text_cell(", ".join(map(str, value)) if isinstance(value, list) else value)))
    if not rows:
        return None
    which = "the run" if content.kind == "run" else "the first run"
    return ShownTable(f"Environment of {which}", ("what", "value"), tuple(rows))


def _recipe(content: Content) -> str:
    try:
        return to_yaml(content.recipe)
    except (KeyError, TypeError, AttributeError):  # a record of another version, or a damaged one
        return json.dumps(content.recipe, indent=2, default=str, ensure_ascii=False)
