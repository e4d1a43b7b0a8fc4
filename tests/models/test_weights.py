"""Weights files: where they fit, what is reported, what is refused."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segdistill import models
from segdistill.errors import UserError

MOBILENET = Path(__file__).parents[2] / "../shared/weights/mobilenet_v2_imagenet.safetensors"
needs_mobilenet = pytest.mark.skipif(not MOBILENET.exists(), reason="../shared/weights is not there")


class Net(nn.Module):
    """A backbone of 12 tensors (and two counters) and a classifier of 2."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, num_classes, 1)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {key: torch.randn(value.shape).to(value.dtype) for key, value in Net().state_dict().items()}


def saved(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return path


@needs_mobilenet
def test_an_imagenet_file_fills_the_backbone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="segdistill"):
        network = models.build("deeplabv3_mobilenetv2", 11, weights=MOBILENET)
    assert "255 of 262 tensors loaded into the network's 'encoder'" in caplog.text
    file = load_file(MOBILENET)
    loaded = network.encoder.state_dict()
    assert {key for key in file if key not in loaded} == {
        *(key for key in file if key.startswith("features.18.")),
        "classifier.1.weight",
        "classifier.1.bias",
    }
    for key, value in loaded.items():
        assert value.is_floating_point() == file[key].is_floating_point()
        assert torch.equal(value, file[key].to(value.dtype)), key
    assert network.encoder.features[1].conv[0][0].weight.dtype == torch.float32


@needs_mobilenet
def test_the_same_file_in_a_network_of_smp() -> None:
    report = models.load_weights(models.build("unet/mobilenet_v2", 11), MOBILENET)
    assert (report.where, report.matched, report.in_file) == ("encoder", 260, 262)
    assert set(report.unused) == {"classifier.1.weight", "classifier.1.bias"}
    assert all(name.startswith(("decoder.", "segmentation_head.")) for name in report.initial)


@pytest.mark.parametrize("container", [(), ("state_dict",), ("model",), ("student",), ("model", "state_dict")])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
def test_containers_and_prefixes(tmp_path: Path, state, container: tuple[str, ...], prefix: str) -> None:
    content: object = {prefix + key: value for key, value in state.items()}
    for name in reversed(container):
        content = {name: content, "epoch": 3}
    net = Net()
    report = models.load_weights(net, saved(tmp_path, content), strict=True)
    assert report.where == ""
    assert report.matched == report.in_file == report.in_network == 14
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key])


@pytest.mark.parametrize("prefix", ["", "encoder.", "features."])
def test_a_backbone_under_another_name(tmp_path: Path, state, prefix: str) -> None:
    file = {prefix + key.removeprefix("backbone."): value for key, value in state.items() if "backbone" in key}
    net = Net()
    report = models.load_weights(net, saved(tmp_path, file))
    assert (report.where, report.matched, report.initial) == ("backbone", 12, ("head.weight", "head.bias"))
    assert torch.equal(net.backbone[2].weight, state["backbone.2.weight"])


def test_a_file_of_the_inner_module_fits_the_wrapped_one(tmp_path: Path, state) -> None:
    wrapped = models.wrap(Net())
    report = models.load_weights(wrapped, saved(tmp_path, state), strict=True)
    assert report.where == "network"
    assert torch.equal(wrapped.network.head.weight, state["head.weight"])


def test_batch_counters_do_not_make_a_load_partial(tmp_path: Path, state) -> None:
    file = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    report = models.load_weights(Net(), saved(tmp_path, file), strict=True)
    assert str(report) == "weights.pth: 14 of 14 tensors loaded into the network"


def test_weights_of_other_classes_are_warned_of(tmp_path: Path, state, caplog: pytest.LogCaptureFixture) -> None:
    name, file = f"{__name__}:Net", saved(tmp_path, state)
    with caplog.at_level(logging.INFO, logger="segdistill"):
        models.build(name, 3, weights=file)
        models.build(name, 5, weights=file)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "other shape: head.weight 3x8x1x1 for 5x8x1x1" in caplog.messages[1]


def test_another_number_of_classes_and_its_report(tmp_path: Path, state) -> None:
    net = Net(num_classes=5)
    before = net.head.weight.clone()
    report = models.load_weights(net, saved(tmp_path, {**state, "fc.weight": torch.zeros(4)}))
    assert torch.equal(net.head.weight, before)
    assert report.mismatched == ("head.weight 3x8x1x1 for 5x8x1x1", "head.bias 3 for 5")
    assert report.unused == ("fc.weight",)
    assert report.initial == ("head.weight", "head.bias")
    assert report.matched + len(report.mismatched) + len(report.unused) == report.in_file == 15
    assert report.matched + len(report.initial) == report.in_network == 14
    assert str(report) == (
        "weights.pth: 12 of 15 tensors loaded into the network\n"
        "  unused: fc.weight; other shape: head.weight 3x8x1x1 for 5x8x1x1, head.bias 3 for 5; "
        "2 of the network's 14 keep initial values: head.weight, head.bias"
    )


