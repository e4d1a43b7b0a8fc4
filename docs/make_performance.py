"""Write the tables of docs/performance.md from the records of benchmarks/records; the text between them stays.

python docs/make_performance.py
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from page_tables import ROOT, filled, markdown, write

PAGE = ROOT / "docs" / "performance.md"
RECORDS = ROOT / "benchmarks" / "records"

CHEAP = ("kd", "gskd", "dist+gskd", "cwd", "i2ckd", "aicsd", "kd in the training loop")


def main() -> None:
    """Write the page."""
    write(PAGE, page)


def page(text: str) -> str:
    """Return the text of the page with every table as its record has it."""
    return filled(text, "table", lambda _, name: TABLES[name]())


def step() -> str:
    """Return the steps over the bound, with the goals and the waits."""
    record = _record("cpu")
    figures = record["figures"]
    waits = figures["waits of a step"]
    rows = [
        [f"`{name}`" if name in waits else name, _spread(figure), "1.02" if name in CHEAP else "1.10",
         _number(waits[name]["median"]) if name in waits else ""]
        for name, figure in figures["step / bound, fp32"].items()
    ]  # fmt: skip
    head = ["method", "step / bound", "goal: at most", "waits for the device"]
    return _measured(record, "step / bound, fp32", "step") + markdown(head, rows)


def losses() -> str:
    """Return time, memory and waits of every loss, the most expensive first."""
    record = _record("cpu")
    figures = record["figures"]
    shares = figures["loss, % of the student's step"]
    rows = [
        [f"`{name}`", _spread(shares[name]), _number(figures["loss, MB"][name]["median"]),
         _number(figures["waits of a loss"][name]["median"])]
        for name in sorted(shares, key=lambda name: -shares[name]["median"])
    ]  # fmt: skip
    head = ["loss", "% of the student's step", "MB", "waits for the device"]
    return _measured(record, "loss, % of the student's step", "loss") + markdown(head, rows)


def growth() -> str:
    """Return how kd, gskd and cross-entropy grow."""
    record = _record("cpu")
    sections = [name for name in record["figures"] if name.startswith("growth of ")]
    columns = [record["figures"][name] for name in sections]
    rows = [[name, *(_spread(column[name]) for column in columns)] for name in columns[0]]
    head = ["size", *(name.removeprefix("growth of ") for name in sections)]
    return _measured(record, sections[0], "growth") + markdown(head, rows)


def released() -> str:
    """Return our step and our losses over the authors'."""
    record = _record("cpu-released")
    sections = [f"{what}: {measure}, ours / released" for what in ("step", "loss") for measure in ("time", "memory")]
    columns = [record["figures"][name] for name in sections]
    rows = [[f"`{name}`", *(_spread(column[name]) for column in columns)] for name in columns[0]]
    head = ["ours / released", "a step: time", "peak memory", "the losses alone: time", "peak memory"]
    return _measured(record, sections[0], "step") + markdown(head, rows)


def _simple(section: str, head: list[str], size: str | None = None) -> Callable[[], str]:
    def table() -> str:
        record = _record("cpu")
        rows = [[name, _spread(figure)] for name, figure in record["figures"][section].items()]
        return _measured(record, section, size) + markdown(head, rows)

    return table


TABLES: dict[str, Callable[[], str]] = {
    "step": step,
    "losses": losses,
    "teacher": _simple("teacher as used / plain", ["network", "time as used / plain"], "teacher"),
    "reading": _simple("items read / items consumed", ["images", "items read / items consumed"]),
    "start": _simple("seconds to", ["until", "seconds of processor time"]),
    "growth": growth,
    "released": released,
}


def _record(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def _measured(record: dict[str, Any], section: str, size: str | None) -> str:
    """Return a line with the hardware, versions, size and commit of a section."""
    about = record["about"]
    threads = f"{about['threads']} thread{'' if about['threads'] == 1 else 's'}"
    parts = [about["hardware"], threads, f"PyTorch {about['torch']}", *([about["sizes"][size]] if size else [])]
    commit = about.get("commits", {}).get(section, about["commit"])
    return f"{'; '.join(parts)}; median of {about['rounds']} rounds (least to most); commit {commit}.\n\n"


def _spread(figure: Mapping[str, float]) -> str:
    least, most = _number(figure["least"]), _number(figure["most"])
    return _number(figure["median"]) + ("" if least == most else f" ({least} to {most})")


def _number(value: float) -> str:
    if value >= 100 or value == round(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    main()
