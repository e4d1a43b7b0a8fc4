"""Every experiment of the papers: its networks, its terms, two steps on files laid out as its data set's release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segdistill.data import training_loader
from segdistill.distillation.build import build_terms
from segdistill.distillation.distiller import Distiller
from segdistill.distillation.facts import NetworkPair
from segdistill.models import build
from segdistill.recipes import ROWS, Recipe, load
from segdistill.recipes.experiments import EXPERIMENTS
from segdistill.training.optimizer import build_optimizers, step_together
from segdistill.training.session import Session

NAMES = [experiment.__name__ for experiment in EXPERIMENTS]
SMALL = ("data.crop=[64,64]", "data.workers=0", "train.batch_size=2", "train.accelerator=cpu")
CLASSES = {"cityscapes": 19, "camvid": 11, "voc": 21, "ade20k": 150, "imagenet": 1000}


def picture(path: Path, size: tuple[int, int] = (80, 96)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.parts))
    Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)


def mask(path: Path, values: list[int], size: tuple[int, int] = (80, 96)) -> None:
    """Blocks of 16 pixels, each of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    blocks = rng.choice(values, (size[0] // 16, size[1] // 16)).astype(np.uint8)
    Image.fromarray(np.kron(blocks, np.ones((16, 16), np.uint8))).save(path)


def cityscapes(root: Path) -> None:
    for split in ("train", "val"):
        for frame in ("aachen_000000_000019", "aachen_000001_000019"):
            picture(root / f"leftImg8bit/{split}/aachen/{frame}_leftImg8bit.png")
            mask(root / f"gtFine/{split}/aachen/{frame}_gtFine_labelIds.png", [0, 7, 8, 11, 23, 26, 33])


def camvid(root: Path) -> None:
    for split in ("train", "val", "test"):
        for name in "ab":
            picture(root / split / f"{name}.png")
            mask(root / f"{split}annot" / f"{name}.png", [0, 1, 3, 8, 11])


def voc(root: Path) -> None:
    for split in ("train", "val"):
        listed = root / f"ImageSets/Segmentation/{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(f"2007_{split}a\n2007_{split}b\n")
        for name in listed.read_text().split():
            picture(root / f"JPEGImages/{name}.jpg")
            mask(root / f"SegmentationClass/{name}.png", [0, 1, 15, 20, 255])


def ade20k(root: Path) -> None:
    for split in ("training", "validation"):
        for number in (1, 2):
            name = f"ADE_{'train' if split == 'training' else 'val'}_{number:08d}"
            picture(root / f"images/{split}/{name}.jpg")
            mask(root / f"annotations/{split}/{name}.png", [0, 1, 5, 13, 150])


def imagenet(root: Path) -> None:
    for split in ("train", "val"):
        for name in ("n01440764", "n01443537"):
            picture(root / split / name / "a.JPEG")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    layout.__name__: layout for layout in (cityscapes, camvid, voc, ade20k, imagenet)
}


def small(name: str, root: Path | str, *changes: str) -> Recipe:
    return load(name, [f"data.root={root}", *SMALL, "teacher.train={iterations: 1}", *changes])


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_on_the_real_layout(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    LAYOUTS[load(name).data.name](root)
    recipe = small(name, root)
    session = Session(recipe)
    distiller = session.build_trial()
    before = [parameter.clone() for parameter in distiller.student.parameters()]
    optimizers = build_optimizers(distiller, recipe.train)
    for step, (images, labels) in enumerate(training_loader(session.stream(), 2, steps=2)):
        distiller.progress = float(step)
        out = distiller(images, labels)
        out.total.backward()
        assert out.total.isfinite()
        step_together(optimizers, None)
    changed = [
        bool((parameter != old).any()) for parameter, old in zip(distiller.student.parameters(), before, strict=True)
    ]
    assert sum(changed) > 0.9 * len(changed)


@pytest.mark.parametrize("name", ["gskd_cityscapes_deeplabv3_mobilenetv2", "gskd_cityscapes_segformer_b0"])
def test_dsd_and_cirkd_fit_students_without_an_auxiliary_head(name: str) -> None:
    for method in ("dsd", "cirkd"):
        recipe = small(name, "anywhere", f"method={method}")
        with torch.device("meta"):
            student, teacher = (build(network.model, 19) for network in (recipe.student, recipe.teacher))
            probe = torch.zeros(1, 3, 64, 64)
        terms = build_terms(recipe.term_settings, NetworkPair(student, teacher, 19, probe))
        joined = Distiller(student, teacher, terms, probe=probe)
        assert set(joined.terms) == set(recipe.terms)


def test_aicsds_rates_can_be_those_of_its_script() -> None:
    recipe = small("aicsd_voc_r18", "anywhere", "train.learning_rate=0.07", "train.rate_factors={encoder: 0.1}")
    with torch.device("meta"):
        student = build(recipe.student.model, 21)
        joined = Distiller(student, None, probe=torch.zeros(1, 3, 64, 64))
    (optimizer,) = build_optimizers(joined, recipe.train)
    groups = {round(group["lr"], 6): {*map(id, group["params"])} for group in optimizer.param_groups}
    encoder = {*map(id, student.encoder.parameters())}
    assert groups == {0.007: encoder, 0.07: {*map(id, student.parameters())} - encoder}


def test_imagenets_methods_read_what_their_code_reads() -> None:
    student, teacher = build("resnet18", 1000).eval(), build("resnet34", 1000).eval()
    images = torch.randn(2, 3, 64, 64)

    def expected(network: nn.Module) -> list[torch.Tensor]:
        """Return the maps before the last ReLU of each stage, and the pooled map, block by block."""
        network = network.network  # of the wrapper
        x, maps = network.maxpool(network.bn1(network.conv1(images)).relu()), []
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            for block in stage:
                inner = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
                before = inner + (x if block.downsample is None else block.downsample(x))
                x = before.relu()
            maps.append(before)
        return [*maps, x.mean(dim=(2, 3), keepdim=True)]

    for method, count in (("ofd", 4), ("reviewkd", 5)):
        recipe = load("gskd_imagenet_r18", [f"method={method}"])
        terms = build_terms(recipe.term_settings, NetworkPair(student, teacher, 1000, images, -1))
        joined = Distiller(student, teacher, terms, probe=images, ignore_index=-1).eval()
        features = joined.terms[method].features
        with torch.no_grad():
            found = joined._read_student(images), joined._read_teacher(images)
        for network, names, maps in zip((student, teacher), (features.student, features.teacher), found, strict=True):
            assert len(names) == count
            with torch.no_grad():
                for name, right in zip(names, expected(network)[:count], strict=True):
                    torch.testing.assert_close(maps[name], right)
        assert all(float(found[1][name].min()) < 0 for name in features.teacher[:4])
    assert load("gskd_imagenet_r18", ["method=srrl"]).terms["srrl"].on == "stage4"


@pytest.mark.parametrize("name", NAMES)
def test_the_terms_of_every_row_find_their_features(name: str) -> None:
    rows = {(row.method, row.changes) for row in ROWS if row.experiment == name and row.method != "teacher"}
    assert rows
    for method, changes in sorted(rows):
        recipe = small(name, "anywhere", f"method={method}", *changes)
        classes = CLASSES[recipe.data.name]
        with torch.device("meta"):
            student = build(recipe.student.model, classes, **recipe.student.options)
            teacher = build(recipe.teacher.model, classes, **recipe.teacher.options) if recipe.distils else None
            probe = torch.zeros(1, 3, 64, 64)
        void = -1 if classes > 255 else 255
        terms = build_terms(recipe.term_settings, NetworkPair(student, teacher, classes, probe, void))
        distiller = Distiller(student, teacher, terms, probe=probe, ignore_index=void)
        assert set(distiller.terms) == set(recipe.terms), (method, changes)
