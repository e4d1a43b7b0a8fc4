"""Mistakes of a training loop that would pass in silence: each is an error, a warning or mended."""

import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import Distiller, Ensemble, Term, losses, models, schedules
from segdistill.distillation.gradients import AutoWeight
from segdistill.errors import UserError
from tests.networks import plain, sequential


@pytest.fixture
def batch(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 32, 32, generator=rng), torch.randint(0, 4, (2, 32, 32), generator=rng)


# The mode of networks.


@pytest.mark.parametrize("around", [models.wrap, lambda network: Ensemble([network, sequential(width=8)])])
def test_a_network_inside_the_teacher_that_is_put_in_train_mode_is_put_back(batch, around) -> None:
    inner = sequential(width=12)
    joined = Distiller(sequential(), around(inner), "kd")
    before = inner[1].running_mean.clone()
    inner.train()  # as a module does that holds both the Distiller and this network
    joined(*batch)
    assert torch.equal(inner[1].running_mean, before)
    assert not inner[1].training


def test_a_student_from_eval_mode_trains_from_the_start_and_its_frozen_part_does_not(batch) -> None:
    student = sequential().eval()
    student[0].requires_grad_(False)
    frozen = student[1].requires_grad_(False)
    Distiller(student, None)(*batch)
    assert student.training
    assert not frozen.training
    assert torch.equal(frozen.running_mean, torch.zeros_like(frozen.running_mean))


# Void labels.


@pytest.mark.parametrize("loss", [losses.kd, partial(losses.kd, temperature=2.0), partial(losses.kd, ignore_index=7)])
def test_a_function_that_ignores_another_label_is_refused(loss) -> None:
    with pytest.raises(UserError, match=r"term 'k': the loss ignores label (255|7) and the Distiller 0"):
        Distiller(sequential(), sequential(width=12), {"k": Term(loss, labels="valid")}, ignore_index=0)


def test_a_function_that_ignores_the_same_label_is_accepted(batch) -> None:
    images, labels = batch
    labels[:, :8] = 0
    loss = partial(losses.kd, ignore_index=0)
    joined = Distiller(sequential(), sequential(width=12), {"k": Term(loss, labels="valid")}, ignore_index=0)
    module = losses.KD(ignore_index=0)
    ours, theirs = joined.eval().student(images), joined.teacher(images)
    assert joined(images, labels).terms["k"] == module(ours, theirs, labels)


def test_class_255_is_not_void_in_silence() -> None:
    with pytest.raises(UserError, match="the student has 256 classes, and label 255 is void; give ignore_index=-1"):
        Distiller(plain(num_classes=256), None)
    Distiller(plain(num_classes=255), None)
    Distiller(plain(num_classes=256), None, ignore_index=-1)


# The auxiliary head.


def test_a_task_that_takes_the_auxiliary_head_gets_none_without_one(batch) -> None:
    seen = []

    def task(student: tuple[Tensor, Tensor | None], teacher: None, labels: Tensor) -> Tensor:
        logits, aux = student
        seen.append((logits.shape[0], aux))
        return F.cross_entropy(F.interpolate(logits, labels.shape[1:]), labels)

    task.takes_aux = True
    Distiller(sequential(), None, {"task": Term(task)})(*batch)
    assert seen == [(2, None)]


# Terms that teach nothing.


def _hard(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    return (student.argmax(1) - teacher.argmax(1)).abs().float().mean()


@pytest.mark.parametrize("terms", [{"t": Term(losses.FitNet(), on="stem")}, {"t": Term(_hard)}])
def test_a_term_without_a_gradient_is_named_in_the_first_step(batch, terms) -> None:
    student = sequential()
    student[0].requires_grad_(False)
    joined = Distiller(student, sequential(width=12), terms)
    with pytest.raises(UserError, match=r"term 't': it gives the student no gradient: '(stem|logits)' is in"):
        joined(*batch)
    joined.eval()(*batch)  # an evaluation may compare what it likes


def test_a_term_with_one_feature_that_learns_is_accepted(batch) -> None:
    student = sequential()
    student[0].requires_grad_(False)
    joined = Distiller(student, sequential(), {"t": Term(lambda s, t, labels: s[1].mean(), on=["stem", "logits"])})
    joined(*batch).total.backward()


# Weights.


@pytest.mark.parametrize("weight", [nn.Parameter(torch.ones(())), torch.ones((), requires_grad=True)])
def test_a_weight_that_should_learn_is_refused(weight) -> None:
    with pytest.raises(UserError, match="a weight is a constant, and this tensor requires a gradient"):
        Term(losses.KD(), weight=weight)


def test_a_schedule_without_progress_is_warned_of_once(batch) -> None:
    terms = {"kd": Term(losses.KD(), weight=schedules.linear(0.0, 1.0))}
    joined = Distiller(sequential(), sequential(width=12), terms)
    joined(*batch)
    with pytest.warns(UserWarning, match=r"the weight of term 'kd' is a schedule.* set distiller\.progress"):
        joined(*batch)
    joined(*batch)  # once


def test_a_schedule_with_progress_is_not_warned_of(batch) -> None:
    terms = {"kd": Term(losses.KD(), weight=schedules.linear(0.0, 1.0))}
    joined = Distiller(sequential(), sequential(width=12), terms)
    for step in range(3):
        joined.progress = step / 2
        joined(*batch)
    assert joined.progress == 1.0


def test_an_automatic_weight_does_not_count_a_step_without_a_task() -> None:
    weight = AutoWeight(0.5)
    weight.measure(0.0, 2.0)  # all labels were void
    weight.measure(4.0, 2.0)
    assert weight.value() == 1.0


# The first stage.


def test_a_first_stage_that_is_left_out_is_warned_of_once(batch) -> None:
    joined = Distiller(sequential(), sequential(), "maskd")
    with pytest.warns(UserWarning, match=r"the loss of term 'maskd' has a model that learns before the student"):
        joined(*batch)
    joined(*batch)


def test_a_first_stage_that_is_finished_is_not_warned_of(batch) -> None:
    joined = Distiller(sequential(), sequential(), "maskd")
    stage = joined.first_stage
    stage.finish()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joined(*batch)


# Features.


class DropsInPlace(nn.Module):
    """A network that overwrites the output of ``body`` in training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        return self.head(F.dropout(features * 1.0 if not self.training else features, 0.9, self.training, inplace=True))


def test_a_feature_that_is_overwritten_in_training_alone_is_read_before(batch) -> None:
    student = DropsInPlace()
    seen = []

    def loss(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        seen.append(student)
        return student.mean()

    joined = Distiller(student, DropsInPlace(), {"t": Term(loss, on="body")})
    for _ in range(2):
        joined(*batch)
    for feature in seen:
        torch.testing.assert_close(feature, student.body(batch[0]))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_student_compiled_and_used_before_is_named(batch) -> None:
    student = torch.compile(sequential(), backend="eager")
    student.train()(batch[0])
    joined = Distiller(student, sequential(width=12), {"t": Term(losses.AT(), on="stem")})
    with pytest.raises(UserError, match=r"did not run the module of feature 'stem' .* call torch\.compiler\.reset\(\)"):
        joined(*batch)
    torch.compiler.reset()
    joined(*batch)
