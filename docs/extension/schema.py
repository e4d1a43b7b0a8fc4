"""The reference of the recipe's keys, from its schema."""

from segdistill.recipes.keys import Key, describe, key_names

_SECTIONS = {
    "": "The recipe",
    "data": "Data",
    "student": "Student",
    "teacher": "Teacher",
    "teacher.train": "Training of the teacher",
    "terms": "Terms",
    "train": "Training",
    "evaluation": "Evaluation",
}


def schema() -> str:
    """Return a table of Markdown for each section of a recipe."""
    tables: dict[str, list[Key]] = {section: [] for section in _SECTIONS}
    for name in key_names():
        for key in describe(name):
            if key.name == name:
                tables[name.rpartition(".")[0]].append(key)
    tables["terms"] += describe("terms.NAME")
    return "\n".join(_table(title, tables[section]) for section, title in _SECTIONS.items())


def _table(title: str, keys: list[Key]) -> str:
    lines = [f"## {title}", "", "| key | value | default | meaning |", "|---|---|---|---|"]
    for key in keys:
        default = f"`{key.default}`" if key.default else "required"
        cells = (f"`{key.name}`", key.type, default, key.description)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])
