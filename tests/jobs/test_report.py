"""Reports at the end of runs and comparisons, and by the command."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import segdistill
from segdistill.cli import main
from segdistill.comparison import run_loop
from segdistill.errors import UserError
from segdistill.jobs.report import report
from segdistill.recipes import load
from segdistill.training import report as at_the_end
from segdistill.training.run import distill
from tests.jobs.test_jobs import CHANGES
from tests.reports.html.folders import write_whole_run
from tests.reports.html.parsed import Element, check
from tests.tiny import TINY, said, tiny


def page(folder: Path) -> Element:
    return check((folder / "report.html").read_text(encoding="utf-8"))


def scenes(root: Element) -> list[Element]:
    return [each for each in root.all("figure") if each.attributes.get("class") == "scene"]


def options(scene: Element) -> list[str]:
    return [each.words() for each in scene.all("select")[0].all("option")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Its tests do not change it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    distill(tiny(), folder, console=Console(quiet=True))
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished comparison, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "compared"
    console = Console(file=io.StringIO(), width=200)
    segdistill.compare(
        "quickstart", CHANGES, methods=["kd", "at"], seeds=[0, 1], run_dir=folder, console=console, trust=True
    )
    return folder, said(console).splitlines()


def test_a_run_ends_with_its_report(finished: Path) -> None:
    root = page(finished)
    assert len(scenes(root)) == 3  # all images of the test split
    assert options(scenes(root)[0]) == ["ground truth", "student alone", "gskd", "teacher", "difference: gskd",
                                        "difference: teacher"]  # fmt: skip
    costs = next(each for each in root.all("table") if each.all("caption")[0].words() == "Costs")
    times = [float(row.children[5].words()) for row in costs.all("tbody")[0].all("tr")]
    assert len(times) == 3
    assert min(times) > 0
    titles = [each.words() for each in root.all("figcaption")]
    assert "IoU of common classes" in titles


def test_the_pictures_are_of_the_students_in_the_folder(finished: Path) -> None:
    scores = {}
    for words in [each.words() for each in scenes(page(finished))[0].all("span")]:
        name, _, score = words.rpartition(" ")
        scores.setdefault(name, score)
    assert list(scores)[:3] == ["student alone", "gskd", "teacher"]
    assert all(0 <= float(scores[name]) <= 100 for name in list(scores)[:3])


def test_a_finished_run_keeps_its_report(finished: Path, tmp_path: Path, console: Console) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / "report.html").write_text("kept")
    distill(tiny(), folder, console=console)
    assert (folder / "report.html").read_text() == "kept"
    (folder / "report.html").unlink()
    distill(tiny(), folder, console=console)
    assert len(scenes(page(folder))) == 3


def test_a_report_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no picture\nsecond line")

    monkeypatch.setattr(at_the_end, "write_page", fail)
    result = distill(tiny("baseline=false"), tmp_path / "run", console=console)
    assert result["method"] == "gskd"
    lines = [line for line in said(console).splitlines() if "report" in line and "not written" in line]
    assert lines == ["report.html is not written: no picture"]
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_comparison_ends_with_its_report_and_how_to_use_the_best(compared: tuple[Path, list[str]]) -> None:
    folder, lines = compared
    root = page(folder)
    assert len(scenes(root)) == 3
    assert set(options(scenes(root)[0])) >= {"student alone", "kd", "at", "teacher", "difference: kd", "difference: at"}
    record = json.loads((folder / "comparison.json").read_text())
    on_val: dict[str, list[float]] = {}
    for run in record["runs"]:
        on_val.setdefault(run["method"], []).append(run["val_miou"])
    best = max(on_val, key=lambda method: sum(on_val[method]))
    seed = on_val[best].index(max(on_val[best]))
    at = next(number for number, line in enumerate(lines) if "highest mean score on val" in line)
    assert lines[at].startswith("the student alone has" if best == "none" else f"{best} has")
    assert lines[at + 1].strip() == f"segdistill predict {folder / f'{best}-s{seed}'} IMAGE... --out predictions"
    names = [each.all("strong")[0].words() for each in scenes(root)]
    assert lines[at + 2] == f"the methods differ most on {', '.join(names)}: see report.html"


def test_a_failed_run_leaves_the_report_of_the_others(tmp_path: Path, monkeypatch, console: Console) -> None:
    train = run_loop.train_network

    def sometimes(session, folder, **more):
        if folder.name == "kd-s0":
            raise RuntimeError("out of memory")
        return train(session, folder, **more)

    monkeypatch.setattr(run_loop, "train_network", sometimes)
    with pytest.raises(UserError, match="1 of 3 runs failed"):
        segdistill.compare(
            "quickstart", CHANGES, methods=["kd", "at"], seeds=[0], run_dir=tmp_path, console=console, trust=True
        )
    root = page(tmp_path)
    assert "kd-s0: failed: RuntimeError: out of memory" in root.all("header")[0].words()
    assert "kd" not in options(scenes(root)[0])


# The command.


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["segdistill", "report", *arguments])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_the_command_writes_a_report_for_each_folder(finished, compared, tmp_path: Path, monkeypatch, capsys) -> None:
    run, comparison = shutil.copytree(finished, tmp_path / "run"), shutil.copytree(compared[0], tmp_path / "compared")
    for folder in (run, comparison):
        (folder / "report.html").unlink()
    assert call(monkeypatch, str(run), str(comparison), "--trust") == 0
    assert capsys.readouterr().out.splitlines() == [f"{run}/report.html", f"{comparison}/report.html"]
    assert [len(scenes(page(folder))) for folder in (run, comparison)] == [3, 3]
    assert options(scenes(page(run))[0])[:4] == ["ground truth", "student alone", "gskd", "teacher"]


def test_code_that_a_folder_names_is_not_imported_without_trust(finished, tmp_path: Path, monkeypatch, capsys) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\ndef build(num_classes): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = (folder / "recipe.yaml").read_text().replace("tests.networks:small", "evil:build")
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "environment.json").unlink()
    (folder / "student.json").unlink()
    assert call(monkeypatch, str(folder)) == 0
    assert not (tmp_path / "imported").exists()
    assert (
        "names code to import, 'evil:build, tests.networks:large'; if you trust it, give --trust"
        in capsys.readouterr().out
    )
    assert scenes(page(folder)) == []


def test_without_its_data_a_run_has_tables_and_curves(tmp_path: Path, console: Console) -> None:
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / "images" / split / f"{number}.png")
            Image.fromarray(pixels[..., 0] // 128).save(tmp_path / "data" / "labels" / split / f"{number}.png")
    changes = [
        *(change for change in TINY if not change.startswith(("data.size", "data.images"))),
        "method=none",
        f"data.root={tmp_path / 'data'}",
        "train.iterations=3",
    ]
    distill(load("folder", changes), tmp_path / "run", console=console)
    assert len(scenes(page(tmp_path / "run"))) == 3
    shutil.rmtree(tmp_path / "data")
    report([tmp_path / "run"], trust=True, console=console)
    root = page(tmp_path / "run")
    assert scenes(root) == []
    assert "There are no pictures: " in said(console)
    notes = [each.words() for each in root.all("p") if each.words().startswith("There are no pictures: ")]
    assert len(notes) == 1
    assert str(tmp_path / "data") in notes[0]
    captions = [each.words() for each in root.all("caption")]
    assert {"mIoU in percent", "IoU of each class in percent", "Costs"} <= set(captions)


def test_a_folder_from_before_is_shown_as_far_as_it_goes(tmp_path: Path, console: Console) -> None:
    folder = write_whole_run(tmp_path / "run")
    (folder / "recipe.yaml").write_text("name: [")
    report([folder], console=console)
    assert [each.words() for each in page(folder).all("h1")] == ["run: kd, seed 0"]
    assert "recipe.yaml is not YAML" in said(console)


def test_what_is_no_run_is_refused_before_anything_is_written(finished, tmp_path: Path, console: Console) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "report.html").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no run or comparison; give a folder"):
        report([folder, tmp_path / "empty"], trust=True, console=console)
    assert not (folder / "report.html").exists()
    (tmp_path / "empty" / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match="empty is a sweep; give the folders of its trials"):
        report([tmp_path / "empty"], console=console)


def test_a_teacher_that_is_gone_is_left_out(finished, tmp_path: Path, console: Console) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "teacher" / "student.safetensors").unlink()
    report([folder], trust=True, console=console)
    assert "The teacher is not in the pictures: " in said(console)
    assert "teacher" not in options(scenes(page(folder))[0])
