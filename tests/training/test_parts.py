"""The parts of a training, one number at a time."""

import json
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn
from torchvision import tv_tensors

from segdistill import Distiller, Term
from segdistill.catalogue.cards import LOSS_CARDS, LossCard
from segdistill.data import Scenes
from segdistill.distillation.build import build_terms
from segdistill.distillation.facts import Asked, NetworkPair
from segdistill.distillation.feature_names import FeatureNames
from segdistill.errors import UserError
from segdistill.evaluation.cost import count_flops, count_parameters
from segdistill.evaluation.scoring import Score, evaluate, predict, scoring_transform
from segdistill.losses import FitNet
from segdistill.models import build
from segdistill.recipes import alone_recipe
from segdistill.recipes.schema import Data, Evaluation, Train
from segdistill.runs.metric import METRICS
from segdistill.runs.run_folder import RunFolder
from segdistill.training.build import training_augmentation
from segdistill.training.console import clock
from segdistill.training.loop import Training
from segdistill.training.optimizer import (
    build_optimizer,
    clip_gradients,
    learning_rate,
    rate_factors,
    set_learning_rate,
    step_together,
)
from segdistill.training.run import distill
from segdistill.training.session import Session
from segdistill.training.train import train_network
from tests.networks import plain
from tests.tiny import tiny

DATA = Data()


