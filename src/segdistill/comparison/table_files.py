"""What a comparison or a sweep leaves in its folder: a record for programs, tables for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdistill.runs.records import write_json
from segdistill.system.atomic import write_text


def write_tables(record: Path, content: dict[str, Any], tables: Mapping[str, str]) -> None:
    """Write the record and, beside it, each table's text under its file name; each file atomically."""
    write_json(record, content)
    for name, text in tables.items():
        write_text(record.parent / name, text)
