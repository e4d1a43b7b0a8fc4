"""Features by name, from networks that know nothing of it."""

import copy
import gc
import pickle
import re

import pytest
import torch
from torch import Tensor, nn

from segdistill import Distiller, Term, losses
from segdistill.distillation.features import FeatureReader, describe
from segdistill.distillation.modes import evaluating
from segdistill.distillation.taps import classifier_path, resolve
from segdistill.errors import UserError
from tests.networks import WithAux, sequential

PROBE = torch.zeros(1, 3, 32, 32)


class Pyramid(nn.Module):
    """Returns a list of maps, as an encoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        first = self.first(images)
        return [first, self.second(first)]


class WithRoles(nn.Module):
    """Publishes roles."""

    roles = {"stage1": "encoder[0]", "stage2": "encoder[1]"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Pyramid()
        self.classify = nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.encoder(images)[-1])


def test_output_input_item_and_role_give_the_same_tensors_as_the_network_by_hand(rng: torch.Generator) -> None:
    network = WithRoles().eval()
    images = torch.randn(2, 3, 32, 32, generator=rng)
    names = ["stage1", "encoder[1]", "classify:input", "encoder.second", "head"]
    features = FeatureReader(network, names, PROBE)(images)
    first = network.encoder.first(images)
    second = network.encoder.second(first)
    torch.testing.assert_close(features["stage1"], first)
    for name in names[1:]:
        torch.testing.assert_close(features[name], second)
    torch.testing.assert_close(features["logits"], network.classify(second))


def test_a_feature_that_an_in_place_operation_overwrites_is_kept_as_it_was(rng: torch.Generator) -> None:
    network = sequential().eval()  # act is an in-place ReLU on norm's output
    images = torch.randn(1, 3, 32, 32, generator=rng)
    feature = FeatureReader(network, ["norm"], PROBE)(images)["norm"]
    torch.testing.assert_close(feature, network.norm(network.stem(images)))
    assert (feature < 0).any()


def test_the_head_is_the_input_of_the_layer_that_makes_the_logits() -> None:
    assert classifier_path(sequential(), PROBE) == "classify"
    assert classifier_path(WithAux(), PROBE) == "classifier"


def test_a_path_may_leave_out_leading_modules() -> None:
    assert resolve(WithRoles(), "second", PROBE).path == "encoder.second"


def test_paths_are_those_of_the_network_inside_a_wrapper() -> None:
    network = nn.DataParallel(sequential())
    assert FeatureReader(network, ["stem"], PROBE).shapes["stem"] == (1, 8, 8, 8)


def test_the_probe_leaves_modes_and_batch_norm_as_they_were() -> None:
    network = sequential().train()
    network.drop.eval()
    FeatureReader(network, ["stem"], PROBE)
    assert network.training
    assert network.norm.training
    assert not network.drop.training
    assert network.norm.num_batches_tracked == 0


def test_hooks_go_with_the_reader_and_do_not_stop_pickling() -> None:
    network = sequential()
    reader = FeatureReader(network, ["stem"], PROBE)
    assert len(network.stem._forward_hooks) == 1
    pickle.loads(pickle.dumps(network))
    del reader
    gc.collect()
    assert len(network.stem._forward_hooks) == 0


def test_features_are_let_go_after_each_pass() -> None:
    network = sequential()
    reader = FeatureReader(network, ["stem"], PROBE)
    reader(PROBE)
    network(PROBE)  # a pass that is not the reader's
    assert reader._pass.features is None


def test_a_gradient_reaches_the_network_through_a_feature() -> None:
    network = sequential().eval()
    FeatureReader(network, ["stem"], PROBE)(torch.ones(1, 3, 32, 32))["stem"].sum().backward()
    assert network.stem.weight.grad.abs().sum() > 0
    assert network.classify.weight.grad is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clasify", "unknown feature of Sequential 'clasify'; did you mean 'classify'"),
        ("stem[0]x", "unknown feature"),
        ("aux", "has no auxiliary head"),
        ("stem[3]", "is not a tensor"),
    ],
)
def test_unknown_features_are_named_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        FeatureReader(sequential(), [name], PROBE)


def test_a_network_without_a_classifier_says_what_to_do() -> None:
    with pytest.raises(UserError, match="cannot tell which layer"):
        classifier_path(nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)), PROBE)


def test_describe_lists_outputs_roles_and_modules() -> None:
    rows = {name: shape for name, _, shape in describe(WithRoles(), PROBE)}
    assert rows["logits"] == (1, 4, 8, 8)
    assert rows["stage1"] == (1, 4, 16, 16)
    assert rows["head"] == rows["encoder.second"] == (1, 6, 8, 8)


def test_evaluating_gives_every_module_its_mode_back_after_an_error() -> None:
    network = sequential().train()
    with pytest.raises(RuntimeError), evaluating(network):
        assert not network.training
        raise RuntimeError
    assert network.training


def test_a_feature_before_an_in_place_dropout_is_copied() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Dropout(0.9, inplace=True), nn.Conv2d(8, 4, 1)).train()
    images = torch.ones(1, 3, 16, 16)
    feature = FeatureReader(network, ["0"], PROBE)(images)["0"]
    torch.testing.assert_close(feature, network[0](images))


def test_an_input_given_by_keyword_is_read() -> None:
    class ByKeyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.classify = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.classify(input=self.body(images))

    assert FeatureReader(ByKeyword(), ["head"], PROBE).shapes["head"] == (1, 6, 32, 32)


class ChannelsLast(nn.Module):
    """Works on (N, h, w, C) inside, as a Swin transformer does, and publishes one such map."""

    roles = {"stage1": "stages[0]", "stage2": "stages[1]:nhwc"}  # noqa: RUF012

    def __init__(self, *, permutes: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.stages = Lists()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(6, 4)
        self.permutes = permutes

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages(self.patches(images).permute(0, 2, 3, 1))[-1]
        scores = self.classify(x) + self.mean(images).mean()
        return scores.permute(0, 3, 1, 2) if self.permutes else scores


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.norm(x), 2 * x]


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (37, 50)])
def test_channels_that_come_last_are_brought_forward_where_the_name_says_so(size, rng: torch.Generator) -> None:
    network, images = ChannelsLast().eval(), torch.randn(2, 3, *size, generator=rng)
    patches = network.patches(images)
    normed = network.stages.norm(patches.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    names = {"stage1:nhwc": normed, "norm:nhwc": normed, "stages[1]:nhwc": 2 * patches, "stage2": 2 * patches}
    names |= {
        "norm:input:nhwc": patches,
        "classify:input:nhwc": 2 * patches,
        "head:nhwc": 2 * patches,
        "patches": patches,
    }
    reader = FeatureReader(network, names, torch.zeros(1, 3, *size))
    features = reader(images)
    for name, expected in names.items():
        torch.testing.assert_close(features[name], expected)
        assert reader.shapes[name][1:] == expected.shape[1:]


@pytest.mark.parametrize("name", ["stage1", "norm", "stages[1]", "norm:input", "head"])
def test_channels_last_are_named_with_the_name_that_works(name: str) -> None:
    with pytest.raises(UserError, match=r"is \(1, 8, 8, 6\), with channels last; name it '") as error:
        FeatureReader(ChannelsLast(), [name], PROBE)
    advised = str(error.value).split("'")[-2]
    assert FeatureReader(ChannelsLast(), [advised], PROBE).shapes[advised] == (1, 6, 8, 8)


@pytest.mark.parametrize(
    ("network", "name", "shape"),
    [
        (ChannelsLast(), "patches", "(1, 6, 8, 8)"),
        (ChannelsLast(), "mean", "(1, 3, 1, 1)"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)), "2", "(1, 4)"),
    ],
)
def test_channels_that_do_not_come_last_stay_where_they_are(network: nn.Module, name: str, shape: str) -> None:
    with pytest.raises(UserError, match=rf"is {re.escape(shape)}, not a map with channels last; leave out ':nhwc'"):
        FeatureReader(network, [f"{name}:nhwc"], PROBE)
    FeatureReader(network, [name], PROBE)


def test_scores_with_channels_last_are_refused() -> None:
    with pytest.raises(UserError, match=r"feature 'logits' is \(1, 8, 8, 4\), with channels last; return it permuted"):
        FeatureReader(ChannelsLast(permutes=False), [], PROBE)


def test_describe_names_channels_last_as_they_can_be_tapped() -> None:
    rows = {name: shape for name, _, shape in describe(nn.Sequential(ChannelsLast()), PROBE)}
    assert rows["0.stages.norm:nhwc"] == (1, 6, 8, 8)
    assert rows["0.patches"] == (1, 6, 8, 8)
    assert rows["head:nhwc"] == (1, 6, 8, 8)
    for name in rows:
        FeatureReader(nn.Sequential(ChannelsLast()), [name], PROBE)
    roles = {name: shape for name, kind, shape in describe(ChannelsLast(), PROBE) if kind == "role"}
    assert roles == dict.fromkeys(("stage1:nhwc", "stage2", "head:nhwc"), (1, 6, 8, 8)) | {"logits": (1, 4, 8, 8)}


def test_the_classifier_is_in_a_module_whose_name_starts_with_the_role_of_the_auxiliary_head() -> None:
    class Named(nn.Module):
        roles = {"aux": "side"}  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.sideways = nn.Conv2d(3, 4, 1)
            self.side = nn.Conv2d(3, 4, 1)

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"out": self.sideways(images), "aux": self.side(images)}

    assert classifier_path(Named(), PROBE) == "sideways"


def _blocks(network: nn.Module) -> nn.Module:
    """Return the last stage of a network's encoder."""
    return next(module for path, module in network.named_modules() if path.endswith("layer4"))


