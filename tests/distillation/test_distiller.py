"""The Distiller in anybody's loop: what it trains, what it leaves alone, what it refuses."""

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import Distiller, Term, losses, schedules
from segdistill.distillation.gradients import AutoWeight, gradient_norms
from segdistill.distillation.parts import whole_step
from segdistill.errors import UserError
from segdistill.losses.self_taught import SelfTaught
from tests.networks import WithAux, plain, sequential


@pytest.fixture
def batch(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    images = torch.randn(2, 3, 32, 32, generator=rng)
    labels = torch.randint(0, 4, (2, 32, 32), generator=rng)
    labels[:, :4] = 255
    return images, labels


def distiller(**terms: Term) -> Distiller:
    torch.manual_seed(0)
    return Distiller(sequential(), sequential(width=12), terms=terms)


def test_the_total_is_the_weighted_sum_of_losses_computed_by_hand(batch) -> None:
    images, labels = batch
    joined = distiller(kd=Term(losses.KD(temperature=2.0), weight=3.0)).eval()
    out = joined(images, labels)
    ours, theirs = joined.student(images), joined.teacher(images)
    upsampled = F.interpolate(ours, (32, 32), mode="bilinear", align_corners=False)
    task = F.cross_entropy(upsampled, labels, ignore_index=255)
    kd = losses.kd(ours, theirs, temperature=2.0)
    torch.testing.assert_close(out.terms["task"], task)
    torch.testing.assert_close(out.terms["kd"], kd)
    torch.testing.assert_close(out.total, task + 3.0 * kd)
    assert out.weights == {"task": 1.0, "kd": 3.0}


def test_only_student_and_adapter_learn(batch) -> None:
    joined = distiller(i2ckd=Term(losses.I2CKD(), on="head", labels="valid"))
    joined(*batch).total.backward()
    assert all(parameter.grad is None for parameter in joined.teacher.parameters())
    learning = {name for name, parameter in joined.named_parameters() if parameter.grad is not None}
    assert "terms.i2ckd.adapters.0.weight" in learning
    assert any(name.startswith("student.") for name in learning)


def test_the_teacher_is_frozen_and_in_no_list(batch) -> None:
    joined = distiller(kd=Term(losses.KD())).train()
    before = copy.deepcopy(joined.teacher.state_dict())
    for _ in range(2):
        joined(*batch).total.backward()
    assert not joined.teacher.training
    assert not any(parameter.requires_grad for parameter in joined.teacher.parameters())
    assert all(name.startswith(("student.", "terms.")) for name in joined.state_dict())
    assert sum(p.numel() for p in joined.parameters()) == sum(p.numel() for p in joined.student.parameters())
    for name, value in joined.teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_teacher_put_in_train_mode_from_outside_is_put_back(batch) -> None:
    joined = distiller(kd=Term(losses.KD()))
    joined.teacher.train()
    joined(*batch)
    assert not joined.teacher.training


def test_what_is_frozen_in_the_student_stays_in_eval_mode(batch) -> None:
    joined = distiller(kd=Term(losses.KD()))
    student = joined.student
    student.stem.requires_grad_(False)
    student.norm.weight.requires_grad_(False)  # its bias learns
    joined.train()
    assert [student.stem.training, student.norm.training, student.classify.training] == [False, True, True]
    student.norm.requires_grad_(False)
    joined.train()
    # A dropout has no parameter; it follows the module around it.
    assert [student.norm.training, student.drop.training, student.training] == [False, True, True]
    before = copy.deepcopy(student.state_dict())
    optimizer = torch.optim.SGD([p for p in joined.parameters() if p.requires_grad], lr=0.1)
    joined(*batch).total.backward()
    optimizer.step()
    changed = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"classify.weight", "classify.bias"}
    assert not any(module.training for module in joined.eval().modules())


def test_the_teacher_follows_dtype_and_device() -> None:
    joined = distiller(kd=Term(losses.KD())).double()
    assert next(joined.teacher.parameters()).dtype == torch.float64


