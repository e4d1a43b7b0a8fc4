"""What a loss asks the device to hand over to the host, counted on a CPU by the operations that would wait on a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from segdistill.losses import GSKD, SelfTaught
from segdistill.losses._class_positions import FIXED_CLASSES
from tests.losses.case import Case, cases, name_of

_WAITING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero",
    "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::repeat_interleave.Tensor",
    "aten::lift_fresh",  # of torch.tensor(...): a copy from the host
}  # fmt: skip
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class HostWaits(TorchDispatchMode):
    """Lists the operations for which the host would wait for a GPU, or copy to it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        by_mask = name in _INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1])
        if by_mask or {name, str(func._schema.name) + "." + func._schema.overload_name} & _WAITING:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def waits_of(work: Callable[[], Tensor]) -> list[str]:
    """Return the operations in one call and its backward pass, after a first call."""
    work().backward()
    with HostWaits() as waits:
        work().backward()
    return waits.names


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
    assert waits_of(lambda: loss(student, teacher.detach(), labels)) == ["aten::_local_scalar_dense"]


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
    assert waits.names
