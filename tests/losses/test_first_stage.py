"""What every loss with a first stage promises: one row each, of the contract's list."""

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import losses
from segdistill.losses.self_taught import SelfTaught
from tests.losses.case import Case, cases

STAGED = [case for case in cases() if isinstance(case.build(), SelfTaught) and case.build().first_stage > 0]


@pytest.fixture(params=STAGED, ids=lambda case: case.module)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def gradients(module: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


def test_every_such_loss_is_here() -> None:
    modules = {name: getattr(losses, name) for name in losses.__all__ if inspect.isclass(getattr(losses, name))}
    staged = {name for name, module in modules.items() if "first_stage" in inspect.signature(module).parameters}
    assert staged == {case.module for case in STAGED}


def test_one_backward_serves_both(case: Case) -> None:
    student, teacher, labels = case.inputs(size=24)
    value_of, objective_of, both = (case.build() for _ in range(3))
    value_of(student, teacher, labels).backward()
    alone, student.grad = student.grad.clone(), None
    objective_of.inner_objective(student, teacher, labels).backward()
    assert student.grad is None or student.grad.abs().sum() == 0

    student.grad = None
    (both(student, teacher, labels) + both.inner_objective(student, teacher, labels)).backward()
    torch.testing.assert_close(student.grad, alone)
    assert teacher.grad is None
    own = {id(p) for p in both.inner_parameters()}
    for parameter, v, o in zip(both.parameters(), gradients(value_of), gradients(objective_of), strict=True):
        ours, others = (o, v) if id(parameter) in own else (v, o)
        assert others is None or others.abs().sum() == 0
        assert ours.abs().sum() > 0
        torch.testing.assert_close(parameter.grad, ours)


def test_it_learns(case: Case, rng: torch.Generator) -> None:
    coarse = torch.randn(2, 6, 2, 2, generator=rng)  # so that a code can hold it
    teacher = F.interpolate(coarse, 16, mode="bilinear")
    labels = teacher[:, :5].argmax(dim=1)
    loss = case.build()
    optimizer = loss.inner_optimizer()
    objectives = []
    for _ in range(30):
        objective = loss.inner_objective(None, teacher, labels)
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        objectives.append(objective.item())
    assert sum(objectives[-3:]) < 0.9 * sum(objectives[:3])


def test_the_optimiser_has_the_own_parameters(case: Case) -> None:
    loss = case.build()
    taught = [p for group in loss.inner_optimizer().param_groups for p in group["params"]]
    assert {id(p) for p in taught} == {id(p) for p in loss.inner_parameters()}


def test_the_value_changes_nothing_of_its_own(case: Case) -> None:
    student, teacher, labels = case.inputs()
    loss = case.build()
    names = {name for name, p in loss.named_parameters() if id(p) in {id(own) for own in loss.inner_parameters()}}
    parts = tuple({name.split(".")[0] for name in names})
    before = copy.deepcopy(loss.state_dict())
    loss.train()(student, teacher, labels)
    for name, value in loss.state_dict().items():
        if name.startswith(parts):
            assert value.equal(before[name]), name


def test_the_objective_ignores_autocast_and_keeps_float64(case: Case) -> None:
    _, teacher, labels = case.inputs(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        objective = case.build().inner_objective(None, teacher, labels)
    assert objective.dtype == torch.float32
    torch.testing.assert_close(objective, case.build().inner_objective(None, teacher.float(), labels))
    loss, double = case.build(), case.build()
    exact = double.inner_objective(None, teacher.double(), labels)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(loss.inner_objective(None, teacher.float(), labels), exact.float(), rtol=1e-4, atol=1e-6)
    for (name, buffer), exact in zip(loss.named_buffers(), double.buffers(), strict=True):
        assert torch.allclose(buffer, exact, atol=1e-6), name  # running statistics are kept in both


def test_nothing_valid_leaves_it_finite(case: Case) -> None:
    _, teacher, labels = case.inputs()
    loss = case.build()
    loss.inner_objective(None, teacher, torch.full_like(labels, 255)).backward()
    assert all(p.grad.isfinite().all() for p in loss.inner_parameters())


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (9, 16)])
def test_any_size(case: Case, rng: torch.Generator, size: tuple[int, int]) -> None:
    student, teacher = torch.randn(2, 2, 6, *size, generator=rng)
    labels = torch.randint(0, 5, (2, *size), generator=rng)
    loss = case.build()
    assert loss(student, teacher, labels).isfinite()
    assert loss.inner_objective(None, teacher, labels).isfinite()


def test_its_share_of_the_run_is_no_less_than_nothing(case: Case) -> None:
    assert case.build(first_stage=0).first_stage == 0
    with pytest.raises(ValueError, match="first_stage.* must be >= 0"):
        case.build(first_stage=-0.1)