def test_teacher_correct_hides_exactly_the_pixels_that_the_teacher_gets_wrong(batch) -> None:
    seen: list[Tensor] = []

    def spy(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        seen.append(labels)
        return (student - teacher).square().mean()

    images, labels = batch
    joined = distiller(spy=Term(spy, labels="teacher_correct"), plain=Term(spy), valid=Term(spy, labels="valid")).eval()
    joined(images, labels)
    right = joined.teacher(images).argmax(1)
    small = labels[:, ::4, ::4]  # nearest neighbour at stride 4
    expected = torch.where(right == small, small, 255)
    torch.testing.assert_close(seen[0], expected)
    assert seen[1] is None
    assert seen[2] is labels
    assert (expected != 255).any()
    assert (expected == 255).any()


def test_maps_of_other_sizes_are_resized_to_the_teachers(batch) -> None:
    torch.manual_seed(0)
    joined = Distiller(sequential(stride=8), sequential(stride=4), terms={"kd": Term(losses.KD())})
    wire = next(wire for name, _, wire in joined.wiring().rows if name == "kd")
    assert wire.resized
    assert wire.student_shape[2:] == (16, 16)
    assert wire.teacher_shape[2:] == (32, 32)
    joined(*batch).total.backward()


def test_a_term_may_compare_maps_of_another_size(batch) -> None:
    images, labels = batch
    mse = lambda student, teacher, labels: (student - teacher).square().mean()  # noqa: E731
    joined = distiller(mse=Term(mse, resize=(20, 24)), kd=Term(losses.KD(), labels="valid", resize=[32, 32])).eval()
    out = joined(images, labels)
    ours, theirs = (
        F.interpolate(x, (20, 24), mode="bilinear", align_corners=True)
        for x in (joined.student(images), joined.teacher(images))
    )
    torch.testing.assert_close(out.terms["mse"], (ours - theirs).square().mean())
    cells = {row[0]: row[5] for row in joined.wiring().cells()}
    assert cells == {"task": "-", "mse": "20x24", "kd": "32x32"}
    term = joined.terms["kd"]  # counts what it averages over: the valid labels, at their own size
    valid = {"valid": labels, None: None}
    assert term.count({"logits": joined.teacher(images)}, valid, 255) == (labels != 255).sum()


@pytest.mark.parametrize("resize", [513, (513,), (0, 4), (4.0, 4), "44"])
def test_a_size_is_a_height_and_a_width(resize) -> None:
    with pytest.raises(UserError, match=r"resize must be a height and a width, as in resize=\(513, 513\), got"):
        Term(losses.KD(), resize=resize)


def test_vectors_have_no_size_to_change() -> None:
    networks = (nn.Sequential(nn.Conv2d(3, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()) for _ in range(2))
    with pytest.raises(UserError, match="'logits' has no height and width to resize; leave out resize"):
        Distiller(*networks, {"kd": Term(losses.KD(), resize=(8, 8))})


def test_an_adapter_appears_only_where_the_loss_needs_equal_channels() -> None:
    joined = distiller(
        gskd=Term(losses.GSKD(), on="head", labels="valid"), i2ckd=Term(losses.I2CKD(), on="head", labels="valid")
    )
    adapters = {name: wire.adapter for name, _, wire in joined.wiring().rows}
    assert adapters["gskd"] == "-"
    assert adapters["i2ckd"] == "conv 1x1 8→12"
    given = Distiller(
        sequential(), sequential(), terms={"f": Term(losses.KD(), on="head", adapter=nn.Conv2d(8, 8, 3, padding=1))}
    )
    assert "3, 3" in str(given.terms["f"].adapters[0])


def test_the_wiring_table_names_what_is_compared() -> None:
    text = str(distiller(gskd=Term(losses.GSKD(), on=("head", "act"), labels="teacher_correct", weight=10)).wiring())
    header, task, gskd = text.splitlines()
    assert header.split()[:3] == ["term", "loss", "student"]
    assert task.split()[:4] == ["task", "CrossEntropy", "logits", "4x32x32"]
    assert "head 8x32x32" in gskd
    assert "act 12x32x32" in gskd
    assert gskd.endswith("teacher_correct  10")


def test_several_maps_reach_the_loss_as_tuples(batch) -> None:
    def compare(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], labels: None) -> Tensor:
        assert [x.shape[1] for x in student] == [x.shape[1] for x in teacher] == [12, 4]
        return sum((s - t).square().mean() for s, t in zip(student, teacher, strict=True))

    joined = distiller(pair=Term(compare, on=["head", "logits"]))
    assert joined(*batch).terms["pair"] > 0


def test_the_task_term_takes_in_the_auxiliary_head(batch) -> None:
    torch.manual_seed(0)
    joined = Distiller(WithAux(), None)
    images, labels = batch
    out = joined(images, labels)
    logits = joined.student(images)
    expected = sum(
        weight
        * F.cross_entropy(F.interpolate(x, (32, 32), mode="bilinear", align_corners=False), labels, ignore_index=255)
        for weight, x in ((1.0, logits["out"]), (0.4, logits["aux"]))
    )
    torch.testing.assert_close(out.total, expected)


def test_a_task_term_of_ones_own_replaces_the_default(batch) -> None:
    joined = distiller(task=Term(losses.CrossEntropy(), labels="valid", weight=0.0), kd=Term(losses.KD()))
    out = joined(*batch)
    torch.testing.assert_close(out.total, out.terms["kd"])


def test_weights_follow_progress(batch) -> None:
    joined = distiller(kd=Term(losses.KD(), weight=schedules.linear(1.0, 0.0)))
    joined.progress = 0.25
    assert joined(*batch).weights["kd"] == 0.75


def test_auto_weight_gives_the_share_of_the_tasks_gradient_and_then_stays(batch) -> None:
    joined = distiller(kd=Term(losses.KD(), weight="auto:0.2")).train()
    joined.student.drop.p = 0.0  # the same features at every step
    out = joined(*batch)
    norms = gradient_norms(out.terms, joined.student.parameters())
    assert out.weights["kd"] * norms["kd"] == pytest.approx(0.2 * norms["task"], rel=1e-4)
    for _ in range(AutoWeight.STEPS):
        joined(*batch)
    settled = joined.terms["kd"].weight
    assert settled.settled
    joined.student.classify.weight.data.mul_(3.0)
    assert joined(*batch).weights["kd"] == pytest.approx(settled.value())
    again = distiller(kd=Term(losses.KD(), weight="auto:0.2"))
    again.load_state_dict(joined.state_dict())
    assert again(*batch).weights["kd"] == pytest.approx(settled.value())


def test_gradient_norms_equal_those_of_backward(batch) -> None:
    joined = distiller(kd=Term(losses.KD())).eval()
    out = joined(*batch)
    norms = gradient_norms(out.terms, joined.student.parameters())
    out.terms["kd"].backward()
    squares = [p.grad.square().sum() for p in joined.student.parameters() if p.grad is not None]
    assert norms["kd"] == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-5)
    assert gradient_norms({"none": torch.ones(())}, joined.student.parameters()) == {"none": 0.0}


