"""The record of the forms in which the networks of a run train: folded batch norm, channels last, bfloat16."""

from pathlib import Path

from segdistill.runs.json_files import read_json

FILE = "speed.json"


def forms_of_run(folder: Path) -> dict[str, list[str]]:
    """Return the form of student and teacher as the words that are true of it; empty without a record.

    A teacher whose answers are recorded has none.

    Raises:
        UserError: The record is damaged.
    """
    file = folder / FILE
    record = read_json(file, "student", "teacher") if file.exists() else {}
    return {
        who: [word for word, is_true in record[who]["form"].items() if is_true]
        for who in ("student", "teacher")
        if record.get(who) is not None
    }
