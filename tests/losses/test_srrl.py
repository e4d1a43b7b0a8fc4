"""srrl: a number by hand, the released code's numbers, the two terms taken literally."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from segdistill.losses import SRRL
from tests.losses.case import Case
from tests.losses.references import batch, batch_normalized, same_value_and_gradient

CASES = [
    Case(
        "SRRL",
        {"student_channels": 6, "classifier": nn.Conv2d(6, 5, 1)},
        nonzero_at_equality="the connector is random",
        three={"classifier": nn.Conv2d(3, 5, 1)},
    ),
    Case(
        "SRRL",
        {"student_channels": 6, "classifier": nn.Linear(6, 5)},
        nonzero_at_equality="the connector is random",
        three={"classifier": nn.Linear(3, 5)},
    ),
]  # rows of the contract test


def literal(student: Tensor, teacher: Tensor, labels: Tensor, state: dict[str, Tensor], classifier: Tensor) -> Tensor:
    """Compare position by position, or for a linear classifier the means over every image's positions."""
    places = (labels != 255).nonzero().tolist()
    connected = torch.stack([state["connector.linear.weight"] @ student[n, :, y, x] for n, y, x in places])
    connected = batch_normalized(connected, state["connector.norm.weight"], state["connector.norm.bias"])
    pairs = [(s.clamp(min=0), teacher[n, :, y, x]) for s, (n, y, x) in zip(connected, places, strict=True)]
    if classifier.dim() == 2:
        images = [
            [pair for pair, place in zip(pairs, places, strict=True) if place[0] == n] for n in range(len(labels))
        ]
        pairs = [tuple(sum(side) / len(side) for side in zip(*image, strict=True)) for image in images if image]
    matrix = classifier.flatten(1)
    return sum((s - t).square().mean() + (matrix @ s - matrix @ t).square().mean() for s, t in pairs) / len(pairs)


@pytest.mark.parametrize("dense", [True, False])
def test_is_the_equation_taken_literally(dense: bool) -> None:
    classifier = (nn.Conv2d(4, 5, 1) if dense else nn.Linear(4, 5)).double()
    student, teacher, labels = batch(3, 4)
    loss = SRRL(student_channels=3, classifier=classifier).double()
    same_value_and_gradient(
        lambda: loss(student, teacher, labels),
        lambda: literal(student, teacher, labels, dict(loss.named_parameters()), classifier.weight.detach()),
        [student, *loss.parameters()],
    )


def test_one_position_by_hand() -> None:
    classifier = nn.Conv2d(2, 1, 1)
    classifier.weight.data = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)
    loss = SRRL(student_channels=2, classifier=classifier).eval()
    nn.init.eye_(loss.connector.linear.weight)
    loss.connector.norm.eps = 0.0
    student, teacher = torch.tensor([[2.0, -5.0], [1.0, 1.0]]).view(2, 1, 2, 1, 1)
    # Behind the ReLU (2, 0) against (1, 1): features (1 + 1) / 2, scores 6 against 2.
    assert loss(student, teacher).item() == pytest.approx(1 + 16)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def test_golden(golden: Callable[[str], dict[str, Tensor]], agrees_with_golden: Callable[..., None]) -> None:
    data = golden("srrl_case0")
    loss = SRRL(student_channels=16, classifier=linear(data["fc_weight"], data["fc_bias"])).double()
    loss.connector.linear.weight.data = data["w_conv"].flatten(1)
    loss.connector.norm.weight.data, loss.connector.norm.bias.data = data["w_bn_weight"], data["w_bn_bias"]
    agrees_with_golden("srrl_case0", loss, kind="features")


def test_vectors_are_images_already(rng: torch.Generator) -> None:
    student, teacher = torch.randn(4, 3, generator=rng), torch.randn(4, 6, generator=rng)
    classifier, labels = nn.Linear(6, 2), torch.tensor([0, 255, 1, 1])
    value, state = {}, {}
    for name, tensors in {
        "vectors": (student, teacher, labels),
        "maps": (student[..., None, None], teacher[..., None, None], labels[:, None, None]),
        "valid": (student[labels != 255], teacher[labels != 255]),
    }.items():
        torch.manual_seed(0)
        loss = SRRL(student_channels=3, classifier=classifier)
        value[name], state[name] = loss(*tensors), loss.state_dict()
    for name in ("maps", "valid"):
        torch.testing.assert_close(value[name], value["vectors"])
        torch.testing.assert_close(state[name], state["vectors"])


def test_void_positions_are_left_out_of_an_image_s_mean(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, 2, 2, generator=rng)
    labels = torch.tensor([[[0, 255], [0, 0]], [[255, 255], [0, 255]]])
    loss = SRRL(student_channels=3, classifier=nn.Linear(3, 4)).eval()
    expected = 0
    for n in range(2):
        rows = [x[n].flatten(1).T[labels[n].flatten() != 255] for x in (student, teacher)]
        difference = loss.connector(rows[0], torch.ones(len(rows[0]), dtype=torch.bool)).relu().mean(dim=0) - rows[
            1
        ].mean(dim=0)
        expected = expected + difference.square().mean() + (loss.weight @ difference).square().mean()
    torch.testing.assert_close(loss(student, teacher, labels), expected / 2)


def test_the_classifier_is_the_teacher_s_and_stays(rng: torch.Generator) -> None:
    classifier = nn.Conv2d(4, 5, 1)
    loss = SRRL(student_channels=3, classifier=classifier)
    tensors = torch.randn(2, 3, 2, 4, generator=rng), torch.rand(2, 4, 2, 4, generator=rng)
    value = loss(*tensors)
    value.backward()
    assert [tuple(p.shape) for p in loss.parameters()] == [(4, 3), (4,), (4,)]
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())
    assert classifier.weight.grad is None
    assert classifier.weight.requires_grad
    assert not any("weight" in name.split(".")[0] for name in loss.state_dict())
    classifier.weight.data.zero_()  # whatever becomes of the original
    torch.testing.assert_close(loss(*tensors), value)
    assert loss.to(torch.float64).weight.dtype == torch.float64  # it follows


@pytest.mark.parametrize("seed", range(8))
def test_two_images_of_wide_features_give_finite_values(seed: int) -> None:
    """Their covariance has rank 1, so that rounding makes variances of the connector negative."""
    torch.manual_seed(seed)
    student, teacher = 30 * torch.randn(2, 1280), torch.rand(2, 2048)
    loss = SRRL(student_channels=1280, classifier=nn.Linear(2048, 5))
    value = loss(student, teacher)
    value.backward()
    assert value.isfinite()
    assert all(p.grad.isfinite().all() for p in loss.parameters())


def test_errors(rng: torch.Generator) -> None:
    for wrong in (nn.Conv2d(4, 5, 3), nn.Conv2d(4, 4, 1, groups=2), nn.ReLU()):
        with pytest.raises(ValueError, match="classifier must be an nn.Linear or an nn.Conv2d with kernel 1"):
            SRRL(student_channels=3, classifier=wrong)
    loss = SRRL(student_channels=3, classifier=nn.Conv2d(4, 5, 1))
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), got student \(2, 3\)"):
        loss(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"student_channels=3 and teacher_channels=4, got student \(2, 4, 1, 1\)"):
        loss(torch.ones(2, 4, 1, 1), torch.ones(2, 4, 1, 1))