def test_score_by_hand() -> None:
    #                       predicted: road  car  sky  tree
    confusion = torch.tensor([[3, 1, 0, 0], [2, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    confusion[0, 3] = 2  # tree does not occur, but is predicted twice
    score = Score.of_segmentation(confusion, ("road", "car", "sky", "tree"))
    assert score.classes == {"road": 3 / 8, "car": 4 / 7, "sky": None, "tree": 0.0}
    assert score.value == pytest.approx((3 / 8 + 4 / 7 + 0) / 3)  # sky is neither there nor predicted
    assert score.more["pixel_accuracy"] == pytest.approx(7 / 12)


def test_other_scores_by_hand() -> None:
    confusion = torch.tensor([[3, 1, 2], [0, 4, 0], [0, 0, 0]])
    score = Score.of_segmentation(confusion, ("road", "car", "sky"))
    assert score.more["class_accuracy"] == pytest.approx((3 / 6 + 4 / 4) / 2)
    assert score.more["frequency_weighted_iou"] == pytest.approx(6 / 10 * 3 / 6 + 4 / 10 * 4 / 5)


def test_an_absent_class_counts_as_zero_if_the_protocol_counts_it() -> None:
    confusion = torch.tensor([[3, 0, 0], [0, 0, 0], [0, 0, 0]])
    score = Score.of_segmentation(confusion, ("road", "sky", "void"), counted=["road", "sky"])
    assert score.classes == {"road": 1.0, "sky": 0.0, "void": None}
    assert score.value == pytest.approx(1 / 2)
    assert score.more["class_accuracy"] == pytest.approx(1 / 2)


def test_evaluation_at_a_short_side() -> None:
    image = torch.zeros(3, 32, 48, dtype=torch.uint8)
    labels = (torch.arange(48) >= 24).to(torch.uint8).expand(32, 48)
    item = tv_tensors.Image(image), tv_tensors.Mask(labels)
    small, kept = scoring_transform(DATA, "segmentation", Evaluation(short_side=16))(*item)
    assert small.shape == (3, 16, 24)
    assert torch.equal(kept, labels.long())
    _, resized = scoring_transform(DATA, "segmentation", Evaluation(short_side=16, resize_labels=True))(*item)
    assert torch.equal(resized, (torch.arange(24) >= 12).long().expand(16, 24))


class Truth(nn.Module):
    """Knows the labels of the image it is shown; wrong on the top row."""

    def __init__(self, dataset: Scenes) -> None:
        super().__init__()
        self.dataset, self.shown = dataset, 0
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        labels = self.dataset[self.shown][1].long()
        self.shown += 1
        labels = torch.where(labels == 255, 0, labels)
        labels[0] = (labels[0] + 1) % 10
        return nn.functional.one_hot(labels, 10).permute(2, 0, 1)[None].float()


def test_evaluation_counts_every_pixel_but_void_once() -> None:
    dataset = Scenes("val", length=3, size=(32, 48))
    score = evaluate(Truth(dataset), dataset, Fabric(accelerator="cpu", devices=1), DATA)
    labels = [dataset[index][1] for index in range(3)]
    valid = sum(int((each != 255).sum()) for each in labels)
    wrong = sum(int((each[0] != 255).sum()) for each in labels)
    assert score.more["pixel_accuracy"] == pytest.approx(1 - wrong / valid)


def test_evaluation_gives_every_module_its_mode_back() -> None:
    dataset = Scenes("val", length=1, size=(32, 48))
    network = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Dropout(0.5)).train()
    network[1].eval()
    evaluate(network, dataset, Fabric(accelerator="cpu", devices=1), DATA)
    assert network[0].training
    assert not network[1].training


def test_predictions_are_upsampled_as_the_network_does() -> None:
    class Two(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[[[0.0, 0.0]], [[-7.0, 3.0]]]])  # two classes, one row, two columns

    # Class 1 is -7, -3.67, -0.33, 3 over four columns with aligned corners, and -7, -4.5, 0.5, 3 without.
    network = Two()
    assert predict(network, torch.zeros(1, 3, 1, 4), (1, 4)).tolist() == [[[0, 0, 1, 1]]]
    network.align_corners = True
    assert predict(network, torch.zeros(1, 3, 1, 4), (1, 4)).tolist() == [[[0, 0, 0, 1]]]


def test_learning_rate_by_hand() -> None:
    train = Train(iterations=100, learning_rate=0.02, power=0.9)
    assert learning_rate(train, 0) == 0.02
    assert learning_rate(train, 50) == pytest.approx(0.02 * 0.5**0.9)
    assert learning_rate(train, 99) == pytest.approx(0.02 * 0.01**0.9)
    warm = train.model_copy(update={"warmup": 4})
    assert [learning_rate(warm, step) for step in range(4)] == pytest.approx([0.005, 0.01, 0.015, 0.02])


def test_the_other_schedules_by_hand() -> None:
    cosine = Train(iterations=100, learning_rate=0.01, schedule="cosine")
    rates = [learning_rate(cosine, step) for step in (0, 25, 50, 75)]
    assert rates == pytest.approx([0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4])
    # ImageNet: 100 epochs, a tenth every 30; the step that reaches a point has the new rate.
    step = Train(iterations=1000, learning_rate=0.1, schedule="step", decay=0.1, decay_at=(0.3, 0.6, 0.9))
    rates = [learning_rate(step, at) for at in (0, 299, 300, 599, 600, 899, 900, 999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 1e-4, 1e-4])


def test_the_learning_rate_falls_to_its_floor() -> None:
    # DIST's code base: 1e-4 + (0.02 - 1e-4) (1 - t)^0.9
    train = Train(iterations=100, learning_rate=0.02, power=0.9, floor=1e-4)
    assert learning_rate(train, 0) == 0.02
    assert learning_rate(train, 50) == pytest.approx(1e-4 + 0.0199 * 0.5**0.9)
    assert learning_rate(train, 100) == pytest.approx(1e-4)


def test_the_optimiser_has_one_group_with_decay_on_everything() -> None:
    train = Train(learning_rate=0.3, momentum=0.8, weight_decay=0.01)
    network = plain(4)
    network[0].bias.requires_grad_(False)
    optimizer = build_optimizer(network.parameters(), train)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.3, 0.8, 0.01)
    assert len(group["params"]) == 3


class OnGpu(nn.Parameter):
    is_cuda = True


@pytest.mark.parametrize(
    ("train", "fused"),
    [
        (Train(), True),
        (Train(precision="16-mixed"), None),
        (Train(precision="16-mixed", momentum=0.0), True),
        (Train(precision="16-mixed", optimizer="adamw"), True),
        (Train(plain=True), None),
    ],
)
def test_one_kernel_updates_all_unless_a_skipped_step_would_leave_the_momentum_without_a_value(train, fused) -> None:
    (group,) = build_optimizer([OnGpu(torch.zeros(2))], train).param_groups
    assert group["fused"] == fused


