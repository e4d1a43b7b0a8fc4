"""qsd: a number by hand, the equation taken literally, the released code's numbers, what the attention sees."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from segdistill.losses import QSD
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "QSD",
        {"student_channels": 6, "teacher_channels": 6},
        nonzero_at_equality="projections and attention stand between student and teacher",
    ),
]  # rows of the contract test


def small(**kwargs: Any) -> QSD:
    torch.manual_seed(0)
    return QSD(**{"student_channels": 3, "teacher_channels": 4} | kwargs)


def projected(vector: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Return the layer normalization and the linear layer of one vector."""
    mean = sum(vector) / len(vector)
    variance = sum((vector - mean) ** 2) / len(vector)
    normed = (vector - mean) / (variance + 1e-5).sqrt() * state[f"{name}.0.weight"] + state[f"{name}.0.bias"]
    return state[f"{name}.1.weight"] @ normed + state[f"{name}.1.bias"]


def literal(student: Tensor, teacher: Tensor, labels: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Return the mean square over channels and valid positions, query by query."""
    squares = []
    for n in range(len(student)):
        valid = [tuple(position) for position in (labels[n] != 255).nonzero().tolist()]
        values = {(y, x): projected(student[n, :, y, x], state, "values") for y, x in valid}
        for y, x in valid:
            query = projected(student[n, :, y, x], state, "queries")
            powers = {key: sum(query * teacher[n, :, key[0], key[1]]).exp() for key in valid}
            retrieved = sum(powers[key] * values[key] for key in valid) / sum(powers.values())
            squares += [(retrieved[c] - teacher[n, c, y, x]) ** 2 for c in range(teacher.shape[1])]
    return sum(squares) / len(squares)


def test_is_the_equation_taken_literally() -> None:
    student, teacher, labels = batch(3, 4)
    loss = small().double()
    with torch.no_grad():
        for parameter in loss.parameters():  # a normalization starts as the identity
            parameter += 0.1 * torch.randn(parameter.shape, dtype=torch.float64)
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, dict(loss.named_parameters())),
        [student, *loss.parameters()],
    )


def plain(queries: float, values: float) -> QSD:
    """A loss of two channels to one; queries and values are these numbers times the difference of the normed two."""
    loss = QSD(student_channels=2, teacher_channels=1).double()
    with torch.no_grad():
        for layer, factor in ((loss.queries[1], queries), (loss.values[1], values)):
            layer.weight.copy_(torch.tensor([[factor / 2, -factor / 2]]))
            layer.bias.zero_()
    return loss


def test_two_positions_by_hand() -> None:
    # Normed, the channels of a position are 1 and -1, or the other way round: their difference is 2 or -2.
    student = torch.tensor([[300.0, 0.0], [0.0, 300.0]], dtype=torch.float64).view(1, 2, 1, 2)
    teacher = torch.tensor([0.0, torch.tensor(3.0).log().item()], dtype=torch.float64).view(1, 1, 1, 2)
    # Queries 1 and -1 have powers 1 and 3 with the keys, then 1 and 1/3. The values are 8 and -8.
    retrieved = [(8 * 1 - 8 * 3) / 4, (8 * 3 - 8 * 1) / 4]
    expected = sum((r - t) ** 2 for r, t in zip(retrieved, teacher.flatten().tolist(), strict=True)) / 2
    assert plain(1.0, 8.0)(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_with_queries_of_zero_every_position_retrieves_the_mean_of_the_values() -> None:
    student, teacher, _ = batch(2, 1)
    loss = plain(0.0, 3.0)
    means = loss.values(student.movedim(1, -1)).mean(dim=(1, 2, 3))
    expected = (means.view(-1, 1, 1, 1) - teacher).square().mean()
    torch.testing.assert_close(loss(student, teacher), expected)


def test_a_large_teacher_leads_every_query_to_the_nearest_key() -> None:
    student, teacher, _ = batch(3, 4)
    loss = small().double()
    queries, values = (layers(student.movedim(1, -1)).flatten(1, 2) for layers in (loss.queries, loss.values))
    keys = 1e6 * teacher.movedim(1, -1).flatten(1, 2)
    nearest = (queries @ keys.mT).argmax(dim=2)
    assert len(nearest.unique()) > 1
    retrieved = torch.stack([v[index] for v, index in zip(values, nearest, strict=True)])
    torch.testing.assert_close(loss(student, 1e6 * teacher), (retrieved - keys).square().mean())


def test_the_order_of_the_positions_does_not_matter(rng: torch.Generator) -> None:
    student, teacher, labels = batch(3, 4)
    order = torch.randperm(12, generator=rng)
    shuffled = (x.flatten(-2)[..., order].view(x.shape) for x in (student, teacher, labels))
    loss = small().double()
    torch.testing.assert_close(loss(*shuffled), loss(student, teacher, labels))


def test_the_scale_and_the_mean_of_a_positions_features_do_not_matter(rng: torch.Generator) -> None:
    student, teacher, _ = batch(3, 4)
    scale = 1 + torch.rand(3, 1, 3, 4, generator=rng, dtype=torch.float64)
    loss, large = small().double(), 100 * student  # beside the variance, a normalization's 1e-5 is nothing
    torch.testing.assert_close(loss(scale * large + scale, teacher), loss(large, teacher), rtol=1e-4, atol=0)


def test_class_tokens_are_predicted_by_the_linear_layer_alone() -> None:
    student, teacher, _ = batch(3, 4)
    student, teacher = student[..., 0, 0], teacher[..., 0, 0]
    loss = small().double()
    torch.testing.assert_close(loss(student, teacher), (loss.values(student) - teacher).square().mean())


def test_all_layers_learn() -> None:
    student, teacher, _ = batch(3, 4)
    loss = small().double()
    loss(student, teacher).backward()
    shapes = [(3,), (3,), (4, 3), (4,)]  # weight and bias of a normalization, then of a linear layer
    assert [tuple(p.shape) for p in loss.parameters()] == 2 * shapes
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("void", [0, 5])
def test_the_weights_of_the_attention_are_never_all_in_memory(memory: torch.memory_format, void: int) -> None:
    student, teacher = (x.float().contiguous(memory_format=memory) for x in batch(3, 4)[:2])
    labels = torch.zeros(3, 12, dtype=torch.long)
    labels[:, :void] = 255
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # an error where another kernel is needed, which holds them
        assert small()(student, teacher, labels.view(3, 3, 4) if void else None).isfinite()


def test_golden(golden: Callable[[str], dict[str, Tensor]]) -> None:
    data = golden("qsd_case0")
    loss = QSD(student_channels=16, teacher_channels=24).double()
    names = {"proj_q": "queries", "proj_v": "values"}
    weights = [f"{i}.{w}" for i in (0, 1) for w in ("weight", "bias")]
    loss.load_state_dict(
        {f"{ours}.{w}": data[f"w_{theirs}__{w.replace('.', '__')}"] for theirs, ours in names.items() for w in weights}
    )
    student = data["student_features"].requires_grad_()
    value = loss(student, data["teacher_features"])
    value.backward()
    torch.testing.assert_close(value, data["loss"], rtol=1e-9, atol=0)
    expected = data["grad_student_features"]
    torch.testing.assert_close(student.grad, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"student_channels": 0}, "student_channels must be > 0, got 0"),
        ({"teacher_channels": 1.5}, "teacher_channels must be a whole number, got 1.5"),
    ],
)
def test_hyperparameters(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**wrong)


def test_maps_have_the_channels_of_the_constructor() -> None:
    _, teacher, _ = batch(3, 4)
    with pytest.raises(ValueError, match="student_channels=3 and teacher_channels=4"):
        small().double()(teacher, teacher)
