"""Files of a comparison or a sweep: a JSON record, and tables as text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdistill.runs.records import write_json
from segdistill.system.atomic import write_text


def write_tables(record: Path, content: dict[str, Any], tables: Mapping[str, str]) -> None:
    """Write the record, and each table's text to its file in the same folder. Each file is written atomically."""
    write_json(record, content)
    for name, text in tables.items():
        write_text(record.parent / name, text)