@pytest.mark.parametrize("name", ["deeplabv3_resnet18", "deeplabv3plus/resnet18", "unet/tu-resnet18"])
def test_before_the_activation(name: str, rng: torch.Generator) -> None:
    from segdistill import models

    network = models.build(name, 3).eval()
    before: list[Tensor] = []
    block = list(_blocks(network).children())[-1]
    norm = block.bn2  # the block adds its shortcut to the output of this layer, then applies the ReLU
    nn.init.ones_(norm.weight)  # timm starts with zeros, and then the block returns its shortcut
    norm.register_forward_hook(lambda module, inputs, output: before.append(output.clone()))
    shortcut: list[Tensor] = []
    block.register_forward_pre_hook(lambda module, inputs: shortcut.append(inputs[0].clone()))
    images = torch.randn(1, 3, 64, 64, generator=rng)
    features = FeatureReader(network, ["stage4", "stage4:pre"], torch.zeros(1, 3, 64, 64))(images)
    assert features["stage4:pre"].min() < 0 <= features["stage4"].min()
    torch.testing.assert_close(features["stage4:pre"], before[-1] + shortcut[-1])
    torch.testing.assert_close(features["stage4:pre"].relu(), features["stage4"])


def test_a_feature_without_an_activation_is_its_own_pre_activation(rng: torch.Generator) -> None:
    network = WithRoles().eval()
    features = FeatureReader(network, ["stage1", "stage1:pre"], PROBE)(torch.randn(1, 3, 32, 32, generator=rng))
    assert torch.equal(features["stage1"], features["stage1:pre"])
    with pytest.raises(UserError, match="unknown feature of WithRoles 'stag9'"):
        resolve(network, "stag9:pre", PROBE)


