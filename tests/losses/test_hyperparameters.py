"""What a hyperparameter cannot be, for every loss: the function and the module refuse it alike, by name."""

import inspect
import math

import pytest
import torch

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS
from tests.losses.case import Case, cases, name_of, run

NAN, INF = math.nan, math.inf
NUMBERS = ["4", None, True, NAN, INF, [1.0]]
COUNTS = ["4", True, 1.5, 0, -1, NAN]

# What each may not be, written out here by hand: the names mean the same in every loss.
WRONG: dict[str, list[object]] = {
    **{key: [*NUMBERS, 0, -1.0] for key in ("temperature",)},
    **{key: [*NUMBERS, -0.1] for key in ("inter", "intra", "target", "others", "distance", "angle", "zero", "first")},
    **{key: [*NUMBERS, -0.1] for key in ("aux_weight", "adapt_weight", "affinity_weight", "first_stage")},
    **{key: [*NUMBERS, -0.1] for key in ("fd_weight", "contrast_weight")},
    **dict.fromkeys(
        ("samples", "pool", "patch", "tokens", "levels", "size", "negatives", "dim", "width", "reduction"), COUNTS
    ),
    **dict.fromkeys(("pixel_size", "region_size", "num_classes", "channels", "latent_channels", "images"), COUNTS),
    **{key: ["4", True, 1.5, -1] for key in ("pixel_contrast", "region_contrast")},
    **{key: ["yes", 1, None] for key in ("group", "shuffle", "across_processes", "standardize")},
    "p": [*NUMBERS, 0.5],
    "q": [*NUMBERS, 0.5],
    "momentum": [*NUMBERS, -0.1, 1.1],
    "mask_ratio": [*NUMBERS, -0.1, 1.0],
    "groups": ["4", True, 1.5, 1],
    "steps": [*COUNTS, 501],
    "stride": ["class", 0, 1.5, True, None],
    "sampling": ["radnom", 1, None],
    "form": ["papre", 1, None],
    "normalize": ["chanel", 1, None, True],
    "ignore_index": ["255", 1.5, True],
}
# One width, or a list of them for losses on several maps; a network's layer; I2CKD's number, OFD's tensors.
ELSEWHERE = {"student_channels", "teacher_channels", "classifier", "margin"}


def _wrong(case: Case) -> list[tuple[str, object]]:
    names = [*case.card.hyperparameters, "ignore_index"]
    return [(name, value) for name in names if name in WRONG for value in WRONG[name] if not _may_be(case, name, value)]


def _may_be(case: Case, name: str, value: object) -> bool:
    return value is None and inspect.signature(getattr(losses, case.module)).parameters[name].default is None


def test_every_hyperparameter_is_in_the_table() -> None:
    assert {name for card in LOSS_CARDS for name in card.hyperparameters} <= WRONG.keys() | ELSEWHERE


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_function_and_module_refuse_alike(case: Case) -> None:
    student, teacher, labels = case.inputs()
    for name, value in _wrong(case):
        with pytest.raises(ValueError, match=rf"^{name} must be .*, got |groups must be >= 2") as of_module:
            case.build(**{name: value})
        if not case.card.module_only:
            with pytest.raises(ValueError, match=f"^{name} must be ") as of_function:
                run(case.function, student, teacher, labels, **case.kwargs | {name: value})
            assert str(of_function.value) == str(of_module.value)


def test_cross_entropy_refuses_alike() -> None:
    logits, labels = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
    for value in WRONG["aux_weight"]:
        with pytest.raises(ValueError, match="^aux_weight must be "):
            losses.CrossEntropy(aux_weight=value)
        with pytest.raises(ValueError, match="^aux_weight must be "):
            losses.cross_entropy(logits, None, labels, aux_weight=value)


@pytest.mark.parametrize("value", [-1, NAN, "1", True])
def test_margin_of_i2ckd(value: object) -> None:
    x, labels = torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
    for call in (lambda: losses.I2CKD(margin=value), lambda: losses.i2ckd(x, x, labels, margin=value)):
        with pytest.raises(ValueError, match="^margin must be "):
            call()


def test_what_is_meant_is_said() -> None:
    x = torch.rand(1, 3, 2, 2)
    for wrong, message in (
        ({"temperature": 0}, "temperature must be > 0, got 0"),
        ({"temperature": "4"}, "temperature must be a number, got '4'"),
        ({"ignore_index": 1.5}, "ignore_index must be a whole number, got 1.5"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            losses.kd(x, x, **wrong)
    with pytest.raises(ValueError, match=r'^form must be "paper" or "released", got \'papre\'$'):
        losses.icsd(x, x, form="papre")
    with pytest.raises(ValueError, match=r"^student_channels must be a list, each entry > 0, got \[4, 0\]$"):
        losses.ReviewKD(student_channels=[4, 0], teacher_channels=[4, 4])


def test_numbers_of_other_libraries_are_numbers() -> None:
    import numpy as np

    x = torch.rand(1, 3, 2, 2)
    assert losses.kd(x, x.flip(1), temperature=np.float32(2)) == losses.kd(x, x.flip(1), temperature=2.0)
    assert losses.GSKD(samples=np.int64(4)).samples == 4
