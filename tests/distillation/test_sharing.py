"""What student, teacher and the caller share: their images, and no part of a network."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from segdistill import Distiller, Term, losses
from segdistill.distillation.sharing import shared_tensors
from segdistill.errors import UserError
from tests.networks import plain, sequential

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(2, 16, 16, dtype=torch.long)


class Normalizing(nn.Module):
    """Normalizes its input in place, always or in one of the two modes."""

    def __init__(self, *, modes: tuple[bool, ...] = (True, False)) -> None:
        super().__init__()
        self.modes = modes
        self.network = plain(4)

    def forward(self, images: Tensor) -> Tensor:
        if self.training in self.modes:
            images.sub_(0.5).div_(0.25)
        return self.network(images)


class Seeing(nn.Module):
    """Keeps the images it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain(4)
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images.clone()
        return self.network(images)


@pytest.mark.parametrize("training", [False, True])
def test_a_teacher_that_changes_its_input_changes_nobody_elses(training: bool) -> None:
    student, images, probe = Seeing(), IMAGES.clone(), IMAGES.clone()
    joined = Distiller(student, Normalizing(), {"kd": Term(losses.KD())}, probe=probe).train(training)
    assert torch.equal(probe, IMAGES)
    for _ in range(2):
        out = joined(images, LABELS)
        assert torch.equal(student.seen, IMAGES)
        assert torch.equal(images, IMAGES)
    theirs = joined.teacher.network((IMAGES - 0.5) / 0.25)
    torch.testing.assert_close(out.terms["kd"], losses.kd(student.network(IMAGES), theirs))


@pytest.mark.parametrize("modes", [(True, False), (True,), (False,)])
def test_a_student_that_changes_its_input_leaves_the_callers(modes: tuple[bool, ...]) -> None:
    images = IMAGES.clone()
    joined = Distiller(Normalizing(modes=modes), None)
    for training in (True, True, False, False):
        out = joined.train(training)(images, LABELS)
        assert torch.equal(images, IMAGES)
        own = (IMAGES - 0.5) / 0.25 if training in modes else IMAGES
        torch.testing.assert_close(
            out.total, losses.cross_entropy(joined.student.network(own), None, LABELS, align_corners=False)
        )


def test_a_network_that_leaves_its_input_is_given_no_copy() -> None:
    class Same(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.data_ptr())
            return super().forward(images)

    seen: list[int] = []
    joined = Distiller(Same(3, 4, 1), Same(3, 4, 1), {"kd": Term(losses.KD())})
    joined(IMAGES, LABELS)  # training has not been seen before
    seen.clear()
    joined(IMAGES, LABELS)
    assert seen == [IMAGES.data_ptr()] * 2


def test_works_in_inference_mode() -> None:
    joined = Distiller(Normalizing(), Normalizing(), {"kd": Term(losses.KD(), on="network.1")}).eval()
    expected = joined(IMAGES, LABELS).total.detach()
    with torch.inference_mode():
        images = IMAGES.clone()
        torch.testing.assert_close(joined(images, LABELS).total, expected)
        assert torch.equal(images, IMAGES)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda student, teacher, labels: student.mean() + labels.clamp_(max=3).sum(), "labels"),
        (lambda student, teacher, labels: (student - teacher.div_(4.0)).square().mean(), "the teacher's 'logits'"),
        (lambda student, teacher, labels: student.mul_(2.0).mean(), "the student's 'logits'"),
    ],
)
def test_a_loss_that_changes_what_others_look_at_is_refused(loss, what: str) -> None:
    joined = Distiller(plain(4), plain(4), {"mine": Term(loss, labels="valid"), "kd": Term(losses.KD())})
    with pytest.raises(UserError, match=f"term 'mine': the loss changes {what} in place.*change a .clone()"):
        joined(IMAGES, LABELS.clone())
    copying = Term(lambda s, t, y: loss(s.clone(), t.clone(), y.clone()), labels="valid")
    Distiller(plain(4), plain(4), {"mine": copying, "kd": Term(losses.KD())})(IMAGES, LABELS)


def sharing_encoder() -> tuple[nn.Module, nn.Module]:
    student = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), nn.Conv2d(8, 4, 1))
    return student, nn.Sequential(OrderedDict(body=student[0], head=nn.Conv2d(8, 4, 1)))


class ByBuffer(nn.Module):
    """Shares one buffer."""

    def __init__(self, buffer: Tensor) -> None:
        super().__init__()
        self.network = plain(4)
        self.register_buffer("scale", buffer)


def sharing_memory() -> tuple[nn.Module, nn.Module]:
    student, teacher = plain(4), plain(4)
    teacher[2].weight = nn.Parameter(student[2].weight.data[1:])
    return student, teacher


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        (sharing_encoder, r"'0\.0\.weight' is the teacher's 'body\.0\.weight', '0\.0\.bias' is .* and 4 more"),
        (sharing_memory, "'2.weight' is the teacher's '2.weight'; give"),
        (lambda: (ByBuffer(scale := torch.ones(3)), ByBuffer(scale)), "'scale' is the teacher's 'scale'; give"),
        (lambda: ((net := plain(4)), nn.Sequential(net, nn.Identity())), "same module"),
        (
            lambda: (nn.Sequential(net := plain(4), nn.Identity()), net),
            "'0.0.weight' is the teacher's '0.weight', .* and 1 more",
        ),
        (
            lambda: ((net := plain(4)), [plain(4), nn.Sequential(net[0])]),
            "'0.weight' is the teacher's 'members.teacher1.0.weight'",
        ),
        (
            lambda: ((net := plain(4)), torch.nn.DataParallel(nn.Sequential(net[2]))),
            "'2.weight' is the teacher's 'module.0.weight'",
        ),
    ],
)
def test_a_part_in_both_networks_is_refused_before_it_is_frozen(pair, named: str) -> None:
    student, teacher = pair()
    with pytest.raises(UserError, match=named):
        Distiller(student, teacher)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_the_advised_copy_shares_nothing() -> None:
    student, teacher = sharing_memory()
    with pytest.raises(UserError, match=r"copy\.deepcopy\(teacher\)"):
        Distiller(student, teacher)
    assert not shared_tensors(student, copy.deepcopy(teacher))


def test_neighbors_in_one_memory_share_nothing() -> None:
    student, teacher = plain(4), plain(4)
    both = torch.zeros(2 * student[2].weight.numel())
    for network, values in zip((student, teacher), both.chunk(2), strict=True):
        network[2].weight = nn.Parameter(values.view_as(network[2].weight))
    assert not shared_tensors(student, teacher)
    with torch.device("meta"):
        assert not shared_tensors(sequential(), sequential())
        network = sequential()
        assert len(shared_tensors(network, network)) == 9
    assert not shared_tensors(nn.LazyConv2d(3, 1), nn.LazyConv2d(3, 1))


class ByClassifier(nn.Module):
    """Compares what the teacher's classifier makes of both features."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return (self.classifier(student) - self.classifier(teacher)).square().mean()


def test_a_loss_may_hold_a_part_of_the_teacher() -> None:
    teacher = sequential(width=12)
    joined = Distiller(sequential(), teacher, {"own": Term(ByClassifier(teacher.classify), on="head")})
    before = copy.deepcopy(teacher.classify.state_dict())
    joined(IMAGES, LABELS).total.backward()
    assert joined.student.stem.weight.grad is not None
    torch.testing.assert_close(teacher.classify.state_dict(), before)
