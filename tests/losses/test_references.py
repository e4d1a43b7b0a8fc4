"""Every public loss is compared with its equation written out: no loss lands without a reference for everyone."""

import ast
from pathlib import Path

import pytest
import torch

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS
from tests.losses.references import batch, same_value_and_gradient

TESTS = Path(__file__).parent
REFERENCE, TEST = "literal", "test_is_the_equation_taken_literally"


def lacking(source: str) -> list[str]:
    """Return what a test file lacks of a reference that shares no code with the loss."""
    tree = ast.parse(source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    missing = [f"a function {name}" for name in (REFERENCE, TEST) if name not in functions]
    if missing:
        return missing
    for name in ("same_value_and_gradient", REFERENCE):
        if name not in names(functions[TEST]):
            missing.append(f"a call of {name} in {TEST}")
    if "golden" in " ".join(argument.arg for argument in functions[TEST].args.args):
        missing.append(f"a {TEST} without golden files")
    tested = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (getattr(node, "module", None) or alias.name).startswith("segdistill")
    }
    shared = tested & reached(REFERENCE, functions)
    return [*missing, f"a {REFERENCE} without {', '.join(sorted(shared))}"] if shared else missing


def names(function: ast.FunctionDef) -> set[str]:
    """Return the names that a function reads."""
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}


def reached(name: str, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """Return the names that a function reads, itself or through other functions of its file."""
    found: set[str] = set()
    following = {name}
    while following:
        found |= following
        following = {x for known in following & functions.keys() for x in names(functions[known])} - found
    return found


@pytest.mark.parametrize("name", [card.name for card in LOSS_CARDS])
def test_every_loss_has_a_reference(name: str) -> None:
    path = TESTS / f"test_{name}.py"
    assert path.is_file(), f"{path.name} is missing"
    missing = lacking(path.read_text())
    assert not missing, f"{path.name} lacks {'; '.join(missing)}"


def test_every_public_name_is_of_a_card() -> None:
    # The core of gskd, which its reference covers; and what is no loss: the protocol, the base class.
    of_cards = {"sub_image_descriptor_kl", "Loss", "SelfTaught"}.union(
        *({card.name, card.module} for card in LOSS_CARDS)
    )
    assert set(losses.__all__) <= of_cards


def test_what_counts_as_a_reference() -> None:
    head = "from segdistill.losses import kd\nfrom segdistill.losses._ops import unit\n"
    test = f"def {TEST}():\n    same_value_and_gradient(kd, literal, [])\n"
    good = head + "def helper(x):\n    return x.unit\ndef literal(x):\n    return helper(x)\n" + test
    assert lacking(good) == []
    assert lacking(head + test) == ["a function literal"]
    assert lacking(good.replace("x.unit", "unit(x)")) == ["a literal without unit"]
    assert lacking(good.replace("helper(x)\n" + test[:3], "kd(x)\n" + test[:3])) == ["a literal without kd"]
    assert lacking(good.replace("same_value_and_gradient(kd, literal, [])", "assert kd == literal")) == [
        f"a call of same_value_and_gradient in {TEST}"
    ]
    assert lacking(good.replace(f"{TEST}()", f"{TEST}(agrees_with_golden)")) == [f"a {TEST} without golden files"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x.square().sum() * (1 + 1e-6), "Scalars are not close"),
        (lambda x: x.square().sum() + (x - x.detach()).sum(), "Tensor-likes are not close"),
        (lambda x: x.square().sum() + 0 * x.sum().detach(), None),
    ],
)
def test_a_wrong_value_and_a_wrong_gradient_are_seen(wrong, message: str | None) -> None:
    x, _, _ = batch()
    if message is None:
        same_value_and_gradient(lambda: wrong(x), lambda: (x * x).sum(), [x])
        return
    with pytest.raises(AssertionError, match=message):
        same_value_and_gradient(lambda: wrong(x), lambda: (x * x).sum(), [x])


def test_a_reference_in_float32_or_without_a_gradient_is_refused() -> None:
    x, _, _ = batch()
    with pytest.raises(AssertionError, match="in float64"):
        same_value_and_gradient(lambda: x.sum(), lambda: x.float().sum(), [x])
    with pytest.raises(AssertionError, match="no gradient"):
        same_value_and_gradient(lambda: 0 * x.sum(), lambda: torch.zeros_like(x).mul(x).sum(), [x])
