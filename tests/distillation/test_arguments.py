"""What people give a Distiller by mistake, and networks that do to their surroundings what they should not."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import Distiller, Ensemble, Term, losses, schedules
from segdistill.errors import UserError
from segdistill.models import wrap
from tests.networks import plain, sequential

SOURCE = Path(__file__).parents[2] / "src"


class InPlace(nn.Module):
    """Normalizes its input in place: always, or in training only."""

    def __init__(self, classes: int = 4, *, in_training_only: bool = False) -> None:
        super().__init__()
        self.body = sequential(classes)
        self.in_training_only = in_training_only

    def forward(self, images: Tensor) -> Tensor:
        if self.training or not self.in_training_only:
            images.sub_(0.5).div_(0.25)
        return self.body(images)


class FixedSize(nn.Module):
    """Takes images of one size, as vision transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain(4)

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2] == 32, "Input height (128) doesn't match model (32)."
        return self.body(images)


class WithEncoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.classify = nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.encoder(images))


def images_and_labels() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, 32, 32), torch.randint(0, 4, (2, 32, 32))


def kd() -> dict[str, Term]:
    return {"kd": Term(losses.KD())}


def sigmoid(student: Tensor, teacher: None, labels: Tensor) -> Tensor:
    """The task of a network with one output."""
    return F.binary_cross_entropy_with_logits(student[:, 0], labels[:, ::4, ::4].float())


