"""Records of figures: one JSON file for each kind of machine, and what got worse since it was written."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.timing import Figure

FOLDER = Path(__file__).with_name("records")
Sections = dict[str, dict[str, Figure]]

MORE_IS_BETTER = ("items read / items consumed",)
"""Sections whose figures should rise. All others should fall."""


def record_file(about: dict[str, Any], sizes: str) -> Path:
    """Return the file of a kind of machine: ``cpu``, or the name of the accelerator."""
    name = "cpu" if about["device"] == "cpu" else about["hardware"]
    return FOLDER / (re.sub(r"[^a-z0-9]+", "-", f"{name} {sizes}".lower()).strip("-") + ".json")


def write(file: Path, about: dict[str, Any], sections: Sections) -> None:
    figures = {
        section: {name: figure.as_record() for name, figure in rows.items()} for section, rows in sections.items()
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> tuple[dict[str, Any], Sections]:
    record = json.loads(file.read_text(encoding="utf-8"))
    sections = {
        section: {name: Figure(**figure) for name, figure in rows.items()}
        for section, rows in record["figures"].items()
    }
    return record["about"], sections


def worse(before: Sections, now: Sections) -> list[str]:
    """Return a line for each figure that got worse by more than the spread of either run."""
    lines = []
    for section, rows in now.items():
        for name, figure in rows.items():
            old = before.get(section, {}).get(name)
            if old is None:
                continue
            change = figure.median - old.median
            loss = -change if section in MORE_IS_BETTER else change
            if loss > max(figure.spread, old.spread, 1e-3 * abs(old.median)):  # records are rounded
                lines.append(f"WORSE {section}: {name}: {figure.median:.4g}, was {old.median:.4g}")
    return lines
