"""Every public loss has an example in its docstring, and every example prints what it shows."""

import doctest
import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS

MODULES = sorted(path.stem for path in Path(losses.__file__).parent.glob("*.py") if path.stem != "__init__")
# The function, or the class of a loss that has no function.
FUNCTIONS = sorted(name for name in losses.__all__ if inspect.isfunction(getattr(losses, name)))
CLASSES = sorted(card.module for card in LOSS_CARDS if card.module_only)


@pytest.mark.parametrize("name", FUNCTIONS + CLASSES)
def test_a_public_loss_has_an_example(name: str) -> None:
    assert any(test.examples for test in examples(getattr(losses, name))), f"{name}: add an Example with >>> lines"


@pytest.mark.parametrize("module", MODULES)
def test_examples_print_what_they_show(module: str) -> None:
    loaded = import_module(f"segdistill.losses.{module}")
    # doctest.testmod would skip decorated functions: their globals belong to the module of the decorator.
    members = [member for member in vars(loaded).values() if getattr(member, "__module__", None) == loaded.__name__]
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for test in (test for member in members for test in examples(member)):
            runner.run(test, out=output.append)
    assert runner.failures == 0, "".join(output)


def examples(member: Callable[..., Any]) -> list[doctest.DocTest]:
    """Return the examples of a function, or of a class and its methods."""
    if not callable(member):
        return []
    return doctest.DocTestFinder().find(inspect.unwrap(member), member.__name__, globs={})
