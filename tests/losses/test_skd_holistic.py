"""skd_holistic: numbers by hand, the discriminator written out, who learns from what, and what is void."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses import SKDHolistic
from segdistill.losses._discriminator import Discriminator
from tests.losses.case import Case
from tests.losses.references import batch, same_value_and_gradient

CASES = [
    Case(
        "SKDHolistic",
        {"num_classes": 6},
        nonzero_at_equality="the value is a score of the student alone",
        any_sign="a discriminator's score",
        sees_void="the discriminator's convolutions see across the edge, and an image of half the width is enlarged",
    ),
]  # rows of the contract test


def maps(height: int = 8, width: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, classes, height, width, generator=rng)
    return student.requires_grad_(), teacher * 2 + 1


def small() -> SKDHolistic:
    """Three classes, and attention that already has a share."""
    torch.manual_seed(0)
    loss = SKDHolistic(num_classes=3)
    for name, parameter in loss.named_parameters():
        if name.endswith(("share", "scale", "shift")):
            nn.init.uniform_(parameter, 0.5, 1)
    return loss


class FirstChannel(nn.Module):
    """Scores that are the first channel of the map."""

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        return maps[:, 0].flatten(1)


def literal(student: Tensor, labels: Tensor, loss: nn.Module) -> Tensor:
    """Return minus the mean score, layer by layer, for maps whose shorter side is 64."""
    norm, layers = loss.discriminator.normalisation, loss.discriminator.layers
    valid = labels != 255
    rows = torch.cat([maps[:, seen].T for maps, seen in zip(student, valid, strict=True)])
    mean, variance = rows.mean(dim=0), rows.var(dim=0, correction=0)
    x = (student - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt() * norm.scale + norm.shift
    x = x * valid[:, None]
    for index, attention in ((0, None), (2, None), (4, 6), (7, 9)):
        x = F.conv2d(x, layers[index].weight, layers[index].bias, stride=2, padding=1)
        x = x.where(x > 0, 0.1 * x)
        x = x if attention is None else attended(x, layers[attention])
    scores = F.conv2d(x, layers[10].weight, layers[10].bias).flatten(1)
    return -scores[valid.flatten(1).any(dim=1)].mean()


@pytest.mark.parametrize(("size", "positions"), [((64, 128), 5), ((64, 64), 1)])
def test_is_the_equation_taken_literally(size: tuple[int, int], positions: int) -> None:
    student, teacher, labels = batch(3, 3, size=size)
    loss = small().double().eval()
    assert loss.discriminator(student, labels != 255).shape == (3, positions)
    same_value_and_gradient(lambda: loss(student, teacher, labels), lambda: literal(student, labels, loss), [student])


def test_means_by_hand() -> None:
    loss = SKDHolistic(num_classes=1)
    loss.discriminator = FirstChannel()
    student = torch.tensor([-3.0, 0.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([2.0, 0.5]).view(1, 1, 1, 2)
    assert loss(student, teacher).item() == 1.5
    assert loss.inner_objective(student, teacher).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1) / 2)


def test_parameters_at_19_classes() -> None:
    # By layer: normalisation, four convolutions, attention at 256 and at 512 channels, the last convolution.
    convolutions = [64 * (19 * 16 + 1), 128 * (64 * 16 + 1), 256 * (128 * 16 + 1), 512 * (256 * 16 + 1)]
    attention = [2 * c // 8 * (c + 1) + c * (c + 1) + 1 for c in (256, 512)]
    expected = 2 * 19 + sum(convolutions) + sum(attention) + 512 * 16 + 1
    assert sum(p.numel() for p in SKDHolistic(num_classes=19).inner_parameters()) == expected == 3_191_721


def attended(x: Tensor, layer: nn.Module) -> Tensor:
    """Self-attention of SAGAN, image by image and position by position."""
    out = []
    for image in x:
        q, k, v = (
            torch.einsum("oi,ihw->ohw", conv.weight[:, :, 0, 0], image).flatten(1) + conv.bias[:, None]
            for conv in (layer.query, layer.key, layer.value)
        )
        gathered = [sum(w * v[:, j] for j, w in enumerate((q[:, i] @ k).softmax(0))) for i in range(q.shape[1])]
        out.append(image + layer.share * torch.stack(gathered, dim=1).view_as(image))
    return torch.stack(out)


def test_spectral_norms_are_one() -> None:
    loss = small()
    student, teacher = maps()
    for _ in range(20):
        loss.inner_objective(student, teacher)
    for index in (0, 2, 4, 7):
        largest = torch.linalg.matrix_norm(loss.discriminator.layers[index].weight.flatten(1), 2).item()
        assert largest == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("size", "seen"),
    [((45, 45), (64, 64)), ((8, 8), (64, 64)), ((48, 66), (64, 88)), ((100, 32), (200, 64)), ((65, 70), (65, 70))],
)
def test_only_maps_too_small_are_enlarged(size: tuple[int, int], seen: tuple[int, int]) -> None:
    student, teacher = maps(*size)
    loss, entered = small(), []
    loss.discriminator.layers.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].shape[2:]))
    (loss(student, teacher) + loss.inner_objective(student, teacher)).backward()
    assert set(entered) == {seen}
    assert (student.grad.abs().sum(dim=1) > 0).all()


def test_one_backward_serves_both() -> None:
    student, teacher = maps()
    (from_value,) = torch.autograd.grad(small()(student, teacher), student)
    alone = small()
    alone.inner_objective(student, teacher).backward()
    assert student.grad is None

    loss = small()
    (loss(student, teacher) + loss.inner_objective(student, teacher)).backward()
    assert from_value.abs().sum() > 0
    # Biases aside: those of the keys and of the scores cancel.
    assert all(p.grad.abs().sum() > 0 for name, p in alone.named_parameters() if not name.endswith("bias"))
    torch.testing.assert_close(student.grad, from_value, rtol=0, atol=0)
    for together, expected in zip(loss.inner_parameters(), alone.inner_parameters(), strict=True):
        torch.testing.assert_close(together.grad, expected.grad, rtol=0, atol=0)


def test_only_a_training_objective_moves_the_power_iterations() -> None:
    student, teacher = maps()
    loss = small()
    before = copy.deepcopy(loss.state_dict())
    first, second = loss(student, teacher), loss(student, teacher)
    assert first == second
    loss.eval().inner_objective(student, teacher)
    assert all(tensor.equal(before[name]) for name, tensor in loss.state_dict().items())
    loss.train().inner_objective(student, teacher)
    moved = {name for name, tensor in loss.state_dict().items() if not tensor.equal(before[name])}
    assert moved == {name for name, _ in loss.named_buffers()}


def test_student_and_teacher_are_normalised_each_by_itself() -> None:
    student, teacher = maps()
    scale, shift = torch.tensor([2.0, 30.0, 0.5]).view(3, 1, 1), torch.tensor([-4.0, 0.0, 9.0]).view(3, 1, 1)
    for loss in (small(), small().eval()):
        value = loss(student, teacher)
        torch.testing.assert_close(loss(student * scale + shift, teacher), value, rtol=1e-3, atol=1e-6)


def test_what_is_void_does_not_count() -> None:
    student, teacher = maps()
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[0, :3] = 255
    void = (labels == 255)[:, None]
    loss = small().eval()
    for function in (loss, loss.inner_objective):
        value = function(student, teacher, labels)
        torch.testing.assert_close(function(student + 1e4 * void, teacher - 1e4 * void, labels), value)
        assert value != function(student, teacher)

    labels[0] = 255
    objective = loss.inner_objective(student, teacher, labels)
    torch.testing.assert_close(objective, loss.inner_objective(student[1:], teacher[1:], labels[1:]))
    loss.inner_objective(student, teacher, torch.full_like(labels, 255)).backward()
    assert all((p.grad == 0).all() for p in loss.inner_parameters())


def test_void_is_as_the_border_is() -> None:
    judge = small().discriminator.eval()
    student, _ = maps(64, 64)
    valid = torch.ones(2, 64, 64, dtype=torch.bool)
    valid[..., 32:] = False
    x = student[..., :32]
    normalised = judge.normalisation(student, valid)
    assert (normalised[..., 32:] == 0).all()
    torch.testing.assert_close(normalised[..., :32], judge.normalisation(x, valid[..., :32]))


def test_the_discriminator_learns_to_tell_them_apart() -> None:
    student, teacher = maps(classes=3)
    loss = small()
    optimizer = loss.inner_optimizer()
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults["lr"] == 4e-4
    assert optimizer.defaults["betas"] == (0.9, 0.99)
    for _ in range(10):
        optimizer.zero_grad()
        objective = loss.inner_objective(student, teacher)
        objective.backward()
        optimizer.step()
    assert objective < 1  # of 2, without any difference in scores
    assert loss(student, teacher) > loss(teacher, teacher)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_objective_is_in_the_precision_of_the_discriminator(dtype: torch.dtype) -> None:
    student, teacher = (x.to(dtype) for x in maps())
    with torch.autocast("cpu", torch.bfloat16):
        objective = small().inner_objective(student, teacher)
    assert objective.dtype == torch.float32
    torch.testing.assert_close(objective, small().inner_objective(student.float(), teacher.float()))


def test_learns_beside_the_student() -> None:
    assert SKDHolistic.first_stage == 0
    with pytest.raises(ValueError, match="needs the student's logits, got None"):
        small().inner_objective(None, maps()[1])


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_classes must be > 0, got 0"):
        SKDHolistic(num_classes=0)
    wrong = torch.zeros(1, 4, 8, 8)
    for function in (small(), small().inner_objective):
        with pytest.raises(ValueError, match=r"num_classes=3 channels, got student \(1, 4, 8, 8\)"):
            function(wrong, wrong)


def test_discriminator_takes_one_position() -> None:
    scores = Discriminator(2)(torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool))
    assert scores.shape == (1, 1)
    assert scores.isfinite().all()