def test_modules_have_factors_of_the_learning_rate() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), nn.Linear(4, 5), nn.Linear(5, 6))
    factors = rate_factors(network, {"0.1": 0.5, "0": 0.1, "1": 0.1})
    optimizer = build_optimizer(network.parameters(), Train(learning_rate=2.0, weight_decay=0.25), factors)
    groups = {group["lr"]: group["params"] for group in optimizer.param_groups}
    assert {rate: [len(x) for x in parameters] for rate, parameters in groups.items()} == {
        0.2: [3, 3, 5, 5],
        1.0: [4, 4],
        2.0: [6, 6],
    }
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    set_learning_rate(optimizer, 4.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.4, 2.0, 4.0]
    again = build_optimizer(network.parameters(), Train(learning_rate=2.0), factors)
    again.load_state_dict(optimizer.state_dict())  # as after resuming
    set_learning_rate(again, 1.0)
    assert [group["lr"] for group in again.param_groups] == [0.1, 0.5, 1.0]
    with pytest.raises(UserError, match=r"unknown module of Sequential 'encoder'; there are: 0, 0\.0.*rate_factors"):
        rate_factors(network, {"encoder": 0.1})


def test_a_student_trains_with_the_factors(tmp_path: Path, console: Console) -> None:
    changes = (
        "method=none",
        "baseline=false",
        "student.model=tests.networks:plain",
        "train.iterations=1",
        "train.weight_decay=0",
        "train.schedule=cosine",
    )
    for name, more in {
        "start": "train.learning_rate=1e-20",
        "even": "train.rate_factors={}",
        "odd": "train.rate_factors={network.0: 0.25}",
    }.items():
        distill(tiny(*changes, "train.learning_rate=0.5", more), tmp_path / name, console=console)
    start, even, odd = (last(tmp_path / name) for name in ("start", "even", "odd"))
    inner = [key for key in start if key.startswith("student.network.0.")]
    assert inner
    for key in start:
        if start[key].is_floating_point():
            factor = 0.25 if key in inner else 1.0
            torch.testing.assert_close(odd[key] - start[key], factor * (even[key] - start[key]), rtol=1e-3, atol=1e-6)
    assert all(bool((even[key] != start[key]).any()) for key in inner)


def test_a_factor_of_an_unknown_module_stops_before_the_teacher_trains(tmp_path: Path, console: Console) -> None:
    recipe = tiny("train.rate_factors={network.stm: 0.1}", "teacher.train={iterations: 2, rate_factors: {}}")
    with pytest.raises(UserError, match=r"unknown module of Wrapped 'network\.stm'; did you mean 'network\.stem'"):
        distill(recipe, tmp_path / "run", console=console)
    assert not list(tmp_path.rglob("*.pt"))


def test_flops_and_parameters_by_hand() -> None:
    network = nn.Conv2d(3, 5, 3, padding=1)
    assert count_parameters(network) == 3 * 5 * 9 + 5
    assert count_flops(network, (8, 12)) == 2 * 3 * 5 * 9 * 8 * 12


def test_clock() -> None:
    assert [clock(seconds) for seconds in (4.4, 190, 7500)] == ["4s", "3m10s", "2h05m"]


def test_labels_keep_their_size_for_scoring_and_shrink_for_training() -> None:
    session = Session(tiny("data.scale=0.5"))
    assert session.dataset("train")[0][1].shape == (16, 24)
    image, labels = session.dataset("val")[0]
    assert image.shape[1:] == (16, 24)
    assert labels.shape == (32, 48)
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        session.dataset("tset")


def test_scales_go_from_the_smallest_to_the_largest() -> None:
    def scales(text: str) -> tuple[float, ...]:
        transform = training_augmentation(tiny(f"data.scales={text}").data, "segmentation")
        return tuple(round(float(scale), 3) for scale in transform.transforms[0].scales)

    assert scales("[0.5, 0.8]") == (0.5, 0.6, 0.7, 0.8)
    assert scales("[0.5, 0.56]") == (0.5,)


def test_short_side_and_blur_reach_the_transform() -> None:
    assert training_augmentation(tiny("data.short_side=513").data, "segmentation").transforms[0].short_side == 513
    for change, blurs in (("data.blur=0.5", True), ("data.blur=0", False)):
        assert ("GaussianBlur" in str(training_augmentation(tiny(change).data, "segmentation"))) is blurs


def weighted(student: torch.Tensor, teacher: torch.Tensor, labels: None = None, *, power: float = 1.0) -> torch.Tensor:
    return (student - teacher).abs().pow(power).mean()


def test_a_function_of_ones_own_takes_hyper_parameters() -> None:
    recipe = tiny(f"terms.mine.loss={__name__}:weighted", "terms.mine.power=3")
    term = build_terms(recipe.term_settings, pair())["mine"]
    assert term.loss(torch.full((1, 1, 1, 1), 2.0), torch.zeros(1, 1, 1, 1)) == 8.0


