"""Sources of a recipe: a built-in name, or a YAML file that may name another recipe as its base."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdistill.catalogue.methods import updated
from segdistill.errors import UserError, unknown
from segdistill.recipes.builtin import BUILTIN
from segdistill.recipes.length import trained
from segdistill.recipes.terms import carried_terms
from segdistill.recipes.yaml import YAMLError, read

Draft = dict[str, Any]
# Keys of a network that another model cannot use.
KEYS_OF_A_MODEL = ("options", "weights", "weights_key", "mean", "std", "align_corners")


def read_source(source: str | Path, seen: tuple[Path, ...] = ()) -> Draft:
    """Return the keys of a recipe by name or file, on top of those of its bases.

    Raises:
        UserError: If the recipe is unknown, or a file is unreadable or based on itself.
    """
    name = str(source)
    if name in BUILTIN:
        return {
            "name": name,
            "experiment": name,
            "description": (BUILTIN[name].__doc__ or "").strip(),
            **BUILTIN[name](),
        }
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("recipe", name, BUILTIN, hint="(or give a YAML file)")
    if path in seen:
        raise UserError(f"{path} is based on itself; its key 'recipe' must name another recipe")
    if not path.is_file():
        raise UserError(f"no such recipe file: {path}; `segdistill recipes quickstart` prints one to start from")
    content = _read(path)
    base = content.pop("recipe", None)
    if base is None:
        return {"name": path.stem, **content}
    below = read_source(str(base) if str(base) in BUILTIN else path.parent / str(base), (*seen, path))
    return _merge({**below, "name": path.stem}, content)


def files_of(source: str | Path) -> list[Path]:
    """Return the YAML files of a recipe that loads: its file, and those that the key ``recipe`` names in turn."""
    files: list[Path] = []
    while str(source) not in BUILTIN:
        files.append(Path(source))
        base = _read(files[-1]).get("recipe")
        if base is None:
            break
        source = str(base) if str(base) in BUILTIN else files[-1].parent / str(base)
    return files


def _read(path: Path) -> Draft:
    try:
        content = read(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise UserError(f"{path} is not YAML{where}: {reason}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} is not a recipe: expected keys such as data, student, teacher, train")
    return content


def _merge(base: Draft, change: Mapping[str, Any]) -> Draft:
    """Return the draft ``base`` updated by ``change``, key by key in each section.

    Another model drops the keys of the old one. Terms are updated for the changed method.
    """
    merged = {**base, "terms": carried_terms(base, {**base, **change})}
    for key, value in change.items():
        old = merged.get(key)
        if not (isinstance(old, dict) and isinstance(value, dict)):
            merged[key] = value
        elif key == "terms":
            merged[key] = {**old, **{name: updated(old.get(name), term) for name, term in value.items()}}
        elif key in ("student", "teacher"):
            if value.get("members"):  # members replace a single teacher; only min_miou is kept
                old = {name: old[name] for name in ("min_miou", "members") if name in old}
            if "model" in value:
                old = {name: setting for name, setting in old.items() if name not in KEYS_OF_A_MODEL}
            merged[key] = {**old, **value}
        elif key == "train":
            merged[key] = trained(old, value)
        else:
            merged[key] = {**old, **value}
    return merged
