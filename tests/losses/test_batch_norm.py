"""The batch normalization inside losses: PyTorch's, except for one value per channel, which PyTorch rejects."""

from typing import Any

import pytest
import torch
from torch import nn

from segdistill import losses
from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.losses._batch_norm import BatchNorm
from tests.losses.case import Case, cases

WITH_LAYERS = ("OFD", "SRRL", "ReviewKD", "DiffKD", "KnowledgeAdaptation", "MasKD", "FreeKD")
SINGLE = [
    *(case for case in cases() if case.module in WITH_LAYERS),
    Case("CIRKDMemory", {"num_classes": 5, "channels": 6, "student_channels": 6, "pixel_size": 40, "region_size": 3}),
]


def filled(layer: nn.Module) -> Any:
    """Fill parameters and statistics with other numbers than the initial ones."""
    for number, value in enumerate((*layer.parameters(), *(b for b in layer.buffers() if b.is_floating_point()))):
        value.data.copy_(torch.linspace(0.5 + number, 2 + number, 3))
    return layer


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 1, 1), (1, 3, 2, 1), (2, 3, 4, 5)])
@pytest.mark.parametrize("tracks", [True, False])
def test_is_pytorchs_for_more_than_one_value(rng: torch.Generator, shape: tuple[int, ...], tracks: bool) -> None:
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    ours, theirs = (filled(norm(3, track_running_stats=tracks)) for norm in (BatchNorm, kind))
    for _ in range(2):
        x = torch.randn(shape, generator=rng)
        assert ours(x).equal(theirs(x))
    assert all(a.equal(b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    ours.eval(), theirs.eval()
    assert ours(x).equal(theirs(x))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_is_normalized_by_the_running_statistics_and_changes_none(shape: tuple[int, ...]) -> None:
    layer = filled(BatchNorm(3))  # weight, bias, mean and variance begin at 0.5, 1.5, 2.5 and 3.5
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    result = layer(torch.tensor([4.0, 0.0, 0.0]).reshape(shape))
    assert result.flatten()[0].item() == pytest.approx((4 - 2.5) / (3.5 + 1e-5) ** 0.5 * 0.5 + 1.5)
    assert all(value.equal(before[name]) for name, value in layer.state_dict().items())


def test_one_value_without_running_statistics_is_scaled_and_shifted() -> None:
    layer = filled(BatchNorm(3, track_running_stats=False))
    result = layer(torch.tensor([[4.0, 0.0, 0.0]]))
    torch.testing.assert_close(result, torch.tensor([[4 * 0.5 + 1.5, 2.25, 3.0]]), rtol=1e-4, atol=0)


def test_no_rows_give_no_rows_and_still_backpropagate() -> None:
    layer = BatchNorm(3)
    layer(torch.zeros(0, 3)).sum().backward()
    assert layer.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.module)
def test_every_loss_takes_one_position_of_one_image(case: Case, rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 1, 6, 1, 1, generator=rng)
    student.requires_grad_()
    labels = torch.ones(1, 1, 1, dtype=torch.long)
    loss = case.build()
    value = loss(student, teacher, labels)
    value.backward()
    assert value.isfinite()
    assert value > 0
    assert student.grad.isfinite().all()
    if isinstance(loss, losses.SelfTaught):
        objective = loss.inner_objective(student, teacher, labels)
        objective.backward()
        assert objective.isfinite()


@pytest.mark.parametrize("card", LOSS_CARDS, ids=lambda card: card.name)
def test_no_loss_has_a_layer_of_pytorch_that_rejects_one_value(card: Any) -> None:
    case = next((case for case in [SINGLE[-1], *cases()] if case.module == card.module), Case(card.module))
    loss = case.build()
    found = [m for m in loss.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {type(layer) for layer in found} <= {BatchNorm}


def test_the_layers_are_converted_to_synchronized_ones() -> None:
    for case in SINGLE:
        loss = case.build()
        before = {name: value.clone() for name, value in loss.state_dict().items()}
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(loss)
        assert not any(isinstance(layer, BatchNorm) for layer in converted.modules())
        assert all(value.equal(before[name]) for name, value in converted.state_dict().items())
