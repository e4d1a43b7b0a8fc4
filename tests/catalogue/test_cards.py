"""The catalogue says what the losses' signatures say, without torch."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS, LossCard, loss_card
from segdistill.errors import UserError
from segdistill.losses.loss import declared, trait

EVERYWHERE = {"ignore_index", "generator", "align_corners"}  # of the data set, the run or the student; not of a term


def forms(card: LossCard) -> list[Any]:
    """The module, and the function where there is one."""
    return [getattr(losses, name) for name in (card.module, *([] if card.module_only else [card.name]))]


@pytest.mark.parametrize("card", LOSS_CARDS, ids=lambda card: card.name)
class TestCard:
    def test_hyperparameters_are_the_signatures(self, card: LossCard) -> None:
        for callable_ in forms(card):
            defaults = {
                name: None if parameter.default is parameter.empty else parameter.default
                for name, parameter in inspect.signature(callable_).parameters.items()
                if parameter.kind is parameter.KEYWORD_ONLY and name not in EVERYWHERE
            }
            assert defaults == dict(card.hyperparameters)

    def test_void_is_255_unless_it_is_given(self, card: LossCard) -> None:
        for callable_ in forms(card):
            parameter = inspect.signature(callable_).parameters.get("ignore_index")
            assert parameter is None or parameter.default == 255

    def test_student_teacher_labels_come_first(self, card: LossCard) -> None:
        for form in forms(card):
            parameters = list(inspect.signature(getattr(form, "forward", form)).parameters)
            assert [name for name in parameters if name != "self"][:3] == ["student", "teacher", "labels"]

    def test_traits_are_the_declared_ones(self, card: LossCard) -> None:
        for form in forms(card):
            assert trait(form, "equal_channels") is card.equal_channels
            assert trait(form, "needs_teacher") is declared(form, "needs_teacher") is card.teacher
            assert trait(form, "reads_classes") is (card.needs == ("logits",))
            assert trait(form, "mean_over") == card.mean_over

    def test_the_function_has_a_file_of_its_name(self, card: LossCard) -> None:
        file = Path(inspect.getfile(getattr(losses, card.module)))
        assert file.stem == card.name
        assert card.url in file.read_text(), "docstring and card cite different places"


def test_a_mistyped_name_gets_the_nearest() -> None:
    assert loss_card("gskd").module == "GSKD"
    with pytest.raises(UserError, match="unknown loss 'gksd'; did you mean 'gskd'"):
        loss_card("gksd")


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, segdistill.catalogue.cards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
