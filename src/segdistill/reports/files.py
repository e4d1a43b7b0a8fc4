"""Reading the JSON records of a run."""

import json
from pathlib import Path
from typing import Any

from segdistill.errors import UserError


def read_json(file: Path, *keys: str) -> dict[str, Any]:
    """Return a JSON object that has these keys.

    Raises:
        UserError: The file is missing or damaged, or a key is.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in keys if key not in content]
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; is the run finished?") from None
    except (ValueError, TypeError):
        raise UserError(f"{file} is damaged; delete it and run the same command again") from None
    if missing:
        raise UserError(f"{file} has no '{missing[0]}'; it was not written by this program")
    return dict(content)
