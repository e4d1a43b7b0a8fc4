"""Dependencies point one way, and what must answer at once imports no PyTorch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "segdistill"

# Part of the package: the parts it may import. Read from the bottom, each line stands on those below it.
MAY_IMPORT = {
    "__main__": {"cli", "system"},
    "cli": {"catalogue", "data", "distillation", "errors", "evaluation", "jobs", "models", "outputs", "recipes",
            "reports", "system", "training", "version"},
    "jobs": {"comparison", "data", "distillation", "errors", "evaluation", "explain", "export", "frames", "hub",
             "models", "recipes", "reports", "runs", "system", "training"},
    "hub": {"data", "errors", "evaluation", "export", "models", "recipes", "reports", "runs", "system"},
    "export": {"data", "errors", "evaluation", "models", "outputs", "recipes", "system", "training", "version"},
    "frames": {"data", "errors", "reports", "system"},
    "explain": {"data", "distillation", "errors", "evaluation", "losses", "reports", "system"},
    "comparison": {"catalogue", "data", "distillation", "errors", "evaluation", "recipes", "reports", "runs", "system",
                   "training"},
    "training": {"data", "distillation", "errors", "evaluation", "models", "outputs", "recipes", "replay", "reports",
                 "runs", "speed", "statistics", "system"},
    "replay": {"data", "errors", "recipes", "runs", "system"},
    "evaluation": {"data", "distillation", "errors", "models", "outputs", "recipes", "reports", "runs", "statistics",
                   "system"},
    "reports": {"data", "errors", "recipes", "runs", "statistics", "system", "version"},
    "runs": {"data", "errors", "recipes", "statistics", "system", "version"},
    "recipes": {"catalogue", "data", "errors"},
    "data": {"errors", "system"},
    "models": {"errors", "outputs", "system"},
    "distillation": {"catalogue", "errors", "losses", "outputs", "schedules", "system"},
    "catalogue": {"errors"},
    "losses": set(),
    "speed": set(),
    "statistics": set(),
    "system": {"errors"},
    "outputs": {"errors"},
    "schedules": set(),
    "errors": set(),
    "version": set(),
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
    "segdistill.jobs.compare",
    "segdistill.jobs.distill",
    "segdistill.jobs.report",
    "segdistill.jobs.explain",
    "segdistill.jobs.export",
    "segdistill.jobs.hub",
    "segdistill.jobs.predict",
    "segdistill.jobs.run",
    "segdistill.system.threads",
    "segdistill.recipes",
    "segdistill.catalogue.cards",
    "segdistill.reports.run_table",
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