def test_strict_leaves_the_network_as_it_was(tmp_path: Path, state) -> None:
    net = Net(num_classes=5)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(UserError, match=r"2 of 14 tensors would keep random values: head.weight 3x8x1x1 for 5x8"):
        models.load_weights(net, saved(tmp_path, state), strict=True)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_half_precision_is_cast(tmp_path: Path, state) -> None:
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    net = Net()
    models.load_weights(net, path, strict=True)
    assert net.head.weight.dtype == torch.float32
    assert torch.equal(net.head.weight, state["head.weight"].half().float())


def test_a_run_folder(tmp_path: Path, state) -> None:
    save_file(state, tmp_path / "student.safetensors")
    assert models.load_weights(Net(), tmp_path).matched == 14


def test_another_network_is_refused_although_a_few_tensors_agree(tmp_path: Path, state) -> None:
    strange = {f"blocks.{number}.weight": torch.zeros(7, number + 1) for number in range(30)}
    path = saved(tmp_path, {**strange, "backbone.1.weight": torch.zeros(8)})
    with pytest.raises(UserError, match=r"1 of its 31 tensors match; it has blocks.0.weight, .* and 27 more"):
        models.load_weights(Net(), path)


def test_nothing_that_fits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 of its 1 tensors match; it has x; the network has backbone"):
        models.load_weights(Net(), saved(tmp_path, {"x": torch.zeros(2)}))


def test_files_that_cannot_be_read(tmp_path: Path, state) -> None:
    def refuse(path: Path, message: str) -> None:
        with pytest.raises(UserError, match=message):
            models.load_weights(Net(), path)

    refuse(tmp_path / "none.pth", "does not exist")
    refuse(tmp_path, "student.safetensors does not exist")
    refuse(saved(tmp_path, {"epoch": 3}), "holds no named tensors")
    refuse(saved(tmp_path, [torch.zeros(2)]), "holds no named tensors")
    refuse(saved(tmp_path, Net()), "more than tensors")
    text = tmp_path / "text.pth"
    text.write_text("<html>404</html>")
    refuse(text, "corrupt")
    whole = tmp_path / "whole.safetensors"
    save_file(state, whole)
    whole.write_bytes(whole.read_bytes()[:-100])
    refuse(whole, "not a safetensors file, or is incomplete")
    cut = saved(tmp_path, state)
    cut.write_bytes(cut.read_bytes()[:-500])
    refuse(cut, "corrupt")


# Several networks in a file


def two() -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))

    return network(), network().state_dict(), network().state_dict()


def with_prefix(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize("outer", [None, "state_dict"])
@pytest.mark.parametrize("names", [("student", "teacher"), ("ema_model", "model"), ("net", "net_ema")])
@pytest.mark.parametrize("kind", ["prefixes", "entries"])
def test_two_networks_in_a_file_ask_for_a_key(
    tmp_path: Path, names: tuple[str, str], kind: str, outer: str | None
) -> None:
    network, first, second = two()
    states = dict(zip(names, (first, second), strict=True))
    content = {}
    for name, state in states.items():
        content |= {name: state} if kind == "entries" else with_prefix(name, state)
    path = tmp_path / "two.pth"
    torch.save({outer: content, "epoch": 3} if outer else content, path)
    with pytest.raises(UserError, match=rf"two\.pth holds .*'{names[0]}.*'{names[1]}.*weights_key="):
        models.load_weights(network, path)
    for name, state in states.items():  # what the message says
        models.load_weights(network, path, strict=True, key=name)
        assert torch.equal(network[0].weight, state["0.weight"])
    with pytest.raises(UserError, match="unknown weights_key 'techer'.*two.pth"):
        models.load_weights(network, path, key="techer")


def test_a_single_network_under_another_name_shows_it(tmp_path: Path) -> None:
    network, first, _ = two()
    path = tmp_path / "one.pth"
    torch.save({"teacher": first, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(())}}}}, path)
    with pytest.raises(UserError, match=r"one\.pth holds its tensors under 'teacher'; name it with weights_key=tea"):
        models.load_weights(network, path)
    models.load_weights(network, path, strict=True, key="teacher")
    assert torch.equal(network[0].weight, first["0.weight"])


@pytest.mark.parametrize("content", ["plain", "module", "lightning", "own"])
def test_files_of_one_network_need_no_key(tmp_path: Path, content: str) -> None:
    network, first, _ = two()
    path = tmp_path / "one.pth"
    torch.save(
        {
            "plain": first,
            "module": with_prefix("module", first),
            "lightning": {"state_dict": with_prefix("model", first), "hyper_parameters": {"lr": 0.1}},
            "own": {"step": 3, "student": first},
        }[content],
        path,
    )
    models.load_weights(network, path, strict=True)
    assert torch.equal(network[0].weight, first["0.weight"])


def test_a_network_of_two_like_branches_is_one(tmp_path: Path) -> None:
    branches = nn.ModuleDict({name: two()[0] for name in ("left", "right")})
    path = tmp_path / "branches.pth"
    torch.save(branches.state_dict(), path)
    models.load_weights(nn.ModuleDict({name: two()[0] for name in ("left", "right")}), path, strict=True)
