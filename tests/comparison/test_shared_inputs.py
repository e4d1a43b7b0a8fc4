"""All runs of a comparison or sweep have the same data and weights, also those of a later start."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from segdistill.comparison import sweep as sweeps
from segdistill.comparison.compare import compare
from segdistill.comparison.equal_budget import Equal
from segdistill.comparison.estimate import estimate
from segdistill.comparison.plan import Plan, plan
from segdistill.comparison.search import search
from segdistill.errors import UserError
from tests.tiny import TINY, image_folder, said


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "data", train=8)


def changes(images: Path, *more: str) -> list[str]:
    return [*TINY, "data.name=folder", f"data.root={images}", "train.batch_size=2", "train.iterations=3", *more]


def planned(images: Path, methods: str, seeds: str, *more: str) -> Plan:
    return plan("quickstart", changes(images, *more), methods, seeds)


def add_pairs(images: Path, split: str = "train") -> None:
    for kind in ("images", "labels"):
        for number in range(4):
            shutil.copy(images / kind / split / f"{number}.png", images / kind / split / f"more{number}.png")


def states(folder: Path) -> dict[str, str]:
    return {run["folder"]: run["state"] for run in json.loads((folder / "comparison.json").read_text())["runs"]}


def test_a_new_seed_is_not_trained_on_more_images(images: Path, tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "c"
    compare(planned(images, "none", "0"), folder, console=console)
    shutil.rmtree(folder / "none-s0/checkpoints")  # large, and no longer needed
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    add_pairs(images)
    remedy = r"restore them, give another --run-dir, or delete the folder \(if no result changes, delete 'inputs' in "
    message = rf"{folder} was begun with other inputs \(train: 8 images there, 12 now\); {remedy}comparison.json\)$"
    for command in (compare, estimate):
        with pytest.raises(UserError, match=message):
            command(planned(images, "none", "0,1"), folder, console=console)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    for file in images.rglob("more*"):  # the first advice
        file.unlink()
    compare(planned(images, "none", "0,1"), folder, console=console)
    assert states(folder) == {"none-s0": "finished", "none-s1": "finished"}


def test_a_new_row_is_not_scored_on_more_images(images: Path, tmp_path: Path, console: Console) -> None:
    for kind in ("images", "labels"):
        shutil.copytree(images / kind / "val", images / kind / "test")
    compare(planned(images, "none", "0"), tmp_path / "c", console=console)
    add_pairs(images, "test")
    with pytest.raises(UserError, match=r"other inputs \(test: 4 images there, 8 now\)"):
        compare(planned(images, "low=none:train.learning_rate=0.001", "1"), tmp_path / "c", console=console)


def test_at_equal_operations_too(images: Path, tmp_path: Path, console: Console) -> None:
    equal = Equal("flops")
    compare(planned(images, "kd", "0"), tmp_path / "c", console=console, equal=equal)
    add_pairs(images)
    with pytest.raises(UserError, match="train: 8 images there, 12 now"):
        compare(planned(images, "kd", "0,1"), tmp_path / "c", console=console, equal=equal)
    for file in images.rglob("more*"):
        file.unlink()
    with (images / "images/train/3.png").open("ab") as opened:
        opened.write(b"end")
    compare(planned(images, "kd", "0"), tmp_path / "c", console=console, equal=equal)
    assert "changed in size" in (tmp_path / "c/comparison.md").read_text()


def test_another_teacher_is_refused(images: Path, tmp_path: Path, console: Console) -> None:
    for seed in (0, 1):
        compare(
            planned(images, "none", str(seed), "student.model=tests.networks:large"), tmp_path / "t", console=console
        )
    file = tmp_path / "teacher.safetensors"
    shutil.copy(tmp_path / "t/none-s0/student.safetensors", file)
    given = ("teacher.train=null", f"teacher.weights={file}")
    compare(planned(images, "kd", "0", *given), tmp_path / "c", console=console)
    shutil.copy(tmp_path / "t/none-s1/student.safetensors", file)
    with pytest.raises(UserError, match=r"other inputs \(teacher's weights: the content of the file has changed\)"):
        compare(planned(images, "kd", "0,1", *given), tmp_path / "c", console=console)


def test_a_moved_or_copied_data_set_is_the_same(images: Path, tmp_path: Path, console: Console) -> None:
    compare(planned(images, "none", "0"), tmp_path / "c", console=console)
    moved = images.rename(tmp_path / "away")
    for file in moved.rglob("*.png"):
        (images / file.relative_to(moved)).parent.mkdir(parents=True, exist_ok=True)
        (images / file.relative_to(moved)).write_bytes(file.read_bytes())  # with another time
    shutil.copy(moved / "classes.json", images)
    compare(planned(images, "none", "0,1"), tmp_path / "c", console=console)
    assert "changed in size" not in said(console)


def test_files_of_another_size_are_a_doubt_in_every_later_table(images: Path, tmp_path: Path, console: Console) -> None:
    folder = tmp_path / "c"
    compare(planned(images, "none", "0"), folder, console=console)
    assert "changed in size" not in (folder / "comparison.md").read_text()
    size = sum(file.stat().st_size for kind in ("images", "labels") for file in (images / kind / "train").iterdir())
    with (images / "images/train/3.png").open("ab") as file:
        file.write(b"end")
    line = f"files have changed in size since the first run; train: {size} bytes there, {size + 3} now"
    for seeds in ("0,1", "0,1,2"):
        compare(planned(images, "none", seeds), folder, console=console)
        assert f"* {line}\n" in (folder / "comparison.md").read_text()
        assert f"<li>{line}</li>" in (folder / "report.html").read_text(encoding="utf-8")
    assert said(console).count(line) == 4  # before the runs and below the table, each time


def test_a_comparison_of_an_earlier_version_keeps_its_inputs_from_now_on(
    images: Path, tmp_path: Path, console: Console
) -> None:
    record = tmp_path / "c/comparison.json"
    compare(planned(images, "none", "0"), record.parent, console=console)
    content = json.loads(record.read_text())
    assert content.pop("inputs")["train"]["images"] == 8
    record.write_text(json.dumps(content))
    add_pairs(images)
    compare(planned(images, "none", "0,1"), record.parent, console=console)
    assert json.loads(record.read_text())["inputs"]["train"]["images"] == 12
    add_pairs(images, "val")
    with pytest.raises(UserError, match="val: 4 images there, 8 now"):
        compare(planned(images, "none", "0,1"), record.parent, console=console)


@pytest.mark.parametrize("wrong", [[], {"train": 3}])
def test_a_damaged_record_is_named(wrong: object, images: Path, tmp_path: Path, console: Console) -> None:
    record = tmp_path / "c/comparison.json"
    compare(planned(images, "none", "0"), record.parent, console=console)
    record.write_text(json.dumps({**json.loads(record.read_text()), "inputs": wrong}))
    with pytest.raises(UserError, match=r"comparison.json is damaged; delete it"):
        compare(planned(images, "none", "0"), record.parent, console=console)


def test_a_trial_is_not_trained_on_more_images(
    images: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    searched = search("quickstart", changes(images, "method=kd"), ["terms.kd.weight=1,2"])
    folder = tmp_path / "s"
    sweeps.sweep(searched, folder, trials=1, console=console)
    add_pairs(images)
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "train_network", lambda *_, **__: pytest.fail("trains"))
        with pytest.raises(UserError, match=rf"{folder} was begun with other inputs \(train: 8 images there, 12 now\)"):
            sweeps.sweep(searched, folder, trials=2, console=console)
    for file in images.rglob("more*"):
        file.unlink()
    with (images / "images/train/3.png").open("ab") as file:
        file.write(b"end")
    sweeps.sweep(searched, folder, trials=2, console=console)
    assert len(json.loads((folder / "sweep.json").read_text())["trials"]) == 2
    assert "changed in size" in (folder / "comparison.md").read_text()
