"""`segdistill data`: what a data set is, what lies in a folder, how often its classes occur."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import DATASETS
from tests.cli.test_commands import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A ``folder`` of two images to train on and one to validate; 1 of 200 pixels is a lamp."""
    labels = np.zeros((10, 20), np.uint8)
    labels[0, 0], labels[1:3] = 1, 2
    for split, stems in (("train", "ab"), ("val", "c")):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for stem in stems:
            Image.new("RGB", (20, 10)).save(tmp_path / f"images/{split}/{stem}.png")
            Image.fromarray(labels).save(tmp_path / f"labels/{split}/{stem}.png")
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["road", "lamp", "car", "tram"]}))
    return tmp_path


def rows(said: str) -> dict[str, list[str]]:
    """The cells of each line by its first one."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in said.splitlines() if line.strip()]
    return {first: rest for first, *rest in lines}


def test_without_a_name_all_are_listed(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "data") == 0
    listed = rows(capsys.readouterr().out)
    assert set(DATASETS) < set(listed)
    assert listed["imagenet"][0] == "classification"


@pytest.mark.parametrize("name", DATASETS)
def test_a_card_says_what_whence_and_how(monkeypatch, capsys, name: str) -> None:
    assert run(monkeypatch, "data", name) == 0
    said = rows(capsys.readouterr().out)
    assert said["data.name"] == [name]
    assert {"about", "source", "terms"} < set(said)
    assert ("data.root" in said) == (name not in ("scenes", "shapes"))


def test_terms_of_use_are_named(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "data", "cityscapes") == 0
    said = capsys.readouterr().out
    assert "www.cityscapes-dataset.com, after registration" in said
    assert "non-commercial" in said
    assert "gtFine/train/CITY/*_gtFine_labelIds.png" in said


def test_images_of_each_split(monkeypatch, capsys, root: Path) -> None:
    assert run(monkeypatch, "data", "folder", f"data.root={root}") == 0
    said = capsys.readouterr().out
    assert rows(said)["train"] == ["2"]
    assert rows(said)["val"] == ["1"]
    assert "4 classes: road, lamp, car, tram" in said
    assert "% of pixels" not in said


def test_classes_of_a_split(monkeypatch, capsys, root: Path) -> None:
    assert run(monkeypatch, "data", "folder", f"data.root={root}", "split=train") == 0
    said = capsys.readouterr().out
    found = rows(said)
    assert found["road"] == ["79.500", "2", "common"]
    assert found["car"] == ["20.000", "2", "common"]
    assert found["lamp"] == ["0.500", "2", "rare"]
    assert found["tram"] == ["0.000", "0", "absent"]
    assert list(found).index("road") < list(found).index("car") < list(found).index("lamp")
    assert "train: 400 labeled pixels in 2 images, 0.00 % of all pixels are void" in said


def test_classes_of_a_classification_set(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "data", "shapes", "split=val") == 0
    found = rows(capsys.readouterr().out)
    assert found["ring"] == ["20", "16.67"]
    assert found["val"] == ["120"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cityscape",), "unknown dataset 'cityscape'; did you mean 'cityscapes'?"),
        (("camvid", "data.rot=x"), "unknown key 'data.rot'; did you mean 'data.root'?"),
        (("camvid", "data.root"), "'data.root' has no value; expected data.root=VALUE"),
        (("camvid", "data.root=/no/such"), "no folder '/no/such'"),
        (("camvid", "split=train"), "dataset 'camvid' needs a root"),
        (("scenes", "split=trian"), "unknown split 'trian'; did you mean 'train'?"),
        (("scenes", "data.root=here"), "dataset 'scenes' is generated but root 'here' was given"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, arguments: tuple[str, ...], message: str) -> None:
    assert run(monkeypatch, "data", *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {message}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_bad_mask_is_named(monkeypatch, capsys, root: Path) -> None:
    Image.new("L", (20, 10), 9).save(root / "labels/train/b.png")
    assert run(monkeypatch, "data", "folder", f"data.root={root}", "split=train") == 2
    assert "b.png' has label 9 in 200 pixels" in capsys.readouterr().err


def test_a_folder_is_looked_at_without_pytorch(root: Path) -> None:
    code = (
        "import sys; from segdistill.cli.data import show\n"
        f"show('folder', ['data.root={root}'])\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_flat_folder_is_shown_with_the_share_that_its_error_advises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for i in range(10):
            Image.new("L", (8, 6), i % 2).save(tmp_path / folder / f"{i}.png")
    root = f"data.root={tmp_path}"
    assert run(monkeypatch, "data", "folder", root) == 2
    assert "give data.split=0.9" in capsys.readouterr().err
    assert run(monkeypatch, "data", "folder", root, "data.split=0.9", "split=val") == 0
    out = capsys.readouterr().out
    assert "9 of 10 pairs, by data.split=0.9" in out
    assert "48 labeled pixels in 1 images" in out
    for wrong in ("1", "nan", "most"):
        assert run(monkeypatch, "data", "folder", root, f"data.split={wrong}") == 2
        assert f"data.split={wrong} is not a share" in capsys.readouterr().err
