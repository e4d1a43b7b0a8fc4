"""Seed mutations into the losses and list those that no test notices.

    python benchmarks/mutate_losses.py                    # 6 mutations of each loss, drawn with seed 0
    python benchmarks/mutate_losses.py kd gskd --each 0   # every mutation of two losses

A mutation changes one operator, number, comparison or reduction. It is killed when a test of the loss fails: its file
``tests/losses/test_NAME.py``, then its cases in the contract and the tests of the cards. A survivor is a missing test,
or it changes nothing that a caller can see. The exit status is 1 when one survives.

The tools at hand do not fit: mutmut leaves decorated functions alone, and every loss is one; cosmic-ray starts Python
and PyTorch anew for each mutation. Here each one runs in a fork that has PyTorch loaded.
"""

import argparse
import ast
import copy
import importlib.util
import os
import random
import signal
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from types import ModuleType

import numpy  # noqa: F401  (loaded once, before the forks)
import pytest
import torch  # noqa: F401

ROOT = Path(__file__).parents[1]
LOSSES = ROOT / "src" / "segdistill" / "losses"
TESTS = ROOT / "tests" / "losses"
CARDS = ROOT / "tests" / "catalogue" / "test_cards.py"
TIMEOUT = 120  # seconds

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
METHODS = {"mean": "sum", "sum": "mean", "amax": "amin", "amin": "amax", "softmax": "log_softmax", "abs": "square",
           "square": "abs", "sqrt": "square", "log_softmax": "softmax"}  # fmt: skip


def mutations(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Yield every mutated tree with its line and the change."""
    places = [node for node in _formulas(tree) if _mutated(node) is not None]
    for index in range(len(places)):
        changed = copy.deepcopy(tree)
        node = [node for node in _formulas(changed) if _mutated(node) is not None][index]
        before = ast.unparse(node)
        fields = _mutated(node)
        assert fields is not None
        for name, value in fields.items():
            setattr(node, name, value)
        yield f"line {getattr(node, 'lineno', 0)}: {before} -> {ast.unparse(node)}", changed


def _formulas(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without its imports, annotations, docstrings and error messages."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _formulas(child)


def _mutated(node: ast.AST) -> dict[str, object] | None:
    """Return the fields that change, or None for a node that is left alone."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        return {"op": OPERATORS[type(node.op)]()}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        return {"ops": [OPERATORS[type(node.ops[0])](), *node.ops[1:]]}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return {"op": ast.UAdd()}
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return {"value": node.value + 1}
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return {"value": not node.value}
    if isinstance(node, ast.Attribute) and node.attr in METHODS:
        return {"attr": METHODS[node.attr]}
    return None


class Mutant(MetaPathFinder, Loader):
    """Import one loss from a mutated tree."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = f"segdistill.losses.{name}"
        self.path = LOSSES / f"{name}.py"
        self.tree = tree

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        if fullname == self.name:
            return importlib.util.spec_from_file_location(fullname, self.path, loader=self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(ast.fix_missing_locations(self.tree), str(self.path), "exec"), module.__dict__)


def survives(name: str, tree: ast.Module) -> bool:
    """Run the tests of a loss on its mutant in a fork."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIMEOUT)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    sys.meta_path.insert(0, Mutant(name, tree))
    options = ["-x", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    failed = pytest.main([*options, str(TESTS / f"test_{name}.py")])
    if failed == pytest.ExitCode.OK:
        failed = pytest.main([*options, str(TESTS / "test_contract.py"), str(CARDS), "-k", f"{name} or cards"])
    os._exit(int(failed != pytest.ExitCode.OK))


def main() -> int:
    """Mutate the losses that the command line names, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("losses", nargs="*", help="names of losses; all by default")
    parser.add_argument("--each", type=int, default=6, help="mutations of each loss, 0 for every one")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(ROOT)
    names = given.losses or sorted(
        file.stem for file in LOSSES.glob("*.py") if (TESTS / f"test_{file.stem}.py").is_file()
    )
    tried = survived = 0
    for name in names:
        original = ast.parse((LOSSES / f"{name}.py").read_text())
        if not survives(name, original):
            raise SystemExit(f"the tests of {name} fail without a mutation")
        drawn = list(mutations(original))
        if given.each:
            drawn = random.Random(f"{name}{given.seed}").sample(drawn, min(given.each, len(drawn)))
        alive = [what for what, tree in drawn if survives(name, tree)]
        tried, survived = tried + len(drawn), survived + len(alive)
        print(
            f"{name}: {len(drawn) - len(alive)} of {len(drawn)} killed",
            *(f"  {what}" for what in alive),
            sep="\n",
            flush=True,
        )
    print(f"{tried - survived} of {tried} mutations killed")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
