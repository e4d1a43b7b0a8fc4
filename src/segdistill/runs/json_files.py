"""Readers of a run's JSON records."""

import json
from pathlib import Path
from typing import Any

from segdistill.errors import UserError


def read_json(file: Path, *keys: str) -> dict[str, Any]:
    """Return the JSON object in a file, which must have these keys.

    Raises:
        UserError: The file is missing or damaged, or a key is missing.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; is the run finished?") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise damaged(file)
    if missing := [key for key in keys if key not in content]:
        raise UserError(f"{file} has no '{missing[0]}'; delete it and run the same command again")
    return content


def damaged(file: Path) -> UserError:
    """Return the error for a file that is not a valid record."""
    return UserError(f"{file} is damaged; delete it and run the same command again")


def read_environment(folder: Path) -> dict[str, Any]:
    """Return a run's environment.json; empty if it is missing or damaged, since no result depends on it."""
    try:
        content = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