def pair() -> NetworkPair:
    return NetworkPair(
        build("deeplabv3_resnet18", 10), build("deeplabv3_mobilenetv2", 10), 10, torch.zeros(1, 3, 32, 32)
    )


def test_what_a_loss_must_know_of_the_networks_is_filled_in() -> None:
    networks = pair()

    def asked(fact: str, on: str | list[str]) -> Asked:
        return Asked(frozenset({fact}), FeatureNames.of(on))

    facts = networks.facts(
        {
            "a": asked("student_channels", "head"),
            "b": asked("channels", "stage4"),
            "c": asked("teacher_channels", ["stage1", "head"]),
            "d": asked("num_classes", "head"),
            "e": asked("classifier", "head"),
        }
    )
    assert facts.pop("e")["classifier"].out_channels == 10
    assert facts == {
        "a": {"student_channels": 128},
        "b": {"channels": 320},
        "c": {"teacher_channels": (24, 128)},
        "d": {"num_classes": 10},
    }
    by_logits = NetworkPair(networks.student, networks.teacher).facts({"d": asked("num_classes", "head")})
    assert by_logits == {"d": {"num_classes": 10}}
    alone = NetworkPair(networks.student, None, 10, networks.probe)
    with pytest.raises(UserError, match="term 'b': this loss needs a teacher"):
        alone.facts({"b": asked("channels", "head")})
    with pytest.raises(UserError, match="term 'task': this loss needs a teacher"):
        networks.facts({"task": asked("channels", "head")})


def test_facts_of_all_terms_take_one_pass_of_each_network_and_one_to_find_activations() -> None:
    networks, passes = pair(), []
    for network in (networks.student, networks.teacher):
        network.register_forward_hook(lambda module, *_: passes.append(module))
    stages = "{on: [stage1, stage2, stage3, stage4]}"
    several = ("terms.crd={}", f"terms.ofd={stages}", f"terms.reviewkd={stages}")
    build_terms(tiny("method=kd", *several).term_settings, networks)
    assert passes == [networks.student, networks.teacher]
    passes.clear()
    build_terms(tiny("method=kd", "terms.ofd={}", "terms.reviewkd={}").term_settings, networks)  # on stage1:pre, ...
    assert passes == [networks.student] * 2 + [networks.teacher] * 2


def test_several_optimisers_share_one_scale() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    weights = [nn.Parameter(torch.tensor(1.0)) for _ in range(2)]
    optimizers = [torch.optim.SGD([weight], lr=0.5) for weight in weights]
    for _ in range(2):  # the scale doubles after each step, once
        for weight in weights:
            scaler.scale(weight * 1.0).backward()
        step_together(optimizers, scaler)
    assert [weight.item() for weight in weights] == [0.0, 0.0]
    assert scaler.get_scale() == 32.0


def test_a_loss_of_one_feature_or_of_several_says_which() -> None:
    with pytest.raises(UserError, match=r"term 'fitnet': fitnet takes one feature; give each its own term"):
        build_terms(tiny("method=none", "terms.fitnet={on: [stage1, stage2]}").term_settings, pair())
    with pytest.raises(UserError, match=r"term 'ofd': ofd takes a list of features, as in on=\[A, B\]; got on=stage1"):
        build_terms(tiny("method=none", "terms.ofd={on: stage1}").term_settings, pair())


# The loop.


