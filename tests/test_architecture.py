"""Dependencies point one way, and what must answer at once imports no PyTorch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "segdistill"

# Part of the package: the parts it may import. Read from the bottom, each line stands on those below it.
MAY_IMPORT = {
    "cli": {"catalogue", "comparison", "data", "errors", "models", "processes", "recipes", "reports", "taps",
            "threads", "training", "working_folder", ""},
    "__main__": {"cli", "working_folder"},
    "comparison": {"atomic", "data", "distiller", "errors", "models", "processes", "recipes", "reports", "taps",
                   "training"},
    "training": {"atomic", "catalogue", "data", "distiller", "ensemble", "errors", "gradients", "importing", "losses",
                 "models", "outputs", "parts", "processes", "recipes", "reports", "running", "schedules",
                 "taps", "term", "wiring", ""},
    "reports": {"atomic", "data", "errors"},
    "recipes": {"catalogue", "data", "errors"},
    "data": {"errors", "threads"},
    "models": {"atomic", "errors", "importing", "outputs"},
    "distiller": {"arguments", "ensemble", "errors", "gradients", "losses", "outputs", "parts", "running", "taps",
                  "term", "wiring"},
    "parts": {"losses", "outputs"},
    "arguments": {"errors", "sharing", "term"},
    "wiring": {"gradients", "term"},
    "ensemble": {"arguments", "errors", "outputs", "running", "taps"},
    "running": {"outputs"},
    "sharing": set(),
    "term": {"catalogue", "errors", "gradients", "losses", "schedules"},
    "taps": {"errors", "outputs", "running"},
    "gradients": {"errors"},
    "catalogue": {"errors"},
    "losses": set(),
    "outputs": {"errors"},
    "schedules": set(),
    "processes": set(),
    "threads": set(),
    "atomic": {"errors"},
    "importing": {"errors"},
    "working_folder": set(),
    "errors": set(),
}  # fmt: skip


def part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Return the parts of the package that a file imports; "" is the package itself."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            if node.module == "segdistill":
                modules = [f"segdistill.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        for module in modules:
            head, _, rest = module.partition(".")
            if head == "segdistill":
                name = rest.split(".")[0]
                found.add(name if (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").exists() else "")
    return found


@pytest.mark.parametrize("file", [f for f in sorted(SOURCE.rglob("*.py")) if f != SOURCE / "__init__.py"], ids=str)
def test_imports_point_one_way(file: Path) -> None:
    own = part(file)
    assert imported(file) - {own} <= MAY_IMPORT[own]


def test_every_part_has_its_place() -> None:
    parts = {part(file) for file in SOURCE.rglob("*.py")} - {"__init__"}
    assert parts == set(MAY_IMPORT)


def test_the_order_has_no_circle() -> None:
    done: set[str] = {""}
    while len(done) <= len(MAY_IMPORT):
        ready = {name for name, needs in MAY_IMPORT.items() if name not in done and needs <= done}
        assert ready, f"a circle among {set(MAY_IMPORT) - done}"
        done |= ready


LIGHT = (
    "segdistill",
    "segdistill.cli",
    "segdistill.cli.lists",
    "segdistill.cli.commands",
    "segdistill.cli.data",
    "segdistill.threads",
    "segdistill.recipes",
    "segdistill.catalogue",
    "segdistill.reports.table",
    "segdistill.models.names",
    "segdistill.data",
    "segdistill.schedules",
)


@pytest.mark.parametrize("module", LIGHT)
def test_answers_without_pytorch(module: str) -> None:
    code = (
        f"import {module}, sys; print([heavy for heavy in ('torch', 'torchvision', 'numpy') if heavy in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
