"""The name of a method gives in Python the terms that it gives in a recipe; a Term alone has its loss's defaults."""

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import fcn_resnet50, lraspp_mobilenet_v3_large

import segdistill
from segdistill import Distiller, Term, losses, method_terms
from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.catalogue.methods import terms_of
from segdistill.distillation.build import build_terms
from segdistill.distillation.facts import NetworkPair
from segdistill.errors import UserError
from segdistill.models import build
from segdistill.recipes import METHODS
from tests.networks import WithAux, sequential
from tests.tiny import tiny

PROBE = torch.zeros(1, 3, 64, 64)
CLASSES = 10


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    return build("deeplabv3_mobilenetv2", CLASSES), build("deeplabv3_resnet18", CLASSES)


def of_recipe(pair: tuple[nn.Module, nn.Module], *changes: str) -> Distiller:
    torch.manual_seed(3)
    terms = build_terms(tiny(*changes).term_settings, NetworkPair(*pair, CLASSES, PROBE))
    return Distiller(*pair, terms, probe=PROBE)


def settings(loss: nn.Module) -> dict[str, object]:
    return {key: value for key, value in vars(loss).items() if not key.startswith("_")}


def check_equal(one: Distiller, other: Distiller) -> None:
    assert list(one.terms) == list(other.terms)
    assert one.wiring().cells() == other.wiring().cells()
    for name, term in one.terms.items():
        twin = other.terms[name]
        assert type(term.loss) is type(twin.loss)
        assert settings(term.loss) == settings(twin.loss)
        assert (term.features, term.labels, term.wires) == (twin.features, twin.labels, twin.wires)
        assert [term.weight_at(t) for t in (0.0, 0.4, 1.0)] == [twin.weight_at(t) for t in (0.0, 0.4, 1.0)]
    state, twin_state = one.terms.state_dict(), other.terms.state_dict()
    assert state.keys() == twin_state.keys()
    assert all(torch.equal(value, twin_state[key]) for key, value in state.items())


@pytest.mark.parametrize("method", ["dist+gskd", "cirkd+gskd"])
def test_the_order_of_the_parts_does_not_matter(method: str) -> None:
    """dist+gskd has settings of its paper, which the terms of dist and of gskd alone do not have."""
    assert terms_of("+".join(reversed(method.split("+")))) == terms_of(method)
    assert terms_of("a+kd", {"kd+a": {"kd": {"weight": 3}}}) == {"kd": {"weight": 3}}


@pytest.mark.parametrize("method", [*METHODS, "kd+at", "ofd+crd"])
def test_a_method_gives_the_terms_of_the_recipe(method: str, pair: tuple[nn.Module, nn.Module]) -> None:
    if method in ("dsd", "maskd_aux"):
        pair = WithAux(CLASSES), WithAux(CLASSES)
    if method == "transkd_embeddings":
        pair = build("segformer_b0", CLASSES), build("segformer_b0", CLASSES)
    expected = of_recipe(pair, f"method={method}")
    torch.manual_seed(3)
    check_equal(Distiller(*pair, method, probe=PROBE), expected)


@pytest.mark.parametrize("card", LOSS_CARDS, ids=lambda card: card.name)
def test_a_term_alone_has_the_defaults_of_a_recipes(card: LossCard, pair: tuple[nn.Module, nn.Module]) -> None:
    expected = build_terms(tiny("method=none", f"terms.one.loss={card.name}").term_settings, NetworkPair(*pair, 10))
    term = Term(expected["one"].loss)
    kept = ("features", "labels", "weight", "needs_teacher", "mean_over")
    assert [getattr(term, key) for key in kept] == [getattr(expected["one"], key) for key in kept]
    if not card.module_only:
        for function in (getattr(losses, card.name), partial(getattr(losses, card.name), ignore_index=3)):
            assert [getattr(Term(function), key) for key in kept] == [getattr(term, key) for key in kept]


def test_what_is_given_comes_before_the_defaults() -> None:
    term = Term(losses.GSKD())
    assert (term.features.student, term.labels, term.weight) == (("head",), "valid", 10.0)
    term = Term(losses.GSKD(sampling="random"), on="stage4", labels=None, weight=2)
    assert (term.features.student, term.labels, term.weight) == (("stage4",), None, 2)


class Mine(losses.GSKD):
    """A user's own loss, which has no card."""


@pytest.mark.parametrize("loss", [lambda student, teacher, labels: student.mean(), Mine(), nn.MSELoss()])
def test_a_users_own_loss_has_the_plain_defaults(loss) -> None:
    term = Term(loss)
    assert (term.features.student, term.labels, term.weight) == (("logits",), None, 1.0)


