"""The losses that ours are timed against compute the same thing."""

import pytest
import torch

from benchmarks import released
from segdistill import losses
from segdistill.losses.gskd import sub_image_descriptor_kl

torch.manual_seed(0)
STUDENT, TEACHER = torch.randn(3, 6, 8, 8), torch.randn(3, 10, 8, 8)
LABELS = torch.randint(4, (3, 16, 16))
LABELS[:, :4] = 255


def test_kd() -> None:
    student, teacher = STUDENT[:, :5], TEACHER[:, :5]
    torch.testing.assert_close(released.kd(student, teacher), losses.kd(student, teacher))


def test_ifvd_divides_by_all_positions() -> None:
    ours = losses.ifvd(STUDENT, TEACHER, LABELS)
    share = (released.at_stride(LABELS, STUDENT) != 255).float().mean()
    torch.testing.assert_close(released.ifvd(STUDENT, TEACHER, LABELS, 4), ours * share)


def test_cirkd_of_pairs() -> None:
    ours = losses.cirkd_minibatch(STUDENT, TEACHER)
    torch.testing.assert_close(released.CIRKD.minibatch(STUDENT, TEACHER), ours)


def test_cirkd_memory_holds_the_last_regions() -> None:
    memory = released.CIRKD(6, 10, classes=4, pixel_size=100, region_size=20)
    value = memory.memory(STUDENT, TEACHER, LABELS)
    small = released.at_stride(LABELS, STUDENT)
    unit = torch.nn.functional.normalize(TEACHER, dim=1)
    for number in range(4):
        regions = [unit[image][:, small[image] == number].mean(1) for image in range(3)]
        expected = torch.nn.functional.normalize(torch.stack(regions), dim=1)
        torch.testing.assert_close(memory.region_queue[number, :3], expected)
        assert memory.pixel_next[number] == sum(min(16, int((small[i] == number).sum())) for i in range(3))
    assert value > 0
    value.backward()
    assert all(p.grad is not None for p in memory.projector.parameters())


def test_gskd_of_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = (torch.nn.functional.normalize(x[0].flatten(1).T[:32], dim=1) for x in (STUDENT, TEACHER))
    order = torch.rand(32, 32)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: order)
    ours = sub_image_descriptor_kl(student, teacher, order.argsort(dim=1), stride=8)
    torch.testing.assert_close(released.GSKD(6, 10)._image(student, teacher), ours)


def test_gskd_draws_each_class_where_the_teacher_is_right() -> None:
    labels = released.at_stride(LABELS, STUDENT)[0].flatten()
    correct = (labels == 1) | (labels == 2)
    features = labels[:, None].float()
    sampled, same = released.GSKD(6, 10, samples=4)._sampled(features, features, labels, correct)
    assert sampled.flatten().tolist() == [1.0] * 4 + [2.0] * 4
    assert torch.equal(sampled, same)
