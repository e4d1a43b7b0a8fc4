"""ofd: numbers by hand, the released code's numbers, then what the margins learn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.losses import OFD
from segdistill.losses.ofd import margin_of_batch_norm
from tests.losses.case import Case
from tests.losses.references import batch, batch_normalized, same_value_and_gradient

CASES = [
    Case(
        "OFD",
        {"student_channels": (6, 6), "teacher_channels": (6, 6)},
        nonzero_at_equality="the connector is random",
        maps=True,
        three={"teacher_channels": (3, 3)},
    ),
]  # rows of the contract test

Maps = tuple[Tensor, ...]
Golden = Callable[[str], dict[str, Tensor]]


def one_map(channels: int = 3, **kwargs: Any) -> OFD:
    """A single map, and a connector that changes nothing."""
    loss = OFD(student_channels=[channels], teacher_channels=[channels], **kwargs)
    torch.nn.init.eye_(loss.layers[0].connector.linear.weight)
    loss.layers[0].connector.norm.eps = 1e-12
    return loss.eval()


def literal(student: Maps, teacher: Maps, labels: Tensor, state: dict[str, Tensor], margins: list[Tensor]) -> Tensor:
    """Compare map by map, position by position and channel by channel."""
    places = (labels != 255).nonzero().tolist()
    images = len({n for n, _, _ in places})
    total = 0
    for level, (maps, targets, margin) in enumerate(zip(student, teacher, margins, strict=True), start=1):
        layer = f"layers.{level - 1}.connector"
        connected = torch.stack([state[f"{layer}.linear.weight"] @ maps[n, :, y, x] for n, y, x in places])
        connected = batch_normalized(connected, state[f"{layer}.norm.weight"], state[f"{layer}.norm.bias"])
        for s, (n, y, x) in zip(connected, places, strict=True):
            for c in range(len(s)):
                t = max(targets[n, c, y, x], margin[c])
                if s[c] > t or t > 0:
                    total = total + 2.0 ** (level - len(student)) * (s[c] - t) ** 2
    return total / images


def test_is_the_equation_taken_literally() -> None:
    drawn = [batch(*channels) for channels in ((3, 4), (4, 5), (2, 3))]
    students, teachers, labels = zip(*drawn, strict=True)
    margins = [-torch.rand(t.shape[1], generator=torch.Generator().manual_seed(1)).double() for t in teachers]
    loss = OFD(student_channels=(3, 4, 2), teacher_channels=(4, 5, 3), margin=margins).double()
    same_value_and_gradient(
        lambda: loss(students, teachers, labels[0]),
        lambda: literal(students, teachers, labels[0], dict(loss.named_parameters()), margins),
        [*students, *loss.parameters()],
    )


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (5.0, 2.0, 9.0),  # the teacher answers: both directions count
        (-1.0, 2.0, 9.0),
        (1.0, -0.5, 2.25),  # it is silent and the student is not silent enough
        (-0.7, -0.5, 0.0),  # the student is lower: enough
        (-1.0, -3.0, 1.0),  # the target is the margin, not what the teacher says
        (-2.5, -3.0, 0.0),
        (1.0, 0.0, 1.0),
        (-1.0, 0.0, 0.0),
    ],
)
def test_one_response_by_hand(student: float, teacher: float, expected: float) -> None:
    loss = one_map(1, margin=[torch.tensor([-2.0])])
    s, t = (torch.full((1, 1, 1, 1), x) for x in (student, teacher))
    assert loss((s,), (t,)).item() == pytest.approx(expected)


def from_golden(data: dict[str, Tensor], **kwargs: Any) -> OFD:
    loss = OFD(student_channels=[16], teacher_channels=[24], **kwargs).double()
    connector = loss.layers[0].connector
    connector.linear.weight.data = data["w_conv"].flatten(1)
    connector.norm.weight.data, connector.norm.bias.data = data["w_bn_weight"], data["w_bn_bias"]
    return loss


def test_golden(golden: Golden, agrees_with_golden: Callable[..., None]) -> None:
    data = golden("ofd_case0")
    loss = from_golden(data, margin=[margin_of_batch_norm(data["bn_weight"], data["bn_bias"])])
    # The released value is a sum over the batch of two.
    agrees_with_golden("ofd_case0", lambda s, t, _: loss((s,), (t,)), kind="features", times=2)


def test_golden_margin(golden: Golden) -> None:
    data = golden("ofd_case0")
    margin = margin_of_batch_norm(data["bn_weight"], data["bn_bias"])
    torch.testing.assert_close(margin, data["margin"], rtol=1e-9, atol=0)
    torch.testing.assert_close(margin[0], -3 * data["bn_weight"][0].abs())  # hardly ever negative


def test_margin_is_the_mean_of_the_negative_half() -> None:
    weight, bias = torch.tensor([0.7, -1.3, 2.0], dtype=torch.float64), torch.tensor([0.4, -0.9, 0.0]).double()
    x = torch.linspace(-20, 0, 400_001, dtype=torch.float64)
    density = torch.exp(-((x - bias[:, None]) ** 2) / (2 * weight[:, None] ** 2))
    expected = (density * x).sum(dim=1) / density.sum(dim=1)
    torch.testing.assert_close(margin_of_batch_norm(weight, bias), expected, rtol=1e-3, atol=0)


def test_margin_of_a_channel_that_never_changes() -> None:
    margin = margin_of_batch_norm(torch.zeros(3), torch.tensor([-2.0, 0.0, 2.0]))
    torch.testing.assert_close(margin, torch.tensor([-2.0, 0.0, 0.0]))


def test_measured_margin_is_the_mean_of_all_negative_responses(rng: torch.Generator) -> None:
    batches = [torch.randn(2, 3, 4, 5, generator=rng) * scale for scale in (1.0, 4.0)]
    batches[0][:, 2] = batches[0][:, 2].abs()
    batches[1][:, 2] = batches[1][:, 2].abs()  # channel 2 is never negative
    labels = torch.zeros(2, 4, 5, dtype=torch.long)
    labels[0, 2] = 255
    loss = one_map().train()
    for teacher in batches:
        loss((teacher,), (teacher,), labels)
    seen = torch.cat([x.movedim(1, -1)[labels != 255] for x in batches])
    expected = [channel[channel < 0].mean().item() for channel in seen.T[:2]] + [0.0]
    assert loss.layers[0].margin.tolist() == pytest.approx(expected, rel=1e-5)
    assert loss.layers[0].negatives.tolist() == (seen < 0).sum(dim=0).tolist()


def test_measured_margin_is_what_cuts(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 5, generator=rng)
    measured = one_map().train()
    measured((teacher,), (teacher,))
    given, unmeasured = one_map(margin=[measured.layers[0].margin]), one_map()
    measured.layers[0].connector = given.layers[0].connector  # without the statistics of that batch
    value = measured.eval()((student,), (teacher,))
    torch.testing.assert_close(value, given((student,), (teacher,)))
    assert value > unmeasured((student,), (teacher,))  # whose target is 0 where the teacher is silent


@pytest.mark.parametrize(("margin", "training"), [([torch.full((3,), -1.0)], True), (None, False)])
def test_margin_stays_where_given_and_in_eval_mode(
    rng: torch.Generator, margin: list[Tensor] | None, training: bool
) -> None:
    loss = one_map(margin=margin).train(training)
    before = loss.layers[0].margin.clone()
    loss(*2 * [(torch.randn(2, 3, 4, 5, generator=rng),)])
    assert loss.layers[0].margin.equal(before)


def test_maps_are_halved_from_the_deepest_up(rng: torch.Generator) -> None:
    student, teacher = ([torch.randn(2, 3, 8 // s, 8 // s, generator=rng) for s in (1, 2, 4)] for _ in "st")
    loss = OFD(student_channels=(3, 3, 3), teacher_channels=(3, 3, 3))
    value = loss(tuple(student), tuple(teacher))
    expected = 0
    for layer, s, t, divisor in zip(loss.layers, student, teacher, (4, 2, 1), strict=True):
        s = F.batch_norm(F.conv2d(s, layer.connector.linear.weight[..., None, None]), None, None, training=True)
        t = torch.maximum(t, layer.margin.view(-1, 1, 1))
        expected = expected + (s - t).square()[(s > t) | (t > 0)].sum() / divisor / 2  # images
    torch.testing.assert_close(value, expected)


def test_connector_learns_and_margin_does_not(rng: torch.Generator) -> None:
    loss = OFD(student_channels=[5], teacher_channels=[3])
    loss((torch.randn(2, 5, 4, 4, generator=rng),), (torch.randn(2, 3, 4, 4, generator=rng),)).backward()
    assert [tuple(p.shape) for p in loss.parameters()] == [(3, 5), (3,), (3,)]
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())


def test_void_positions_are_no_part_of_the_statistics(rng: torch.Generator) -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 6, generator=rng)
    labels = torch.zeros(2, 4, 6, dtype=torch.long)
    labels[..., :3] = 255
    first, second = one_map().train(), one_map().train()
    first((student,), (teacher,), labels)
    second((student[..., 3:],), (teacher[..., 3:],))
    for name, value in second.state_dict().items():
        torch.testing.assert_close(first.state_dict()[name], value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_statistics_are_kept_in_another_precision(rng: torch.Generator, dtype: torch.dtype) -> None:
    maps = torch.randn(2, 3, 4, 5, generator=rng).to(dtype)
    loss, same = one_map().train(), one_map().train()
    value = loss((maps,), (maps,))
    value.backward()
    same((maps.float(),), (maps.float(),))
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for name, expected in same.state_dict().items():
        torch.testing.assert_close(loss.state_dict()[name], expected)
    assert loss.layers[0].connector.linear.weight.grad.dtype == torch.float32


def test_a_single_position_is_normalised_as_those_before_it(rng: torch.Generator) -> None:
    loss = one_map().train()
    one = torch.randn(1, 3, 1, 1, generator=rng)
    trained = loss((one,), (one.abs(),))
    torch.testing.assert_close(trained, loss.eval()((one,), (one.abs(),)))
    assert trained > 0


def test_errors(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="one entry per map, equally many"):
        OFD(student_channels=(3, 3), teacher_channels=(3,))
    with pytest.raises(ValueError, match="one entry per map"):
        OFD(student_channels=(3,), teacher_channels=(3,), margin=[])
    with pytest.raises(ValueError, match=r"margin must have shape \(3,\), the teacher's, got \(2,\)"):
        one_map(margin=[torch.zeros(2)])
    maps = torch.randn(2, 3, 4, 4, generator=rng)
    with pytest.raises(ValueError, match="student must be a tuple of 1 maps, .* got a Tensor; give the Term a list"):
        one_map()(maps, maps)
    with pytest.raises(ValueError, match="teacher must be a tuple of 1 maps, .* got a tuple of 2"):
        one_map()((maps,), (maps, maps))
    with pytest.raises(ValueError, match=r"student_channels=3 and .*, got student \(2, 2, 4, 4\)"):
        one_map()((maps[:, :2],), (maps,))