def test_state_dict_round_trip_gives_the_same_losses(batch) -> None:
    first = distiller(i2ckd=Term(losses.I2CKD(), on="head", labels="valid")).eval()
    second = distiller(i2ckd=Term(losses.I2CKD(), on="head", labels="valid")).eval()
    for parameter in second.parameters():
        parameter.data.add_(1.0)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(*batch).terms, first(*batch).terms)


# Where the graph breaks (gskd samples as many positions as there are classes), dynamo looks at .grad of features.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_works_under_torch_compile(batch) -> None:
    joined = distiller(
        kd=Term(losses.KD()), gskd=Term(losses.GSKD(shuffle=False, samples=1), on="head", labels="valid")
    ).eval()
    torch.manual_seed(1)
    expected = joined(*batch)
    torch.manual_seed(1)
    compiled = torch.compile(joined, backend="eager")(*batch)
    torch.testing.assert_close(compiled.terms["kd"], expected.terms["kd"])
    torch.testing.assert_close(compiled.terms["task"], expected.terms["task"])


def test_can_be_pickled(batch) -> None:
    joined = distiller(kd=Term(losses.KD())).eval()
    again = pickle.loads(pickle.dumps(joined))
    torch.testing.assert_close(again(*batch).total, joined(*batch).total)


def test_the_student_is_as_it_was_when_the_distiller_is_gone(batch) -> None:
    student = sequential()
    joined = Distiller(student, sequential(), terms={"f": Term(losses.SKDPairwise(), on="stem")})
    del joined
    assert len(student.stem._forward_hooks) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: distiller(kd=Term(losses.KD(), on="hed")),
            "term 'kd', student: unknown feature of Sequential 'hed'; did you mean 'head'",
        ),
        (
            lambda: distiller(kd=Term(losses.KD(), on=("head", "clasify"))),
            "term 'kd', teacher: unknown feature .*'classify'",
        ),
        (
            lambda: Distiller(sequential(4), sequential(7), terms={"kd": Term(losses.KD())}),
            "term 'kd': the student has 4 classes and the teacher 7",
        ),
        (
            lambda: Distiller(
                sequential(4), sequential(7), terms={"g": Term(losses.GSKD(), on="head", labels="teacher_correct")}
            ),
            "term 'g': the student has 4 classes and the teacher 7",
        ),
        (lambda: Distiller(sequential(), None, terms={"kd": Term(losses.KD())}), "term 'kd' needs a teacher"),
        (
            lambda: Term(losses.KD(), labels="correct"),
            "labels must be 'valid', 'teacher_correct' or None, got 'correct'",
        ),
        (lambda: Term(losses.KD(), weight="0.2"), "'auto:SHARE' as in 'auto:0.2', got '0.2'"),
        (
            lambda: Term(losses.KD(), on=["head", "logits"], adapter=nn.Identity()),
            "on names 2 features, so adapter must be 2 modules, got 1",
        ),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_one_network_as_both_is_refused() -> None:
    network = sequential()
    with pytest.raises(UserError, match="same module"):
        Distiller(network, network)


