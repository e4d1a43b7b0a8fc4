"""Write the tables and figures of results from the comparisons in docs/results/; the text between them stays.

python docs/make_results.py
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from page_tables import ROOT, filled, markdown, write
from results_figure import figure

PAGE = ROOT / "docs" / "results.md"
RECORDS = ROOT / "docs" / "results"
PAGES = (PAGE, ROOT / "README.md", ROOT / "docs" / "choosing.md")


def main() -> None:
    """Write the figure of each comparison that the page shows, and the pages."""
    for file, text in figures(PAGE.read_text(encoding="utf-8")).items():
        file.write_text(text, encoding="utf-8")
    for each in PAGES:
        write(each, page)


def figures(text: str) -> dict[Path, str]:
    """Return the figures that the text of the page shows, by file."""
    names = re.findall(r"\(results/(\w+)/differences\.svg\)", text)
    return {RECORDS / name / "differences.svg": figure(comparison(name)["differences"]) for name in names}


def page(text: str) -> str:
    """Return the text of the page with every table as its comparison has it."""
    return filled(text, "|".join(TABLES), lambda kind, name: TABLES[kind](name))


def comparison(name: str) -> dict[str, Any]:
    """Return what ``compare`` wrote to its ``comparison.json``."""
    record: dict[str, Any] = json.loads((RECORDS / name / "comparison.json").read_text(encoding="utf-8"))
    return record


def scores(name: str) -> str:
    """Return steps, mIoU and gain of each row, the teacher last, with the commit and the hardware."""
    record = comparison(name)
    longer = any(row["method"] == "none@time" for row in record["table"])
    head = ["row", "steps", "mIoU", "over `none`", *(["over `none@time`"] if longer else []), "common", "rare"]
    gains = ["gain_points", *(["gain_over_row_points"] if longer else [])]
    keys = ["miou_percent", *gains, "common_percent", "rare_percent"]
    rows = [
        [
            _named(row["method"]),
            _whole(row.get("steps") or _steps(record) if row["method"] != "teacher" else None),
            *(_spread(row[key], signed="points" in key) for key in keys),
            _spread(_gain_on_val(record, row["method"]), signed=True),
        ]
        for row in record["table"]
    ]
    return f"{_measured(record)}\n\n{markdown([*head, 'over `none` on val'], rows)}"


def short(name: str) -> str:
    """Return the mIoU of each method and its gain over the student alone, one column for each."""
    rows = [row for row in comparison(name)["table"] if row["method"] != "control"]
    head = ["", *("student alone" if row["method"] == "none" else _named(row["method"]) for row in rows)]
    scored = ["mIoU", *(_spread(row["miou_percent"]) for row in rows)]
    gained = ["gain", *(_spread(row["gain_points"], signed=True) for row in rows)]
    return markdown(head, [scored, gained])


def series(names: str) -> str:
    """Return the mIoU of the student alone, and the gains of the others on test and val, by budget or by data set."""
    records = [comparison(name) for name in names.split()]
    tables = [{row["method"]: row for row in record["table"]} for record in records]
    rows = [["`none`, mIoU", *(_spread(table["none"]["miou_percent"]) for table in tables)]]
    methods = [method for method in tables[0] if method not in ("none", "teacher")]
    for method in methods:
        rows.append(
            [_named(method), *(_spread(table.get(method, {}).get("gain_points"), signed=True) for table in tables)]
        )
    for method in methods:
        gains = (_spread(_gain_on_val(record, method), signed=True) for record in records)
        rows.append([f"{_named(method)} on val", *gains])
    by_steps = len({_steps(record) for record in records}) > 1
    varied = [f"{_steps(record)} steps" if by_steps else record["recipe"]["data"]["root"] for record in records]
    seeds = [len(_on_val(record, "none")) for record in records]
    heads = [f"{value}, {count} seeds" for value, count in zip(varied, seeds, strict=True)]
    return markdown(["", *heads], rows)


def differences(name: str) -> str:
    """Return the paired differences of all classes, and of the common and the rare ones, with both intervals."""
    found = comparison(name)["differences"]
    rows = [
        [
            _named(row["method"]),
            row["classes"],
            _spread(row["difference_points"], signed=True),
            _interval(row["over_seeds"]),
            _interval(row["over_images"]),
            f"{row['p_holm']:.2f}",
            row["exceeds"],
        ]
        for row in found["rows"]
    ]
    head = ["classes", "difference", "over seeds", "over images", "p (Holm)", "exceeds"]
    return markdown([f"minus `{found['reference']}`", *head], rows)


def classes(name: str) -> str:
    """Return the IoU of each class, the mean over the seeds."""
    record = comparison(name)
    methods = [row["method"] for row in record["table"]]
    rows = [
        [row["class"], f"{row['share_percent']:.2f}", *(_number(row.get(method)) for method in methods)]
        for row in record["classes"]
    ]
    return markdown(["class", "% of labels", *map(_named, methods)], rows)


TABLES = {"scores": scores, "short": short, "series": series, "differences": differences, "classes": classes}


def _measured(record: Mapping[str, Any]) -> str:
    return next(f"{fact[0].upper()}{fact[1:]}." for fact in record["facts"] if fact.startswith("commit "))


def _steps(record: Mapping[str, Any]) -> int:
    """Return the number of steps of the recipe."""
    found = next(re.match(r"(\d+) steps of ", fact) for fact in record["facts"] if " steps of " in fact)
    assert found is not None
    return int(found[1])


def _gain_on_val(record: Mapping[str, Any], method: str) -> dict[str, float | None] | None:
    """Return the gain over the student alone on the validation images: mean and deviation over the seeds."""
    alone, scored = _on_val(record, "none"), _on_val(record, method)
    gains = [scored[seed] - alone[seed] for seed in scored]
    if not gains or method == "none":
        return None
    return {"mean": mean(gains), "std": stdev(gains) if len(gains) > 1 else None}


def _on_val(record: Mapping[str, Any], method: str) -> dict[int, float]:
    """Return the mIoU on val by seed, in percent."""
    finished = [run for run in record["runs"] if run["method"] == method and run["state"] == "finished"]
    return {run["seed"]: 100 * run["val_miou"] for run in finished}


def _named(method: str) -> str:
    return method if method == "teacher" else f"`{method}`"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _number(value: Mapping[str, Any] | float | None) -> str:
    if value is None:
        return ""
    return f"{value['mean'] if isinstance(value, Mapping) else value:.1f}"


def _spread(value: Mapping[str, Any] | float | None, *, signed: bool = False) -> str:
    if value is None:
        return ""
    sign = "+" if signed else ""
    if not isinstance(value, Mapping):
        return f"{value:{sign}.1f}"
    return f"{value['mean']:{sign}.1f}" + ("" if value["std"] is None else f" ± {value['std']:.1f}")


def _interval(ends: Mapping[str, float] | None) -> str:
    return "" if ends is None else f"{ends['low']:+.1f} to {ends['high']:+.1f}"


if __name__ == "__main__":
    main()