def last(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints/last.pt", weights_only=True)["distiller"]
    return state


def logged(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line.pop("split") == "train"]


def test_a_step_in_four_parts_is_the_step_of_the_whole_batch(tmp_path: Path, console: Console) -> None:
    # Without batch norm the gradient of a batch is that of its parts, each with its share of what the losses count:
    # void is uneven here, and with teacher_correct more so.
    terms = (
        "method=kd",
        "terms.kd.labels=valid",
        "terms.fitnet={on: head, labels: valid}",
        "student.model=tests.networks:plain",
    )
    distill(tiny(*terms, "baseline=false"), tmp_path / "1", console=console)
    same_teacher = ("baseline=false", "teacher.train=null", f"teacher.weights={tmp_path}/1/teacher")
    distill(tiny(*terms, *same_teacher, "train.accumulate=4"), tmp_path / "4", console=console)
    for name, value in last(tmp_path / "1").items():
        torch.testing.assert_close(last(tmp_path / "4")[name], value, rtol=1e-4, atol=1e-6)
    for whole, parts in zip(logged(tmp_path / "1"), logged(tmp_path / "4"), strict=True):
        assert parts == pytest.approx(whole, rel=1e-4)


def test_clipping_bounds_what_a_step_can_change(tmp_path: Path, console: Console) -> None:
    changes = (
        "student.model=tests.networks:plain",
        "train.iterations=1",
        "train.weight_decay=0",
        "train.learning_rate=1",
    )
    for name, clip in (("free", "null"), ("clipped", "0.01")):
        train_network(
            Session(alone_recipe(tiny(*changes, f"train.clip={clip}"))), tmp_path / name, console=console, label=""
        )
    start = alone_recipe(tiny(*changes, "train.learning_rate=1e-20"))
    train_network(Session(start), tmp_path / "start", console=console, label="")

    def moved(name: str) -> float:
        squares = [
            (last(tmp_path / name)[key] - value).square().sum() for key, value in last(tmp_path / "start").items()
        ]
        return float(torch.stack(squares).sum().sqrt())

    assert moved("clipped") == pytest.approx(0.01, rel=1e-3)
    assert moved("free") > 0.02


@pytest.mark.parametrize("clip", ["null", "1"])
def test_clip_modules_bounds_what_the_terms_train_and_leaves_the_student(
    clip: str, tmp_path: Path, console: Console
) -> None:
    changes = (
        "method=none",
        "student.model=tests.networks:plain",
        "terms.af_dcd={on: {student: '1', teacher: act}, groups: 2, pool: 1, fd_weight: 1}",
        "terms.fitnet={on: {student: '1', teacher: act}}",  # with an adapter
        "train.iterations=1",
        "train.weight_decay=0",
        f"train.clip={clip}",
        "teacher.train={iterations: 3, learning_rate: 0.01, clip: null, clip_modules: null}",
        "baseline=false",
    )
    for name, more in {
        "start": "train.learning_rate=1e-20",
        "free": "train.learning_rate=1",
        "clipped": "train.clip_modules=0.01",
    }.items():
        distill(tiny(*changes, "train.learning_rate=1", more), tmp_path / name, console=console)

    def moved(name: str, part: str) -> float:
        ends, start = last(tmp_path / name), last(tmp_path / "start")
        keys = [key for key in start if key.startswith(part)]
        assert keys
        return float(torch.stack([(ends[key] - start[key]).square().sum() for key in keys]).sum().sqrt())

    assert moved("clipped", "terms.") == pytest.approx(0.01, rel=1e-3)
    assert moved("free", "terms.") > 0.02
    assert moved("clipped", "student.") == moved("free", "student.")


def test_gradients_of_float16_are_clipped_after_they_are_unscaled() -> None:
    torch.manual_seed(0)
    joined = Distiller(plain(4), plain(4), {"fitnet": Term(FitNet(), on="1", adapter=nn.Conv2d(6, 6, 1))})
    optimizer = torch.optim.SGD(joined.student_parameters(), lr=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for parameter in joined.student_parameters():
        parameter.grad = torch.full_like(parameter, 3 * 2.0**10)
    scaler.scale(torch.zeros(()))  # as the backward pass has done
    clip_gradients(joined, optimizer, Train(clip_modules=0.5), scaler)
    assert all(bool((parameter.grad == 3).all()) for parameter in joined.student.parameters())
    squares = torch.stack([parameter.grad.square().sum() for parameter in joined.term_parameters()])
    assert float(squares.sum().sqrt()) == pytest.approx(0.5, rel=1e-4)
    step_together([optimizer], scaler)  # and the step does not divide again


def test_the_best_student_is_kept_not_the_last(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.5, 0.3])
    validate = Training._validate

    def scripted(self, progress, metrics):
        score = Score(METRICS["segmentation"], next(scores), {})
        validate(Training(**{**vars(self), "validate": lambda network: score}), progress, metrics)

    monkeypatch.setattr(Training, "_validate", scripted)
    result = train_network(
        Session(alone_recipe(tiny("train.validate_every=2"))), tmp_path / "run", console=console, label=""
    )
    assert (result["best_step"], result["val_miou"]) == (4, 0.5)
    assert torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)["step"] == 4