def test_a_student_that_was_frozen_before_is_refused() -> None:
    first, second = sequential(), sequential()
    Distiller(first, second)
    with pytest.raises(UserError, match="no parameter to train"):
        Distiller(second, sequential())


def test_functions_are_wired_as_their_modules() -> None:
    joined = distiller(
        gskd=Term(losses.gskd, on="head", labels="valid"), i2ckd=Term(losses.i2ckd, on="head", labels="valid")
    )
    adapters = {name: wire.adapter for name, _, wire in joined.wiring().rows}
    assert adapters["gskd"] == "-"
    assert adapters["i2ckd"] == "conv 1x1 8→12"
    assert not Term(losses.cross_entropy, labels="valid").needs_teacher


def test_a_term_is_a_declaration_that_several_distillers_may_use(batch) -> None:
    terms = {"f": Term(losses.FitNet(), on="head", weight="auto:0.2"), "task": Term(losses.CrossEntropy(), labels=None)}
    before = {name: dict(vars(term)) for name, term in terms.items()}
    first, second = Distiller(WithAux(), sequential(width=12), terms), Distiller(WithAux(), sequential(width=12), terms)
    first(*batch)
    assert {name: vars(term) for name, term in terms.items()} == before
    assert first.terms["f"].adapters[0] is not second.terms["f"].adapters[0]
    assert (int(first.terms["f"].weight.count), int(second.terms["f"].weight.count)) == (1, 0)
    assert copy.deepcopy(terms["f"]).loss is not terms["f"].loss


def test_the_keys_of_the_state_stay_so_that_old_checkpoints_load() -> None:
    judge = Judge()
    joined = Distiller(
        nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.Conv2d(6, 4, 1)),
        nn.Sequential(nn.Conv2d(3, 5, 3, stride=4), nn.Conv2d(5, 4, 1)),
        {
            "fitnet": Term(losses.FitNet(), on="0", weight="auto:0.2"),
            "maskd": Term(losses.MasKD(channels=5, num_classes=4), on="0"),
            "judge": Term(judge),
        },
    )
    assert list(joined.state_dict()) == [
        "student.0.weight",
        "student.0.bias",
        "student.1.weight",
        "student.1.bias",
        "terms.fitnet.weight.total",
        "terms.fitnet.weight.count",
        "terms.fitnet.adapters.0.weight",
        "terms.maskd.loss.tokens",
        "terms.maskd.loss.probe.weight",
        "terms.maskd.loss.probe.bias",
        "terms.maskd.adapters.0.weight",
        "terms.judge.loss.direction",
    ]


def test_an_error_of_a_loss_names_its_term(batch) -> None:
    with pytest.raises(UserError, match="term 'mine': this loss needs labels"):
        distiller(mine=Term(losses.GSKD(), labels=None))(*batch)


def test_teacher_correct_needs_a_teacher() -> None:
    with pytest.raises(UserError, match="term 'task' needs a teacher"):
        Distiller(sequential(), None, terms={"task": Term(losses.CrossEntropy(), labels="teacher_correct")})


