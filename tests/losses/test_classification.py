"""Image classification: logits (N, C), last maps (N, C, 7, 7), one label an image."""

import pytest
import torch
from torch import Tensor

from segdistill import losses
from tests.losses.case import Case, cases, name_of, run

NEED_NO_POSITIONS = {"DIST", "KD", "RKD", "SP"}  # they compare images, or the classes of one


def inputs(*size: int) -> tuple[Tensor, Tensor, Tensor]:
    student, teacher = torch.randn(2, 4, 6, *size, generator=torch.Generator().manual_seed(0))
    return student.requires_grad_(), teacher, torch.tensor([0, 1, 3, 2])


@pytest.fixture(params=cases(), ids=name_of)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def refusal(case: Case) -> str:
    """Why the loss does not take vectors; empty where it does."""
    try:
        run(case.build(), *inputs())
    except ValueError as error:
        return str(error)
    return ""


def test_vectors_are_maps_of_one_position_or_the_loss_says_why_not(case: Case) -> None:
    if reason := refusal(case):
        assert case.module not in NEED_NO_POSITIONS
        assert "(N, C) has none" in reason
        return
    student, teacher, labels = inputs()
    value = run(case.build(), student, teacher, labels)
    if case.card.labels == "optional":
        torch.testing.assert_close(run(case.build(), student, teacher), value)
    as_maps = (x[..., None, None] for x in (student, teacher))
    torch.testing.assert_close(run(case.build(), *as_maps, labels[:, None, None]), value)
    value.backward()
    assert student.grad.abs().sum() > 0


def test_last_maps_without_labels(case: Case) -> None:
    student, teacher, _ = inputs(7, 7)
    if case.card.labels == "required" and case.kwargs.get("sampling") != "random":
        with pytest.raises(ValueError, match="needs labels"):
            run(case.build(), student, teacher)
        return
    value = run(case.build(), student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad.abs().sum() > 0


def test_an_images_label_is_that_of_all_its_positions(case: Case) -> None:
    student, teacher, labels = inputs(7, 7)
    labels[0] = 255
    value = run(case.build(), student, teacher, labels)
    at_positions = labels[:, None, None].expand(4, 7, 7)
    torch.testing.assert_close(value, run(case.build(), student, teacher, at_positions), rtol=0, atol=0)
    value.backward()
    assert student.grad[0].abs().sum() == 0
    assert student.grad[1:].abs().sum() > 0


def test_labels_of_other_images_are_an_error(case: Case) -> None:
    student, teacher, labels = inputs(7, 7)
    with pytest.raises(ValueError, match=r"labels \(3,\) and student \(4, 6, 7, 7\)"):
        run(case.build(), student, teacher, labels[:3])


def test_gskd_on_the_last_maps_of_imagenet() -> None:
    student, teacher, _ = inputs(7, 7)
    loss = losses.GSKD(sampling="random", samples=16, stride=10)
    value = run(loss, student, teacher)
    value.backward()
    assert value > 0
    assert (student.grad.flatten(1).norm(dim=1) > 0).all()
    assert run(loss, student, student).item() == pytest.approx(0, abs=1e-6)