class Head(nn.Conv2d):
    """A layer that counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Deep(nn.Module):
    """Two layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), Head(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)))


def test_a_pass_ends_after_the_last_feature_if_nothing_more_is_needed() -> None:
    network, images = Deep(), torch.randn(2, 3, 8, 8)
    whole, early = (FeatureReader(network, ["second", "first"], images) for _ in range(2))
    early.stop_early()
    expected, calls = whole(images), network.head.calls
    features = early(images)
    assert network.head.calls == calls
    assert set(features) == {"first", "second"}
    assert all(features[name].equal(expected[name]) for name in features)
    with_logits = FeatureReader(network, ["second", "logits"], images)
    with_logits.stop_early()
    assert set(with_logits(images)) == {"second", "logits"}


@pytest.mark.parametrize(("labels", "is_called"), [(None, 0), ("teacher_correct", 1)])
def test_a_teacher_s_head_runs_only_if_a_term_needs_it(labels: str | None, is_called: int) -> None:
    teacher, student = Deep(), Deep()
    distiller = Distiller(student, teacher, {"fitnet": Term(losses.FitNet(), on="second", labels=labels)})
    teacher.head.calls = 0
    distiller(torch.randn(2, 3, 8, 8), torch.randint(0, 5, (2, 8, 8))).total.backward()
    assert teacher.head.calls == is_called
    distiller.replace_teacher(copy.deepcopy(teacher))
    other = distiller.teacher
    other.head.calls = 0
    distiller(torch.randn(2, 3, 8, 8), torch.randint(0, 5, (2, 8, 8)))
    assert other.head.calls == is_called


class InTraining(nn.Module):
    """Its auxiliary head exists in training mode only, as in many segmentation networks."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.aux = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        return {"out": self.out(images), "aux": self.aux(images)} if self.training else self.out(images)


def test_an_auxiliary_head_that_would_not_learn_is_refused(rng: torch.Generator) -> None:
    distiller = Distiller(InTraining(), None, {}, probe=PROBE).train()
    images, labels = torch.randn(2, 3, 32, 32, generator=rng), torch.zeros(2, 32, 32, dtype=torch.long)
    with pytest.raises(
        UserError, match="^InTraining has an auxiliary head in training mode only.*return 'aux' in both"
    ):
        distiller(images, labels)


def test_probabilities_are_no_scores() -> None:
    scores = sequential(4)
    assert FeatureReader(scores, [], PROBE).shapes["logits"][:2] == (1, 4)
    with pytest.raises(UserError, match="^Sequential returns probabilities; return the scores before the softmax$"):
        FeatureReader(nn.Sequential(scores, nn.Softmax(dim=1)), [], PROBE)


class TwoHeads(nn.Module):
    def forward(self, images: Tensor) -> dict[str, object]:
        return {"out": images, "aux": [images, images]}


def test_several_auxiliary_heads_are_refused() -> None:
    with pytest.raises(UserError, match="returned a list as 'aux'; expected the scores of one head"):
        FeatureReader(TwoHeads(), [], PROBE)
