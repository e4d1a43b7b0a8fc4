"""What is wrong of a term's words alone is found without a network."""

import subprocess
import sys
from pathlib import Path

import pytest

from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.distillation.build import check_terms
from segdistill.errors import UserError
from segdistill.recipes import METHODS
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
