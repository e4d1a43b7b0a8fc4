"""Export and bench of a run: files, report, table, errors."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from segdistill.errors import UserError
from segdistill.export import measure, to_int8, write
from segdistill.export.accuracy import Accepted
from segdistill.export.formats import files_of
from segdistill.jobs.export import bench, export
from segdistill.runs.metric import read_result
from tests.export.conftest import INSTALLED, Exported, run

FILES = {*(file for name in INSTALLED for file in files_of(name)), "export.json"}


def test_the_report(exported: Exported) -> None:
    stored = json.loads((exported.folder / "export.json").read_text())
    assert stored == exported.report
    formats = stored["formats"]
    assert list(formats) == ["pytorch", *INSTALLED]
    assert set(INSTALLED) >= {"onnx", "int8", "pt2"}
    for name in set(INSTALLED) - {"int8"}:
        assert formats[name]["equal"] >= 0.999
        assert formats[name]["score"] == pytest.approx(formats["pytorch"]["score"], abs=1e-3)
        assert formats[name]["difference"] < 1e-4
    assert formats["int8"]["score"] >= formats["onnx"]["score"] - 0.01
    assert formats["int8"]["calibration_images"] == 12
    for name, record in list(formats.items())[1:]:
        sizes = [(exported.folder / file).stat().st_size for file in files_of(name)]
        assert record["file"] == files_of(name)[0]
        assert record["megabytes"] == sum(sizes) / 1e6
        sizes = [(each["batch"], each["height"], each["width"]) for each in record["checks"]]
        assert sizes == [(1, 64, 90), (3, 128, 192), (1, 97, 131)]
        assert record["milliseconds"] > 0
    assert stored["images"] == {"split": "val", "scored": 3, "all": 3}
    assert stored["timed"] == {"height": 64, "width": 90, "threads": 1}


def test_the_score_is_that_of_the_run(exported: Exported) -> None:
    lines = (exported.folder / "metrics.jsonl").read_text().splitlines()
    best = max(entry["miou"] for entry in map(json.loads, lines) if "miou" in entry)
    assert exported.report["formats"]["pytorch"]["score"] == pytest.approx(best, abs=0.002)


def test_the_table(exported: Exported) -> None:
    row = next(line for line in exported.said.splitlines() if line.startswith("student.onnx "))
    record = exported.report["formats"]["onnx"]
    assert f"{100 * record['score']:.2f}" in row
    assert "100.000 %" in row
    assert "all" in next(line for line in exported.said.splitlines() if line.startswith("student.int8.onnx "))
    assert "scores on 3 of 3 images of val; ms: one image of 64x90, one thread, " in exported.said


def test_the_metadata(exported: Exported) -> None:
    for name in ("student.onnx", "student.int8.onnx"):
        stored = {each.key: each.value for each in onnx.load(exported.folder / name).metadata_props}
        facts = json.loads(stored["segdistill"])
        assert facts["classes"] == json.loads(stored["classes"]) == list(exported.report["metadata"]["classes"])
        assert json.loads(stored["mean"]) == [0.485, 0.456, 0.406]
        assert (facts["scale"], facts["output"]) == (0.5, "classes")


def test_raw_files_elsewhere(exported: Exported, tmp_path: Path, console) -> None:
    out = tmp_path / "new/raw"
    report = export(exported.folder, formats="onnx", out=out, raw=True, images=1, trust=True, console=console)
    assert {file.name for file in out.iterdir()} == {"student.onnx", "export.json"}
    model = onnx.load(out / "student.onnx")
    shape = [dim.dim_param or dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    assert (model.graph.output[0].name, shape) == ("logits", ["batch", 10, "height", "width"])
    assert report["images"]["scored"] == 1
    assert report["formats"]["onnx"]["equal"] >= 0.999


def test_bench_measures_what_is_there(exported: Exported, tmp_path: Path, console) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "run"))
    (folder / "student.int8.onnx").unlink()
    records = bench(folder, images=2, trust=True, console=console)
    assert list(records) == ["pytorch", *(name for name in INSTALLED if name != "int8")]
    for name in set(records) - {"pytorch"}:
        assert records[name]["megabytes"] == exported.report["formats"][name]["megabytes"]
        assert records[name]["milliseconds"] > 0
    assert records["onnx"]["score"] == pytest.approx(records["pytorch"]["score"], abs=1e-3)
    assert records["pytorch"]["file"] == "student.safetensors"


def test_a_float_file_that_differs_is_not_written(exported: Exported, tmp_path: Path, monkeypatch, console) -> None:
    built = write.onnx_candidate

    def wrong(*arguments):
        candidate = built(*arguments)
        return replace(candidate, outputs=lambda images: [np.roll(each, 3, -1) for each in candidate.outputs(images)])

    monkeypatch.setattr(write, "onnx_candidate", wrong)
    with pytest.raises(UserError, match=r"^student.onnx is not written: it differs from PyTorch on \d+\.\d\d % of"):
        export(exported.folder, formats="onnx", out=tmp_path / "out", trust=True, console=console)
    assert not (tmp_path / "out").exists()


def test_layers_in_float_are_named(exported: Exported, tmp_path: Path, monkeypatch, console) -> None:
    monkeypatch.setattr(
        to_int8, "accurate",
        lambda quantize, score, ranked, wanted, note: Accepted(quantize(ranked()[:1]), tuple(ranked()[:1]), 0.5),
    )  # fmt: skip
    report = export(exported.folder, formats="int8", out=tmp_path, trust=True, console=console)
    assert report["formats"]["int8"]["in_float"] in (["network.stem"], ["network.classify"])
    assert "1 of 2 layers in float: network." in console.file.getvalue()


def test_an_int8_file_that_loses_too_much_is_not_written(exported, tmp_path: Path, monkeypatch, console) -> None:
    (tmp_path / "student.int8.onnx").write_bytes(b"of an earlier export")
    monkeypatch.setattr(to_int8, "accurate", lambda *arguments: None)
    report = export(exported.folder, formats="onnx,int8", out=tmp_path, trust=True, console=console)
    assert report["formats"]["int8"] == {
        "written": False, "reason": "loses too much accuracy even with half of its layers in float"
    }  # fmt: skip
    assert (tmp_path / "student.int8.onnx").read_bytes() == b"of an earlier export"
    assert {file.name for file in tmp_path.iterdir()} == {"student.onnx", "student.int8.onnx", "export.json"}
    assert "not written: loses too much accuracy" in console.file.getvalue()
    assert "student.int8.onnx: the file of an earlier export is kept" in console.file.getvalue()


@pytest.mark.parametrize("error", [UserError("damaged"), KeyboardInterrupt()])
def test_a_report_never_describes_files_of_another_export(
    error: BaseException, exported: Exported, tmp_path: Path, monkeypatch, console
) -> None:
    (tmp_path / "export.json").write_text("of an earlier export")

    def fails(*arguments: object) -> None:
        assert (tmp_path / "student.onnx").exists()
        raise error

    monkeypatch.setattr(write, "pt2_candidate", fails)
    with pytest.raises(type(error)):
        export(exported.folder, formats="onnx,pt2", out=tmp_path, raw=True, images=1, trust=True, console=console)
    assert {file.name for file in tmp_path.iterdir()} == {"student.onnx"}


def test_a_report_stays_while_no_file_is_replaced(exported: Exported, tmp_path: Path, monkeypatch, console) -> None:
    (tmp_path / "export.json").write_text("of an earlier export")

    def fails(*arguments: object) -> None:
        raise UserError("damaged")

    monkeypatch.setattr(write, "onnx_candidate", fails)
    with pytest.raises(UserError, match="damaged"):
        export(exported.folder, formats="onnx", out=tmp_path, images=1, trust=True, console=console)
    assert (tmp_path / "export.json").read_text() == "of an earlier export"


MISTAKES = [
    (("{run}", "--format", "onxx"), "unknown format 'onxx'; did you mean 'onnx'?"),
    (("{run}", "--format", "tensorrt"), "format 'tensorrt' is not written here: "),
    (("{none}",), "{none} is not a run's folder with a trained student: it has no student.json"),
    (("{empty}",), "{empty} has no student.safetensors; "),
    (("{run}", "data.rot=x"), "unknown key 'data.rot'; did you mean 'data.root'?"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_mistakes_are_one_line(words, message: str, exported: Exported, tmp_path: Path, monkeypatch, capsys) -> None:
    empty = Path(shutil.copytree(exported.folder, tmp_path / "empty"))
    for name in (*FILES, "student.safetensors"):
        (empty / name).unlink()
    places = {"run": exported.folder, "none": tmp_path / "none", "empty": empty}
    assert run(monkeypatch, "export", *(word.format(**places) for word in words)) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message.format(**places)}")
    assert said.count("\n") == 1


def test_mistakes_are_found_without_pytorch_and_onnx(tmp_path: Path) -> None:
    code = (
        "import sys; from segdistill.jobs.export import export\n"
        "for formats in ('onxx', 'onnx', 'tensorrt', 'litert'):\n"
        "    try: export('no such run', formats=formats)\n"
        "    except ValueError as error: print(error)\n"
        "heavy = ('torch', 'onnx', 'onnxruntime', 'openvino', 'executorch', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("unknown format 'onxx'")
    assert done.stdout.splitlines()[1].startswith("no such run is not a run's folder")
    assert done.stdout.splitlines()[2].startswith("format 'tensorrt' is not written here")
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_student_of_other_classes(exported: Exported, tmp_path: Path, console) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "run"))
    description = json.loads((folder / "student.json").read_text())
    description["classes"][0] = "heaven"
    (folder / "student.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="has other classes than the data set, or in another order"):
        export(folder, trust=True, console=console)


def test_code_is_imported_only_with_trust(exported: Exported, console) -> None:
    with pytest.raises(UserError, match="if you trust it, give --trust"):
        export(exported.folder, console=console)


def test_the_result_of_the_run_stays(exported: Exported) -> None:
    assert read_result(exported.folder / "result.json")
    assert {file.name for file in exported.folder.iterdir()} >= FILES


def test_long_work_tells_how_far_it_is(exported: Exported, tmp_path: Path, console, monkeypatch) -> None:
    heard: dict[str, list[int]] = {}

    def told(items, what: str, total: int):
        for done, item in enumerate(items, start=1):
            heard.setdefault(what, []).append(done)
            yield item
        assert heard[what][-1] == total

    monkeypatch.setattr(measure, "tracked", told)
    monkeypatch.setattr(to_int8, "tracked", told)
    control = to_int8.accurate

    def ranked_too(quantize, score, ranked, wanted, note):
        ranked()
        return control(quantize, score, ranked, wanted, note)

    monkeypatch.setattr(to_int8, "accurate", ranked_too)
    export(exported.folder, formats="int8", out=tmp_path, images=2, trust=True, console=console)
    assert heard == {
        "PyTorch: scoring": [1, 2],
        "float model: scoring": [1, 2],
        "student.int8.onnx: calibrating": list(range(1, 13)),
        "student.int8.onnx: scoring 8-bit weights": [1, 2],
        "student.int8.onnx: scoring 7-bit weights": [1, 2],
        "student.int8.onnx: ranking layers": [1, 2],
        "student.int8.onnx: scoring": [1, 2],
    }
