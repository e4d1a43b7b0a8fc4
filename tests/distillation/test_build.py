"""What is wrong of a term's words alone is found without a network."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segdistill import Distiller
from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.distillation.build import build_terms, check_terms
from segdistill.distillation.facts import NetworkPair
from segdistill.errors import UserError
from segdistill.recipes import METHODS
from tests.networks import sequential
from tests.tiny import TINY, tiny


@pytest.mark.parametrize("method", [*METHODS, *(card.name for card in LOSS_CARDS if card.teacher)])
def test_every_method_passes(method: str) -> None:
    check_terms(tiny(f"method={method}").term_settings)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("terms.kd.temperature=0", "term 'kd': temperature must be > 0, got 0"),
        ("terms.gskd.sampling=radnom", "term 'gskd': sampling must be"),
        ("terms.kd.weight={linear: {start: 0, stop: 1}}", "term 'kd': .*'stop'"),
        ("terms.kd.weight={linear: {start: 0, end: 1}, constant: {value: 1}}", "term 'kd': a weight schedule is one"),
        ("terms.kd.weight=half", "term 'kd': .*half"),
        ("terms.mine.loss=tests.networks:nowhere", "term 'mine': unknown callable in tests.networks 'nowhere'"),
        ("terms.task.aux_weight=-1", "term 'task': aux_weight must be >= 0, got -1"),
    ],
)
def test_a_wrong_word_is_named(words: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        check_terms(tiny(words).term_settings)


def edge(student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
    assert teacher is None
    return student.diff(dim=-1).abs().mean()


edge.needs_teacher = False  # type: ignore[attr-defined]


def compares(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    return (student - teacher).abs().mean()


class Edge(nn.Module):
    """A loss that needs no teacher."""

    needs_teacher = False

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, student: Tensor, teacher: None, labels: Tensor | None = None) -> Tensor:
        assert teacher is None
        return student.diff(dim=-1).abs().pow(self.power).mean()


def maker() -> nn.Module:
    return Edge()


GIVE = r"declares needs_teacher = False; give terms.mine.needs_teacher=false too"
DECLARE = r"terms.mine.needs_teacher is false, and .* does not declare needs_teacher = False; declare it"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["terms.mine.loss=HERE:edge"], GIVE),
        (["terms.mine.loss=HERE:edge", "terms.mine.needs_teacher=true"], GIVE),
        (["terms.mine.loss=HERE:Edge"], GIVE),
        (["terms.mine.loss=HERE:compares", "terms.mine.needs_teacher=false"], DECLARE),
        (["terms.mine.loss=HERE:maker"], GIVE),
    ],
)
def test_recipe_and_loss_agree_on_the_teacher(words: list[str], expected: str) -> None:
    settings = tiny("method=none", *(word.replace("HERE", __name__) for word in words)).term_settings
    if "maker" not in words[0]:  # which must be called first
        with pytest.raises(UserError, match=f"term 'mine': .*{expected}"):
            check_terms(settings)
    pair = NetworkPair(sequential(4), sequential(4), 4, torch.zeros(1, 3, 32, 32), 255)
    with pytest.raises(UserError, match=f"term 'mine': .*{expected}"):
        build_terms(settings, pair)


@pytest.mark.parametrize("name", ["edge", "Edge", "maker"])
def test_a_loss_of_ones_own_without_a_teacher_trains_a_student_alone(name: str) -> None:
    words = [f"terms.mine.loss={__name__}:{name}", "terms.mine.needs_teacher=false"]
    settings = tiny("method=none", *words, *(["terms.mine.power=2"] if name == "Edge" else [])).term_settings
    check_terms(settings)
    student, images = sequential(4), torch.rand(2, 3, 32, 32)
    pair = NetworkPair(student, None, 4, torch.zeros(1, 3, 32, 32), 255)
    out = Distiller(student, None, build_terms(settings, pair))(images, torch.zeros(2, 32, 32, dtype=torch.long))
    assert out.terms["mine"] > 0


def other_names(s: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
    return (s - t).abs().mean()


def other_defaults(s: Any = None, t: Any = None) -> Any:
    return (s - t).abs().mean()


def scaled(*, factor: float) -> nn.Module:
    return Edge(factor)


def no_module(factor: float = 1.0) -> float:
    return factor


NAME_IT = (
    "if the function is the loss itself, name its first parameter 'student'; otherwise let it return a torch.nn.Module"
)


@pytest.mark.parametrize(
    ("words", "expected", "is_found_early"),
    [
        (["other_names"], f"called with no hyperparameters, which fails: missing a required .* 's'; {NAME_IT}", True),
        (["other_defaults"], f"no hyperparameters, which fails: unsupported operand type.*; {NAME_IT}", False),
        (["scaled"], f"which fails: missing a required argument: 'factor'; {NAME_IT}", True),
        (["scaled", "power=2"], f"called with power, which fails: .*; {NAME_IT}", True),
        (["Edge", "factor=2"], "called with factor, which fails: .*'factor'; give the term's keys the names of", True),
        (["no_module"], "returned float; expected a torch.nn.Module, or a function with the parameters", False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_function_that_is_no_loss_and_makes_none(words: list[str], expected: str, is_found_early: bool) -> None:
    name, *keys = words
    changes = [f"terms.mine.loss={__name__}:{name}", *(f"terms.mine.{key}" for key in keys)]
    settings = tiny("method=none", *changes, "terms.mine.needs_teacher=false").term_settings
    message = f"term 'mine': loss '{__name__}:{name}' .*{expected}"
    if is_found_early:
        with pytest.raises(UserError, match=message):
            check_terms(settings)
    pair = NetworkPair(sequential(4), sequential(4), 4, torch.zeros(1, 3, 32, 32), 255)
    with pytest.raises(UserError, match=message):
        build_terms(settings, pair)


def test_a_function_that_makes_a_loss_takes_the_terms_keys() -> None:
    changes = (f"terms.mine.loss={__name__}:scaled", "terms.mine.factor=2", "terms.mine.needs_teacher=false")
    settings = tiny("method=none", *changes).term_settings
    check_terms(settings)
    pair = NetworkPair(sequential(4), None, 4, torch.zeros(1, 3, 32, 32), 255)
    assert build_terms(settings, pair)["mine"].loss.power == 2


def test_the_task_needs_no_teacher_whatever_it_declares() -> None:
    for name in ("edge", "compares"):
        check_terms(tiny("method=kd", f"terms.task.loss={__name__}:{name}").term_settings)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("distill", "quickstart", "terms.gskd.samples=0"), "term 'gskd': samples must be > 0, got 0"),
        (
            ("compare", "quickstart", "--methods", "dist,kd:terms.kd.temperature=0"),
            "method 'kd:terms.kd.temperature=0': term 'kd': temperature must be > 0, got 0",
        ),
        (("sweep", "quickstart", "--set", "terms.kd.temperature=0..4"), "term 'kd': temperature must be > 0, got 0.0"),
        (("predict", "{run}", "nowhere.png"), "no such file or folder: nowhere.png"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_it_is_found_before_any_networks_are_imported(command: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text("{}")
    words = [word.format(run=tmp_path) for word in command]
    arguments = [*words[:2], *(TINY if "quickstart" in words else ()), *words[2:]]
    heavy = "('torchvision', 'timm', 'segmentation_models_pytorch', 'lightning_fabric')"
    code = (
        f"import sys; sys.argv = ['segdistill', *{arguments!r}]\n"
        "from segdistill.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (2, "[]\n"), done.stderr
    assert done.stderr == f"error: {expected}\n"