def test_a_task_term_of_ones_own_keeps_the_auxiliary_head(batch) -> None:
    joined = Distiller(
        WithAux(), None, terms={"task": Term(losses.CrossEntropy(aux_weight=0.0), labels="valid", weight=2.0)}
    )
    plain = Distiller(WithAux(), None, terms={"task": Term(losses.CrossEntropy(), labels="valid", weight=2.0)})
    plain.student.load_state_dict(joined.student.state_dict())
    assert plain(*batch).total > joined(*batch).total


def test_float64_stays_float64(batch) -> None:
    images, labels = batch
    assert distiller(kd=Term(losses.KD())).double()(images.double(), labels).total.dtype == torch.float64


class Judge(SelfTaught):
    """A discriminator in one number: scores logits by their product with it."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.tensor([1.0, -1.0, 0.5, 2.0])[:, None, None])

    def score(self, logits: Tensor, direction: Tensor) -> Tensor:
        return (logits * direction).mean()

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return -self.score(student, self.direction.detach())

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        yield self.direction

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.score(student.detach(), self.direction) - self.score(teacher.detach(), self.direction)

    def inner_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.direction], lr=0.1)


def test_a_part_with_an_objective_of_its_own_learns_from_that_alone(batch) -> None:
    images, labels = batch
    judge = Judge()
    joined = distiller(judge=Term(judge, weight=7.0)).eval()
    joined.terms.train()  # dropout off, so that the pass can be repeated
    out = joined(images, labels)
    out.total.backward()
    ours, theirs = joined.student(images).detach(), joined.teacher(images)
    torch.testing.assert_close(judge.direction.grad, (ours - theirs).mean((0, 2, 3))[:, None, None] / 4)
    torch.testing.assert_close(out.total, out.terms["task"] + 7 * out.terms["judge"] + out.inner_objectives["judge"])
    assert set(joined.inner_optimizers()) == {"judge"}
    assert judge.direction not in set(joined.student_parameters())
    assert len(joined.student_parameters()) == len(list(joined.parameters())) - 1
    assert joined.term_parameters() == []


def test_term_parameters_are_those_of_adapters_and_losses() -> None:
    joined = distiller(fitnet=Term(losses.FitNet(), on="act"), judge=Term(Judge()))
    (adapter,) = joined.terms["fitnet"].adapters
    assert [id(each) for each in joined.term_parameters()] == [id(adapter.weight)]


def test_no_objective_of_its_own_in_evaluation_or_before_a_first_stage_ends(batch) -> None:
    judge = Judge()
    joined = distiller(judge=Term(judge))
    assert joined.eval()(*batch).inner_objectives == {}
    assert joined.first_stage is None
    judge.first_stage = 0.25
    assert joined.train()(*batch).inner_objectives == {}
    assert joined.first_stage.share == 0.25
    assert joined.inner_optimizers() == {}
    assert set(joined.first_stage.optimizers()) == {"judge"}
    assert joined.first_stage.parameters() == {"judge": [judge.direction]}
    joined.first_stage.finish()
    assert not judge.direction.requires_grad


def test_two_labels_for_void_are_refused(batch) -> None:
    with pytest.raises(UserError, match="term 'kd': the loss ignores label 255 and the Distiller -1"):
        Distiller(sequential(), sequential(), {"kd": Term(losses.KD(), labels="valid")}, ignore_index=-1)
    Distiller(sequential(), sequential(), {"kd": Term(losses.KD(ignore_index=-1), labels="valid")}, ignore_index=-1)


def test_small_gradients_are_measured_in_half_precision_too() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    image = torch.randn(1, 3, 64, 64)
    exact = gradient_norms({"small": 1e-6 * network(image).square().mean()}, network.parameters())["small"]
    with torch.autocast("cpu", torch.float16):
        norms = gradient_norms({"small": 1e-6 * network(image).float().square().mean()}, network.parameters())
    assert norms["small"] == pytest.approx(exact, rel=0.05)


def test_a_weight_that_is_loaded_is_the_one_that_counts() -> None:
    weight, other = AutoWeight(0.2), AutoWeight(0.2)
    for each, task in ((weight, 10.0), (other, 1.0)):
        for _ in range(AutoWeight.STEPS):
            each.measure(task, 1.0)
    assert other.value() == pytest.approx(0.2)
    other.load_state_dict(weight.state_dict())
    assert other.value() == pytest.approx(2.0)


def test_a_loss_that_is_no_scalar_is_named(batch) -> None:
    def maps(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        return (student - teacher).square()

    with pytest.raises(UserError, match=r"term 'maps': the loss returns \(2, 4, 8, 8\) values; return one"):
        distiller(maps=Term(maps))(*batch)


# Parts of a step.


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ({}, ()),
        ({"kd": Term(losses.KD())}, ("logits",)),
        ({"gskd": Term(losses.GSKD()), "at": Term(losses.AT(), on=("norm", "stem"))}, ("head", "stem")),
        ({"at": Term(losses.AT(), on="stem", labels="teacher_correct")}, ("logits", "stem")),
        ({"mine": Term(losses.CrossEntropy(), on="logits", labels="valid")}, ()),
    ],
    ids=["none", "logits", "features", "correct", "without a teacher"],
)
def test_it_names_the_teachers_features_that_the_terms_read(
    terms: dict[str, Term], names: tuple[str, ...], batch
) -> None:
    joined = distiller(**terms)
    assert joined.teacher_features == names
    computed = {name: joined.prepare(*batch).teacher[name] for name in names}
    torch.manual_seed(1)
    expected = joined.eval()(*batch).total
    joined.release_teacher()
    torch.manual_seed(1)
    torch.testing.assert_close(joined(*batch, joined.prepare(*batch, computed)).total, expected)
    if not names:
        torch.testing.assert_close(joined(*batch).total, expected)


def test_a_released_teacher_is_freed_and_its_features_are_asked_for(batch) -> None:
    joined = distiller(kd=Term(losses.KD()))
    teacher = weakref.ref(joined.teacher)
    joined.release_teacher()
    gc.collect()
    assert joined.teacher is None
    assert teacher() is None
    joined.train().to(torch.float64).float()
    for call in (joined, joined.prepare):
        with pytest.raises(UserError, match=r"the teacher was released; give its features: distiller.prepare"):
            call(*batch)


def in_parts(joined: Distiller, images: Tensor, labels: Tensor, sizes: list[int]) -> dict[str, Tensor]:
    """Return the gradients of a step that takes the batch in parts of these sizes."""
    joined.zero_grad()
    batches = list(zip(images.split(sizes), labels.split(sizes), strict=True))
    parts = [joined.prepare(*batch) for batch in batches]
    joined.share_out(parts)
    for batch, part in zip(batches, parts, strict=True):
        joined(*batch, part).total.backward()
    return gradients(joined)


def gradients(joined: Distiller) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in joined.named_parameters()}


def test_a_step_in_parts_has_the_gradient_of_the_whole(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    student, teacher = WithAux(), plain(4)
    images, labels = torch.randn(6, 3, 32, 32, generator=rng), torch.randint(0, 4, (6, 32, 32), generator=rng)
    labels[0] = 255
    labels[1, 2:] = 255
    labels[3, :, :17] = 255
    terms = {
        "kd": Term(losses.KD(), labels="valid", weight=3.0),
        "cwd": Term(losses.cwd, labels="valid"),
        "right": Term(losses.FitNet(), labels="teacher_correct", weight=2.0),
        "everywhere": Term(losses.KD(temperature=2.0)),
    }
    joined = Distiller(student, teacher, terms)
    joined(images, labels).total.backward()
    whole = gradients(joined)
    for sizes in ([3, 3], [1, 2, 3]):
        for name, gradient in in_parts(joined, images, labels, sizes).items():
            torch.testing.assert_close(gradient, whole[name])


def test_what_parts_add_is_the_value_of_the_whole_step(rng: torch.Generator) -> None:
    joined = Distiller(
        plain(4), plain(4), {"kd": Term(losses.KD(), labels="valid"), "judge": Term(Judge(), weight=2.0)}
    )
    images, labels = torch.randn(3, 3, 32, 32, generator=rng), torch.randint(0, 4, (3, 32, 32), generator=rng)
    labels[0, 1:] = 255
    batches = list(zip(images.split([1, 2]), labels.split([1, 2]), strict=True))
    parts = [joined.prepare(*batch) for batch in batches]
    joined.share_out(parts)
    outs = [joined(*batch, part) for batch, part in zip(batches, parts, strict=True)]
    whole = whole_step([part.of_whole(out) for part, out in zip(parts, outs, strict=True)])
    expected = joined(images, labels)
    torch.testing.assert_close(whole.terms["kd"], expected.terms["kd"])
    # A loss that says nothing of its mean: parts count alike, and so do the objectives of a loss's own parts.
    for name, values in (("terms", whole.terms), ("inner_objectives", whole.inner_objectives)):
        torch.testing.assert_close(
            values["judge"], (getattr(outs[0], name)["judge"] + getattr(outs[1], name)["judge"]) / 2
        )
    torch.testing.assert_close(
        whole.total,
        whole.terms["task"] + whole.terms["kd"] + 2 * whole.terms["judge"] + whole.inner_objectives["judge"],
    )
    assert whole.terms["kd"].requires_grad
    assert whole.terms["kd"].grad_fn is None


def test_a_step_without_a_valid_pixel_is_zero_in_parts_too(rng: torch.Generator) -> None:
    joined = Distiller(plain(4), plain(4), {"kd": Term(losses.KD(), labels="valid")})
    images, labels = torch.randn(1, 3, 32, 32, generator=rng), torch.full((1, 32, 32), 255)
    parts = [joined.prepare(images, labels) for _ in range(2)]
    joined.share_out(parts)
    total = joined(images, labels, parts[0]).total
    total.backward()
    assert total == 0
    assert all(gradient.eq(0).all() for gradient in gradients(joined).values())


@pytest.mark.parametrize(("mean_over", "counts"), [("batch", (1, 1)), ("pixels", (8, 24)), ("images", (1, 1))])
def test_a_loss_of_ones_own_says_what_its_mean_counts(mean_over: str, counts: tuple[int, int]) -> None:
    def mine(student: Tensor, teacher: Tensor, labels: Tensor, scale: float = 1.0) -> Tensor:
        return scale * student.mean()

    mine.mean_over = mean_over
    labels = torch.full((2, 32, 32), 255)
    labels[0, :8], labels[1, :24] = 1, 1
    joined = Distiller(plain(4), plain(4), {"mine": Term(partial(mine, scale=2.0), labels="valid")})
    parts = [joined.prepare(torch.zeros(1, 3, 32, 32), each[None]) for each in labels]
    joined.share_out(parts)
    shares = torch.stack([part.share_of("mine") for part in parts])
    torch.testing.assert_close(shares, torch.tensor(counts) / sum(counts))


def test_a_loss_that_counts_something_else_is_refused() -> None:
    def mine(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        return student.mean()

    mine.mean_over = "classes"
    with pytest.raises(UserError, match=r"mean_over must be one of \('pixels', 'images', 'batch'\), got 'classes'"):
        Term(mine)


def test_the_task_sees_student_and_labels_and_no_teacher(batch) -> None:
    def own(student: Tensor, teacher: None, labels: Tensor) -> Tensor:
        assert teacher is None
        return F.cross_entropy(student, labels[:, ::4, ::4], ignore_index=255)

    joined = distiller(task=Term(own), kd=Term(losses.KD())).eval()
    images, labels = batch
    torch.testing.assert_close(joined(images, labels).terms["task"], own(joined.student(images), None, labels))
    assert joined.wiring().cells()[0][:3] == Distiller(sequential(), None, {"task": Term(own)}).wiring().cells()[0][:3]


@pytest.mark.parametrize("loss", [losses.KD(), losses.kd, partial(losses.kd, temperature=2.0)])
def test_a_loss_with_a_teacher_is_no_task(batch, loss) -> None:
    with pytest.raises(UserError, match="term 'task': the task has no teacher.*give its term another name"):
        distiller(task=Term(loss))
    assert distiller(other=Term(loss))(*batch).terms.keys() == {"task", "other"}


def test_an_error_inside_a_loss_names_its_term(batch) -> None:
    def mismatched(student, teacher, labels=None):
        return (student[:, :, 1:] - teacher).square().mean()

    def without_memory(student, teacher, labels=None):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(UserError, match="^term 'mine': The size of tensor a"):
        distiller(mine=Term(mismatched, on="logits"))(*batch)
    with pytest.raises(torch.OutOfMemoryError):  # a loop of the user may lower its batch size
        distiller(mine=Term(without_memory, on="logits"))(*batch)