# Arguments of another kind


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            lambda: Distiller(plain(4), plain(4), {"kd": losses.KD()}),
            r"term 'kd' must be a Term, got a KD; write Term\(",
        ),
        (lambda: Distiller(plain(4), plain(4), {"kd": losses.kd}), "term 'kd' must be a Term, got a function"),
        (
            lambda: Distiller(plain(4), plain(4), {"kd": "kd"}),
            r"term 'kd' must be a Term, got 'kd'; write Term",
        ),
        (lambda: Distiller(plain(4), plain(4), [Term(losses.KD())]), "terms must be a mapping, .* got a list"),
        (lambda: Term("kd"), r"a Term takes a loss, as in Term\(losses\.KD\(\)\), got 'kd'"),
        (lambda: Term(losses.KD(), weight=None), "a weight is a number, a schedule or 'auto:SHARE' .*, got None"),
        (lambda: Term(losses.KD(), weight=float("nan")), "a weight is .*, got nan"),
        (lambda: Term(losses.KD(), weight=[1.0]), r"a weight is .*, got \[1\.0\]"),
        (lambda: Term(losses.KD(), on=None), r"on must be a name, .*, got None"),
        (lambda: Term(losses.KD(), on=["head", 3]), r"on must be a name, .*, got \['head', 3\]"),
        (lambda: Term(losses.KD(), on=("a", "b", "c")), r"on must be a name, .*, got \('a', 'b', 'c'\)"),
        (lambda: Term(losses.KD(), adapter="conv"), "adapter must be an nn.Module, or a list of them, got 'conv'"),
        (lambda: Term(losses.KD), r"got the class KD; call it: KD\(\.\.\.\)"),
        (
            lambda: Distiller(plain(4), "runs/teacher"),
            r"the teacher must be .*, got 'runs/teacher'; models\.load",
        ),
        (
            lambda: Distiller(plain(4), Path("runs/t")),
            "the teacher must be .*, got a PosixPath; models",
        ),
        (lambda: Distiller("student.pth", plain(4)), r"the student must be an nn\.Module, got 'student\.pth'"),
        (lambda: Distiller(plain(4), {"big": "runs/big"}), r"teacher 'big' must be .*, got 'runs/big'; models"),
        (lambda: Distiller(plain(4), plain(4).state_dict()), r"teacher '0\.weight' must be .*, got a Tensor; models"),
        (
            lambda: Distiller(plain(4), FixedSize()),
            "the teacher fails on an image of 128x128: Input height .* give a probe",
        ),
        (
            lambda: Distiller(plain(1), plain(1), kd()),
            r"term 'task': the student has one output channel, .* logits \[0, z\]",
        ),
        (lambda: Distiller(plain(2), plain(1), kd()), "term 'kd': the teacher has one output channel"),
        (
            lambda: Distiller(plain(1), plain(1), {"task": Term(sigmoid), "kd": Term(losses.kd)}),
            "term 'kd': the student has one output channel",
        ),
        (
            lambda: Distiller(
                plain(1), plain(1), {"task": Term(sigmoid), "f": Term(losses.AT(), on="0", labels="teacher_correct")}
            ),
            "term 'f': the student has one output channel",
        ),
    ],
)
def test_another_kind_of_argument_is_said_in_a_line(given, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        given()
    assert "\n" not in str(error.value)


def test_a_probe_of_the_size_that_a_network_takes() -> None:
    for teacher in (FixedSize(), {"a": FixedSize(), "b": plain(4)}):
        Distiller(FixedSize(), teacher, kd(), probe=torch.zeros(1, 3, 32, 32))(*images_and_labels())


@pytest.mark.parametrize("weight", [2, 2.0, np.float32(2), torch.tensor(2.0), schedules.linear(2.0, 0.0)])
def test_a_weight_may_be_any_number_or_schedule(weight: object) -> None:
    shapes = {"logits": torch.Size((1, 4, 8, 8))}
    assert Term(losses.KD(), weight=weight).wire(shapes, shapes).weight_at(0.0) == 2.0


def test_one_output_is_well_where_a_task_of_ones_own_reads_it() -> None:
    images, labels = images_and_labels()
    mask = (labels > 1).float()  # neither integers nor indices of the outputs
    terms = {"task": Term(sigmoid), "cwd": Term(losses.CWD()), "at": Term(losses.AT(), on="0")}
    joined = Distiller(plain(1), plain(1), terms).eval()
    out = joined(images, mask)
    torch.testing.assert_close(out.terms["task"], sigmoid(joined.student(images), None, mask))
    out.total.backward()


def test_one_output_as_two_is_the_same_probability() -> None:
    """What the message advises."""
    z = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(torch.cat([0 * z, z], 1).softmax(1)[:, 1:], z.sigmoid())


@pytest.mark.parametrize("task", [None, Term(losses.CrossEntropy(), labels="valid")])
def test_labels_outside_the_classes_are_shown(task: Term | None) -> None:
    images, labels = images_and_labels()
    joined = Distiller(plain(4), plain(4), kd() | ({} if task is None else {"task": task}))
    joined(images, labels)
    labels[0, 0, :3] = torch.tensor([4, -1, 9])
    with pytest.raises(
        UserError, match=r"labels hold -1, 4, 9, and the student has 4 classes; expected 0\.\.3, or 255"
    ):
        joined(images, labels)
    labels[0, 0, :3] = 255
    joined(images, labels)
    with pytest.raises(UserError, match=r"labels are class indices, integers, got a tensor of torch\.float32"):
        joined(images, labels.float())


def test_from_a_source_tree_that_is_not_installed(tmp_path: Path) -> None:
    code = (
        "import importlib.metadata as m\n"
        "find = m.version\n"
        "def version(name):\n"
        "    if name == 'segdistill': raise m.PackageNotFoundError(name)\n"
        "    return find(name)\n"
        "m.version = version\n"
        "from segdistill.runs.records import environment\n"
        "print(environment(0)['segdistill'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.strip() == "0.1.0", done.stderr


# What the networks share


@pytest.mark.parametrize("teacher", [InPlace(), Ensemble({"a": InPlace(), "b": sequential()})], ids=["one", "several"])
def test_a_teacher_that_changes_its_images_leaves_the_students_alone(teacher: nn.Module) -> None:
    images, labels = images_and_labels()
    kept, seen = images.clone(), []
    student = sequential()
    student.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    joined = Distiller(student, teacher, kd())
    seen.clear()
    joined(images, labels)
    assert torch.equal(seen[0], kept)
    assert torch.equal(images, kept)


def test_each_of_several_teachers_sees_the_images() -> None:
    images, _ = images_and_labels()
    first, second = InPlace(), sequential()
    both = Ensemble({"a": first, "b": second}).eval()
    alone = both.members["b"](images.clone())
    both(images.clone())
    assert torch.equal(both.scores["b"](alone), alone)
    seen = []
    second.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    both(images)
    assert torch.equal(seen[0], images)


def test_a_student_that_changes_its_images_leaves_the_callers_alone() -> None:
    images, labels = images_and_labels()
    kept = images.clone()
    Distiller(InPlace(), sequential(), kd()).train()(images, labels)
    assert torch.equal(images, kept)
    joined = Distiller(InPlace(in_training_only=True), sequential(), kd()).train()
    joined(images.clone(), labels)  # in the first pass it is found out
    joined(images, labels)
    assert torch.equal(images, kept)


def test_a_given_probe_stays_as_it_is() -> None:
    probe = torch.rand(1, 3, 32, 32)
    kept = probe.clone()
    Distiller(sequential(), InPlace(), kd(), probe=probe)
    assert torch.equal(probe, kept)


def test_a_shared_encoder_is_an_error_that_names_it() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    student, teacher = WithEncoder(encoder), WithEncoder(encoder)
    message = r"the student's 'encoder\.0\.weight' is the teacher's '.*encoder\.0\.weight', .* and 4 more; .*deepcopy"
    for given in (teacher, {"a": plain(4), "b": teacher}, nn.Sequential(teacher)):
        with pytest.raises(UserError, match=message):
            Distiller(student, given, kd())
    assert all(parameter.requires_grad for parameter in student.parameters())
    Distiller(student, copy.deepcopy(teacher), kd())  # what the message advises
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_shared_memory_is_sharing_too() -> None:
    student, teacher = sequential(), sequential()
    teacher.stem.weight = nn.Parameter(student.stem.weight.detach())  # another object on the same memory
    with pytest.raises(UserError, match=r"the student's 'stem\.weight' is the teacher's 'stem\.weight'; give"):
        Distiller(student, teacher, kd())


def test_parameters_that_a_student_ties_or_freezes_itself_are_its_own() -> None:
    student = WithEncoder(plain(8))
    student.encoder[0].weight.requires_grad_(False)
    student.also = nn.ParameterList([student.classify.weight])
    Distiller(student, sequential(), kd())
    assert not student.encoder[0].weight.requires_grad
    assert student.classify.weight.requires_grad


# Precision and compilation


@pytest.mark.parametrize("teacher", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("student", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("autocast", [False, True])
def test_networks_of_any_two_precisions(student: torch.dtype, teacher: torch.dtype, autocast: bool) -> None:
    images, labels = images_and_labels()

    def out(student: torch.dtype, teacher: torch.dtype):
        torch.manual_seed(0)
        terms = {
            "kd": Term(losses.KD(), labels="teacher_correct"),
            "fitnet": Term(losses.FitNet(), on="head"),  # through an adapter, which is in float32
            "own": Term(lambda s, t, y: F.mse_loss(s, t)),
        }
        return Distiller(plain(4).to(student), sequential(width=12).to(teacher), terms)(images, labels)

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mixed = out(student, teacher)
    mixed.total.backward()
    torch.testing.assert_close(mixed.total.float(), out(torch.float32, torch.float32).total, rtol=0.02, atol=0)


def test_a_teacher_in_half_precision_sees_what_it_would_alone() -> None:
    images, labels = images_and_labels()
    seen: list[Tensor] = []

    def keep(student: Tensor, teacher: Tensor, labels: None) -> Tensor:
        seen.append(teacher)
        return student.mean()

    teacher = plain(4).to(torch.bfloat16)
    normalized = wrap(copy.deepcopy(teacher), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    for each in (teacher, normalized, Ensemble({"a": copy.deepcopy(teacher), "b": plain(4)})):
        member = "a" if isinstance(each, Ensemble) else None
        joined = Distiller(plain(4), each, {"keep": Term(keep, teacher=member)})
        with torch.autocast("cpu", torch.float16):  # another half than the teacher's
            joined(images, labels)
    alone = teacher(images.to(torch.bfloat16)).float()
    torch.testing.assert_close(seen[0].float(), alone, rtol=0, atol=0)
    torch.testing.assert_close(seen[2].float(), alone, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", ["wrapped", "in place"])
def test_a_compiled_student_is_measured(compiled: str) -> None:
    torch.compiler.reset()
    images, labels = images_and_labels()
    torch.manual_seed(0)
    student, teacher = plain(4), plain(4)
    eager = Distiller(copy.deepcopy(student), copy.deepcopy(teacher), {"kd": Term(losses.KD(), weight="auto:0.2")})
    if compiled == "wrapped":
        student = torch.compile(student, backend="aot_eager")
    else:
        student.compile(backend="aot_eager")
    joined = Distiller(student, teacher, {"kd": Term(losses.KD(), weight="auto:0.2")})
    for each in (eager, joined):
        each.train().measures_gradients = True
        for _ in range(6):  # one more than it takes
            out = each(images, labels)
            out.total.backward()
    assert out.gradients.keys() == {"task", "kd"}
    assert out.weights["kd"] == pytest.approx(eager(images, labels).weights["kd"], rel=1e-4)
    joined.measures_gradients = False
    joined(images, labels).total.backward()  # compiled


def kept_inside(student: Tensor, teacher: Tensor, labels: None) -> Tensor:
    """A loss that keeps for its backward pass what nobody else holds."""
    return (student - teacher).exp().sin().tanh().mean()


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_loss_is_measured() -> None:
    torch.compiler.reset()
    images, labels = images_and_labels()
    torch.manual_seed(0)
    student, teacher = plain(4), plain(4)
    norms = {}
    for loss in (kept_inside, torch.compile(kept_inside, backend="aot_eager")):
        joined = Distiller(student, copy.deepcopy(teacher), {"kd": Term(loss, weight="auto:0.2")}).train()
        joined(images, labels)
        out = joined(images, labels)
        out.total.backward()
        norms[loss] = out.gradients["kd"]
    first, second = norms.values()
    assert first == pytest.approx(second, rel=1e-4)


def test_a_compiled_distiller_that_cannot_be_measured_says_what_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: object) -> None:
        raise RuntimeError("This backward function was compiled with non-empty donated buffers which requires ...")

    monkeypatch.setattr("segdistill.distillation.distiller.gradient_norms", refuses)
    joined = Distiller(plain(4), plain(4), {"kd": Term(losses.KD(), weight="auto:0.2")}).train()
    with pytest.raises(UserError, match=r"a compiled Distiller .* Distiller\(torch\.compile\(student\), teacher"):
        joined(*images_and_labels())