def test_a_function_returns_the_terms() -> None:
    student, teacher = sequential(), sequential(width=12)
    seen = []

    def terms(student: nn.Module, teacher: nn.Module) -> dict[str, Term]:
        seen.append((student, teacher))
        return {"kd": Term(losses.KD())}

    assert list(Distiller(student, teacher, terms).terms) == ["task", "kd"]
    assert seen == [(student, teacher)]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ("kdd", "unknown method 'kdd'; did you mean"),
        (losses.KD(), 'terms must be a mapping, as in .*, or the name of a method, as in "kd", got a KD'),
        (losses.kd, "terms must be a mapping, .* got a function"),
        (lambda student, teacher: [Term(losses.KD())], "terms must be a mapping, .* got a list"),
        ("ofd", "term 'ofd', student: unknown feature of Sequential 'stage1'"),
    ],
)
def test_other_terms_are_refused(terms, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Distiller(sequential(), sequential(width=12), terms)


def test_maskd_on_the_auxiliary_heads_needs_them(pair: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(UserError, match="Segmenter has no auxiliary head, so no feature 'aux'"):
        Distiller(*pair, "maskd_aux", probe=PROBE)


def test_maskd_on_the_auxiliary_heads_learns_tokens_for_both_first() -> None:
    torch.manual_seed(0)
    joined = Distiller(WithAux(CLASSES), WithAux(CLASSES), "maskd_aux", probe=PROBE)
    stage = joined.first_stage
    assert stage is not None
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(0, CLASSES, (2, 64, 64))
    stage.objective(images, labels).backward()
    assert {name: [bool(x.grad.any()) for x in tokens] for name, tokens in stage.parameters().items()} == {
        "maskd": [True],
        "maskd_aux": [True],
    }
    stage.finish()
    out = joined(images, labels)
    task, main, aux = (float(out.terms[name].detach()) for name in ("task", "maskd", "maskd_aux"))
    assert float(out.total.detach()) == pytest.approx(task + main + 0.4 * aux)
    assert min(main, aux) > 0


def test_pkd_compares_each_stage_whatever_its_scale(pair: tuple[nn.Module, nn.Module]) -> None:
    torch.manual_seed(0)
    joined = Distiller(*pair, "pkd", probe=PROBE)
    assert [term.features.teacher for name, term in joined.terms.items() if name != "task"] == [
        (f"stage{number}",) for number in (1, 2, 3, 4)
    ]
    for name, term in joined.terms.items():
        if name != "task":
            student, teacher = torch.randn(2, 2, 6, 4, 4)  # whatever the adapters make of the stages
            assert float(term.loss(student, 3 * student)) == pytest.approx(0, abs=1e-5)
            assert float(term.loss(student, 9 * teacher + 2)) == pytest.approx(float(term.loss(student, teacher)))


def test_the_classes_are_those_of_the_logits_and_void_is_the_distillers() -> None:
    student, teacher = sequential(5), sequential(5, width=12)
    assert method_terms("cirkd", student, teacher)["cirkd_memory"].loss.num_classes == 5
    assert method_terms("cirkd", student, teacher, num_classes=7)["cirkd_memory"].loss.num_classes == 7
    joined = Distiller(student, teacher, "dist+gskd", ignore_index=-1)
    assert {term.loss.ignore_index for term in joined.terms.values()} == {-1}


def test_a_method_of_several_teachers() -> None:
    joined = Distiller(sequential(), {"big": sequential(width=12), "other": WithAux()}, "kd")
    assert list(joined.terms) == ["task", "kd"]
    with pytest.raises(UserError, match="term 'kd' needs a teacher"):
        Distiller(sequential(), None, "kd")
    assert list(Distiller(sequential(), None, "none").terms) == ["task"]


def torchvision() -> tuple[nn.Module, nn.Module]:
    teacher = fcn_resnet50(weights=None, weights_backbone=None, num_classes=4)
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4), teacher


def smp() -> tuple[nn.Module, nn.Module]:
    library = pytest.importorskip("segmentation_models_pytorch")
    make = partial(library.Unet, encoder_weights=None, classes=4)
    return make("mobilenet_v2"), make("resnet18")


@pytest.mark.parametrize("networks", [torchvision, smp])
def test_cirkd_on_networks_of_other_libraries(networks, rng: torch.Generator) -> None:
    student, teacher = networks()
    joined = Distiller(student, teacher, "cirkd").train()
    images = torch.randn(2, 3, 64, 64, generator=rng)
    out = joined(images, torch.randint(0, 4, (2, 64, 64), generator=rng))
    out.total.backward()
    assert out.total.isfinite()
    assert set(out.terms) == {"task", *METHODS["cirkd"]}
    assert all(parameter.grad is not None for name, parameter in joined.named_parameters() if ".adapters." in name)


def test_a_method_needs_pytorch_alone() -> None:
    blocked = ["pydantic", "typer", "lightning_fabric", "numpy", "torchvision", "timm", "PIL", "rich", "safetensors"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import torch; from torch import nn\n"
        "from segdistill import Distiller, Term, losses, method_terms\n"
        "import segdistill.catalogue.methods, segdistill.catalogue.terms\n"
        "net = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))\n"
        "out = Distiller(net(), net(), 'dist+gskd')(torch.zeros(1, 3, 16, 16), torch.zeros(1, 16, 16).long())\n"
        "print(sorted(out.terms))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "['dist', 'gskd', 'task']\n", done.stderr


def test_the_names_of_the_package() -> None:
    assert segdistill.method_terms is method_terms
