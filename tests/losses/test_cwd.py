"""cwd: a number by hand, the released codes' numbers, then properties of its own."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segdistill.losses import CWD, cwd
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case("CWD"),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean of T^2 KL(q || p), image by image and channel by channel, over the valid positions."""
    divergences = []
    for n, c in itertools.product(range(len(labels)), range(student.shape[1])):
        valid = labels[n] != 255
        if valid.any():
            p, q = (torch.softmax(x[n, c][valid] / temperature, dim=0) for x in (student, teacher))
            divergences.append(temperature**2 * (q * (q / p).log()).sum())
    return torch.stack(divergences).mean()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_is_the_equation_taken_literally(temperature: float) -> None:
    student, teacher, labels = batch()
    same_value_and_gradient(
        lambda: cwd(student, teacher, labels, temperature=temperature),
        lambda: literal(student, teacher, labels, temperature),
        [student],
    )


def test_two_positions_by_hand() -> None:
    student = torch.zeros(1, 2, 1, 2)  # both channels (1/2, 1/2)
    teacher = torch.tensor([[2 * math.log(3.0), 0.0], [5.0, 5.0]]).view(1, 2, 1, 2)  # (3/4, 1/4), (1/2, 1/2)
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2  # temperature squared, mean of 2 channels
    assert cwd(student, teacher, temperature=2.0).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "kind", "temperature"),
    [
        ("cwd_logits_case1", "logits", 4),
        ("cwd_features_case1", "features", 4),
        ("i2ckd_lsm_cwd_logits_T2_case0", "logits", 2),
    ],
)
def test_golden(agrees_with_golden: Callable[..., None], name: str, kind: str, temperature: float) -> None:
    agrees_with_golden(name, CWD(temperature=temperature), kind=kind)


def test_ignores_a_constant_added_to_a_channel(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    shift = torch.randn(2, 5, 1, 1, generator=rng)
    torch.testing.assert_close(cwd(student + shift, teacher - shift), cwd(student, teacher))


def test_does_not_know_where_positions_lie(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=rng)
    order = torch.randperm(12, generator=rng)
    shuffled = [x.flatten(2)[:, :, order].view(2, 5, 4, 3) for x in (student, teacher)]
    torch.testing.assert_close(cwd(*shuffled), cwd(student, teacher))


def test_vectors_have_no_positions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(8, 5\).*positions.*none"):
        cwd(torch.zeros(8, 5), torch.zeros(8, 5))


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        CWD(temperature=0)