def test_a_diverged_student_is_never_saved(tmp_path: Path, console: Console) -> None:
    recipe = tiny("method=none", "train.learning_rate=1e30", "train.validate_every=2", "train.log_every=4")
    with pytest.raises(UserError, match=r"is (nan|inf) at step \d"):
        distill(recipe, tmp_path / "run", console=console)
    assert not [file for file in (tmp_path / "run").rglob("*") if file.suffix in (".pt", ".safetensors")]
    assert (tmp_path / "run/metrics.jsonl").read_text()  # what is known of it stays


# A run's folder.


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, console: Console) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "recipe.yaml").write_text("my own recipe")
    (mine / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        distill(tiny("teacher.min_miou=1"), mine, console=console)
    assert (mine / "recipe.yaml").read_text() == "my own recipe"
    assert (mine / "thesis.tex").read_text() == "years"


def test_a_finished_run_without_checkpoints_is_still_that_run(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    distill(tiny("baseline=false"), folder, console=console)
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="another recipe"):
        distill(tiny("baseline=false", "train.learning_rate=0.5"), folder, console=console)


def test_a_trained_teacher_survives_a_corrected_recipe(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="below teacher.min_miou"):
        distill(tiny("teacher.min_miou=1"), folder, console=console)
    trained = (folder / "teacher/student.safetensors").stat().st_mtime_ns
    distill(tiny("baseline=false"), folder, console=console)
    assert (folder / "teacher/student.safetensors").stat().st_mtime_ns == trained
    assert RunFolder(folder, tiny("baseline=false")).result is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("terms.gskd.on=hed", "unknown feature"),
        ("terms.kd.temperature=-1", "term 'kd': temperature must be > 0"),
        ("terms.kd.on=[head, logits]", "term 'kd': "),
        ("terms.train.loss=kd", "a term cannot be called 'train'"),
        ("student.model=tests.networks:pooled", r"a step on 1 images .*raise train.batch_size"),
        ("train.accelerator=cuda", "train.accelerator=cuda, train.devices=1 is not available here"),
        ("student.model=tests.networks:nothing", "unknown callable in tests.networks 'nothing'"),
    ],
)
def test_wrong_words_are_found_before_the_teacher_is_trained(
    change: str, message: str, tmp_path: Path, console: Console
) -> None:
    if "cuda" in change and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match=message):
        distill(
            tiny(change, *(["train.batch_size=1"] if "pooled" in change else [])), tmp_path / "run", console=console
        )
    assert not (tmp_path / "run").exists()


def test_damaged_records_are_named(tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "run"
    distill(tiny("baseline=false"), folder, console=console)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result.json is damaged"):
        distill(tiny("baseline=false"), folder, console=console)
    del result["miou"]
    (folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match=r"result.json has no 'miou'"):
        distill(tiny("baseline=false"), folder, console=console)


@pytest.mark.parametrize("card", LOSS_CARDS, ids=lambda card: card.name)
def test_every_loss_is_a_term_by_its_name_alone(card: LossCard) -> None:
    recipe = tiny("method=none", f"terms.one.loss={card.name}")
    term = build_terms(recipe.term_settings, pair())["one"]
    assert type(term.loss).__name__ == card.module
    assert term.weight == card.weight
    assert term.needs_teacher == card.teacher


# A void class among the named ones


def test_a_void_class_is_neither_predicted_nor_scored() -> None:
    """By hand: 8 pixels of classes 1 and 2, void beside them; one network likes the void class best everywhere."""
    logits = torch.zeros(1, 3, 2, 8)
    logits[0, 0] = 9.0  # the void class
    logits[0, 1, :, :4] = 2.0
    logits[0, 2, :, 4:] = 1.0

    class Fixed(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return logits

    images = torch.zeros(1, 3, 2, 8)
    assert predict(Fixed(), images, (2, 8)).unique().tolist() == [0]
    found = predict(Fixed(), images, (2, 8), (0,))
    assert found.tolist() == [[[1] * 4 + [2] * 4] * 2]
    confusion = torch.zeros(3, 3)
    confusion[1, 1], confusion[2, 2], confusion[2, 1] = 8, 6, 2
    score = Score.of_segmentation(confusion, ("void", "a", "b"))
    assert score.classes["void"] is None
    assert score.value == pytest.approx((8 / 10 + 6 / 8) / 2)
