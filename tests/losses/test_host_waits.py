"""What a loss asks the device to hand over to the host, counted on a CPU by the operations that would wait on a GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.host_waits import HostWaits
from segdistill.losses import GSKD, SelfTaught
from segdistill.losses._class_positions import FIXED_CLASSES
from tests.losses.case import Case, cases, name_of


def waits_of(work: Callable[[], Tensor]) -> list[str]:
    """Return the operations in one call and its backward pass, after a first call."""
    work().backward()
    with HostWaits() as waits:
        work().backward()
    return list(waits.counts.elements())


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_no_loss_waits_for_the_device(case: Case) -> None:
    student, teacher, labels = case.inputs()
    labels[..., :4] = 255
    loss = case.build(**case.facts)
    assert waits_of(lambda: loss(student, teacher.detach(), labels)) == []


@pytest.mark.parametrize("case", [case for case in cases() if not case.maps], ids=name_of)
def test_no_inner_objective_waits_for_the_device(case: Case) -> None:
    loss = case.build(**case.facts)
    if not isinstance(loss, SelfTaught):
        return
    student, teacher, labels = (x.detach() for x in case.inputs())
    assert waits_of(lambda: loss.inner_objective(student, teacher, labels)) == []


@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("num_classes", [None, FIXED_CLASSES + 1])
def test_gskd_waits_once_a_step_if_the_classes_are_many(images: int, num_classes: int | None) -> None:
    student, teacher = torch.randn(2, images, 6, 8, 8).requires_grad_()
    labels = torch.randint(0, 5, (images, 16, 16))
    loss = GSKD(num_classes=num_classes)
    assert waits_of(lambda: loss(student, teacher.detach(), labels)) == ["item"]


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x[x > 0].sum(),
        lambda x: (x * float(x.detach().sum())).sum(),
        lambda x: x.unique().sum(),
        lambda x: x.flatten()[(x > 0).flatten().nonzero()].sum(),
        lambda x: (x * torch.tensor([1.0, 2.0])).sum(),
    ],
)
def test_the_counter_sees_what_waits(work: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(3, 2, requires_grad=True)
    with HostWaits() as waits:
        work(x)
    assert waits.total
