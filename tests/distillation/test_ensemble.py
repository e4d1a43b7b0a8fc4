"""Several teachers: their probabilities averaged, their features by name."""

import copy

import pytest
import torch
from torch import Tensor, nn

from segdistill import Distiller, Ensemble, Term, losses
from segdistill.distillation.facts import Asked, NetworkPair
from segdistill.distillation.feature_names import FeatureNames
from segdistill.errors import UserError
from tests.networks import WithAux, sequential

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(2, 32, 32, dtype=torch.long)


def two() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"big": sequential(width=12).eval(), "other": WithAux().eval()}


def test_probabilities_are_averaged() -> None:
    members = two()
    with torch.no_grad():
        mean = (members["big"](IMAGES).softmax(1) + members["other"](IMAGES)["out"].softmax(1)) / 2
        torch.testing.assert_close(Ensemble(members).eval()(IMAGES).logits.softmax(1), mean)


@pytest.mark.parametrize("teachers", [1, 2])
@pytest.mark.parametrize("named", [None, "teacher0"])
def test_one_teacher_teaches_as_it_would_alone(teachers: int, named: str | None) -> None:
    torch.manual_seed(0)
    student, teacher = sequential().eval(), sequential(width=12)
    chosen = {"kd": losses.KD(), "cwd": losses.CWD(), "icsd": losses.ICSD(), "ickd": losses.ICKD()}
    alone = Distiller(student, teacher, {name: Term(loss, on="logits") for name, loss in chosen.items()}).eval()(
        IMAGES, LABELS
    )
    same = [copy.deepcopy(teacher) for _ in range(teachers)]
    among = Distiller(
        student, same, {name: Term(loss, on="logits", teacher=named) for name, loss in chosen.items()}
    ).eval()
    for name, value in among(IMAGES, LABELS).terms.items():
        torch.testing.assert_close(value, alone.terms[name])


def test_a_term_learns_from_the_teacher_it_names() -> None:
    members = two()
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        def loss(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
            seen[name] = teacher
            return student.sum() * 0

        loss.equal_channels = False
        return loss

    joined = Distiller(
        sequential(),
        members,
        {
            "mean": Term(keep("mean")),
            "logits": Term(keep("logits"), teacher="other"),
            "head": Term(keep("head"), on="head", teacher="big"),
            "path": Term(keep("path"), on=("stem", "body"), teacher="other"),
            "full": Term(keep("full"), on=("stem", "big.stem")),
        },
    )
    joined(IMAGES, LABELS)
    with torch.no_grad():
        torch.testing.assert_close(seen["logits"], members["other"](IMAGES)["out"])
        torch.testing.assert_close(seen["mean"], joined.teacher(IMAGES).logits)
        torch.testing.assert_close(seen["path"], members["other"].body(IMAGES))
        torch.testing.assert_close(seen["full"], members["big"].stem(IMAGES))
        torch.testing.assert_close(members["big"].classify(seen["head"]), members["big"](IMAGES))


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(
        UserError, match="term 'at': there are several teachers; name one, to compare with its 'head': teacher='big' or"
    ):
        Distiller(sequential(), two(), {"at": Term(losses.AT(), on="head")})
    with pytest.raises(UserError, match="to compare with its 'neither.head'"):
        Distiller(sequential(), two(), {"at": Term(losses.AT(), on="head", teacher="neither")})
    with pytest.raises(UserError, match="no teacher is given"):
        Distiller(sequential(), [])
    with pytest.raises(UserError, match="cannot be called 'a.b'"):
        Ensemble({"a.b": sequential()})
    with pytest.raises(UserError, match=r"must have the same classes, but 'teacher1' gives scores \(1, 5, 32, 32\)"):
        Distiller(sequential(), [sequential(), sequential(classes=5)])
    student = sequential()
    with pytest.raises(UserError, match="are the same module"):
        Distiller(student, [sequential(), student])


def test_every_member_is_frozen_and_in_eval_mode() -> None:
    members = two()
    joined = Distiller(sequential(), members, {"kd": Term(losses.KD())}).train()
    members["big"].train()  # from outside
    joined(IMAGES, LABELS).total.backward()
    assert all(not parameter.requires_grad for member in members.values() for parameter in member.parameters())
    assert all(name.startswith(("student.", "terms.")) for name in joined.state_dict())
    assert not members["other"].training


def test_a_module_list_is_a_list_too() -> None:
    joined = Distiller(sequential(), nn.ModuleList(two().values()), {"kd": Term(losses.KD(), teacher="teacher1")})
    assert joined.teacher.names == ("teacher0", "teacher1")


def test_the_classifier_is_that_of_the_teacher_a_term_names() -> None:
    members = two()
    pair = NetworkPair(sequential(), Ensemble(members), 4, torch.zeros(1, 3, 32, 32))
    asked = {name: Asked(frozenset({"classifier"}), FeatureNames.of("head", name)) for name in members}
    facts = pair.facts(asked)
    assert facts["big"]["classifier"] is members["big"].classify
    assert facts["other"]["classifier"] is members["other"].classifier
