"""Prediction with a run and with its ONNX file, of pictures, videos and a camera."""

import io
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import segdistill
from segdistill import models
from segdistill.errors import UserError
from segdistill.export.program import Program
from segdistill.export.to_onnx import to_onnx
from segdistill.export.trace import trace
from segdistill.frames import video as video_module
from segdistill.jobs import predict as job
from segdistill.jobs.predict import predict
from tests.fonts import install
from tests.frames.videos import cut, frames_of, picture, write_video
from tests.networks import small
from tests.tiny import said

NAMES = [f"class {index}" for index in range(10)]


class Students(NamedTuple):
    run: Path
    onnx: Path


@pytest.fixture(scope="session")
def students(tmp_path_factory: pytest.TempPathFactory) -> Students:
    """The folder of a student, and the same student as an ONNX file."""
    import torch

    folder = tmp_path_factory.mktemp("students")
    torch.manual_seed(0)
    models.save_student(small(10), folder / "run", name="tests.networks:small", num_classes=10, classes=NAMES)
    description = models.read_description(folder / "run")
    program = Program.of(models.load(folder / "run", trust=True), description)
    model = to_onnx(trace(program), {"classes": NAMES, "output": "classes"})
    (folder / "student.onnx").write_bytes(model.SerializeToString())
    return Students(folder / "run", folder / "student.onnx")


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """A picture and a video of odd size, with colors for several classes."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (41, 61, 3), dtype=np.uint8) for _ in range(7)]
    Image.fromarray(frames[0]).save(tmp_path / "street.png")
    write_video(tmp_path / "drive.mkv", frames)
    return [str(tmp_path / "street.png"), str(tmp_path / "drive.mkv")]


@pytest.mark.parametrize("kind", Students._fields)
def test_pictures_and_videos(kind: str, students: Students, inputs, tmp_path: Path, console: Console) -> None:
    student, out = getattr(students, kind), tmp_path / "out"
    written = predict(student, inputs, out=out, trust=True, console=console)
    names = ["legend.png", "street_labels.png", "street_overlay.png", "drive_labels", "drive_overlay.mp4"]
    assert written == [out / name for name in names]
    assert {file.name for file in out.iterdir()} == set(names)
    expected = segdistill.Run(students.run, trust=True).predict(inputs[0])
    assert len(np.unique(expected)) > 1
    for file in ("street_labels.png", "drive_labels/000000.png"):
        with Image.open(out / file) as mask:
            assert (np.asarray(mask) == expected).mean() > 0.999
    assert len(list((out / "drive_labels").iterdir())) == 7
    assert [frame.pixels.shape for frame in frames_of(out / "drive_overlay.mp4")] == [(41, 61, 3)] * 7
    lines = said(console).splitlines()
    speed = r"frames? in \d+\.\d s, \d+\.\d frames/s; for each: network \d+\.\d ms, waiting for reading \d+\.\d ms, "
    assert lines[0] == f"1 overlays and label PNGs in {out}"
    assert re.match(f"1 {speed}", lines[1])
    assert lines[2] == f"{out / 'drive_overlay.mp4'} and 7 label PNGs in {out / 'drive_labels'}"
    assert re.match(f"7 {speed}", lines[3])
    assert lines[4:] == [f"colors of the classes: {out / 'legend.png'}"]


@pytest.mark.parametrize("kind", Students._fields)
def test_a_line_tells_where_names_are_that_no_font_can_draw(
    kind: str, students: Students, inputs, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    student = shutil.copytree(students.run, tmp_path / "run") if kind == "run" else tmp_path / "student.onnx"
    names = [*NAMES[:9], "道路"]
    if kind == "run":
        models.save_student(small(10), student, name="tests.networks:small", num_classes=10, classes=names)
        assert '"道路"' in (student / "student.json").read_text(encoding="utf-8")
        where = str(student / "student.json")
    else:
        description = {**models.read_description(students.run), "classes": names}
        program = Program.of(models.load(students.run, trust=True), description)
        model = to_onnx(trace(program), {"classes": names, "output": "classes"})
        student.write_bytes(model.SerializeToString())
        where = f"segdistill.load('{student}').classes"
        assert segdistill.load(student).classes[9] == "道路"
    predict(student, inputs[:1], out=tmp_path / "out", trust=True, console=console)
    assert said(console).splitlines()[2:] == [
        f"colors of the classes: {tmp_path / 'out/legend.png'}",
        f"letters that no installed font has are boxes in it; the names by index are in {where}",
    ]


def test_an_onnx_file_needs_no_pytorch(students: Students, inputs, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom segdistill.jobs.predict import predict\n"
        f"predict({str(students.onnx)!r}, {inputs!r}, out={str(tmp_path / 'out')!r})\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_video_that_breaks_off_is_kept_with_a_line(students: Students, tmp_path: Path, console: Console) -> None:
    file = cut(write_video(tmp_path / "x.mkv", [picture(n) for n in range(60)]), 0.5)
    predict(students.onnx, [file], out=tmp_path / "out", console=console)
    line, results, *_ = said(console).splitlines()
    assert re.fullmatch(r"x\.mkv breaks off at [01]\.\d s of 2\.0 s; the frames before are kept", line)
    count = len(list((tmp_path / "out/x_labels").iterdir()))
    assert 10 < count < 50
    assert f" and {count} label PNGs" in results


def test_the_first_seconds_of_a_video_are_no_damage(students: Students, tmp_path: Path, console: Console) -> None:
    file = write_video(tmp_path / "x.mkv", [picture(n) for n in range(60)])
    predict(students.onnx, [file], out=tmp_path / "out", seconds=0.5, console=console)
    assert len(list((tmp_path / "out/x_labels").iterdir())) == 15
    assert "breaks off" not in said(console)
    predict(students.onnx, [cut(file, 0.5)], out=tmp_path / "out", seconds=1.9, console=console)  # ends before
    assert "x.mkv breaks off at " in said(console)
    with pytest.raises(UserError, match="--seconds is for videos and cameras; leave it out for pictures"):
        Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
        predict(students.onnx, [tmp_path / "a.png"], out=tmp_path / "out", seconds=1)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's test pattern in place of a camera."""
    device = "testsrc=size=97x65:rate=10", "lavfi", {}
    monkeypatch.setattr(video_module, "camera_device", lambda index: device)


def test_a_camera_for_some_seconds(students: Students, camera, tmp_path: Path, console: Console) -> None:
    written = predict(students.onnx, ["3"], out=tmp_path / "out", seconds=0.75, console=console)
    assert written == [tmp_path / "out/legend.png", tmp_path / "out/camera3_overlay.mp4"]
    frames = frames_of(written[1])
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 10 for n in range(8)], abs=1e-3)
    assert frames[0].pixels.shape == (65, 97, 3)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"legend.png", "camera3_overlay.mp4"}
    assert "Ctrl-C" not in said(console)


def test_a_camera_that_has_reached_its_end_has_no_note(
    students: Students, camera, tmp_path: Path, console: Console, monkeypatch
) -> None:
    packets = video_module.Video._packets

    def ends(video):
        yield from itertools.islice(packets(video), 9)
        video._broken = True  # unplugged

    monkeypatch.setattr(video_module.Video, "_packets", ends)
    predict(students.onnx, ["3"], out=tmp_path / "out", seconds=0.75, console=console)
    assert "stopped" not in said(console)
    predict(students.onnx, ["4"], out=tmp_path / "out", seconds=1.5, console=console)
    assert "camera 4 stopped after 0.9 s" in said(console)


def test_a_camera_until_ctrl_c(students: Students, camera, tmp_path: Path, console: Console, monkeypatch) -> None:
    seen: list[int] = []
    loaded = job._loaded

    def interrupted(*arguments):
        student = loaded(*arguments)

        def labels(pixels: np.ndarray) -> np.ndarray:
            seen.append(1)
            if len(seen) == 5:
                signal.raise_signal(signal.SIGINT)
            return student.labels(pixels)

        return student._replace(labels=labels)

    monkeypatch.setattr(job, "_loaded", interrupted)
    predict(students.onnx, ["0"], out=tmp_path / "out", console=console)
    assert len(frames_of(tmp_path / "out/camera0_overlay.mp4")) == 5
    assert said(console).startswith("segmenting camera 0 until Ctrl-C\n")


def test_errors_come_before_anything_is_written(students: Students, inputs, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    (tmp_path / "damaged.mp4").write_bytes(b"no video")
    shutil.copy(inputs[1], tmp_path / "other.mkv")
    with pytest.raises(UserError, match=r"cannot read .*damaged\.mp4"):
        predict(students.onnx, [*inputs, tmp_path / "damaged.mp4"], out=out)
    with pytest.raises(UserError, match="no camera 97: /dev/video97 does not exist"):
        predict(students.onnx, ["97"], out=out)
    with pytest.raises(
        UserError, match=r"x\.onnx does not exist; give the folder of a run or a file of segdistill exp"
    ):
        predict(tmp_path / "x.onnx", inputs, out=out)
    (tmp_path / "x.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"x\.onnx is damaged or was not written by segdistill; export the run again"):
        predict(tmp_path / "x.onnx", inputs, out=out)
    with pytest.raises(UserError, match="is not a run's folder with a trained student"):
        predict(tmp_path, inputs, out=out)
    assert not out.exists()
    (out / "drive_labels").mkdir(parents=True)
    (out / "drive_labels" / "notes.txt").touch()
    (out / "drive_overlay.mp4").touch()  # as a prediction leaves it
    with pytest.raises(UserError, match=r"has other files: notes\.txt"):
        predict(students.onnx, inputs, out=out)
    monkeypatch.setattr(video_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'drive\.mkv needs the package av: pip install "segdistill\[video\]"'):
        predict(students.onnx, inputs, out=out)
    assert len(list(out.iterdir())) == 2


def test_an_onnx_file_of_another_program(students: Students, inputs, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(students.onnx)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"other\.onnx is damaged or was not written by segdistill; export the run"):
        predict(tmp_path / "other.onnx", inputs, out=tmp_path / "out")
    metadata = model.metadata_props.add()
    metadata.key, metadata.value = "segdistill", json.dumps({"output": "classes", "classes": []})
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"other\.onnx names no classes; give the folder of a run or a file of"):
        predict(tmp_path / "other.onnx", inputs, out=tmp_path / "out")
    metadata.value = json.dumps({"output": "classes", "classes": [str(n) for n in range(257)]})
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"other\.onnx has 257 classes; a mask's pixel holds 256 values"):
        predict(tmp_path / "other.onnx", inputs, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_printed_twice_on_a_quiet_console(students: Students, inputs, tmp_path: Path) -> None:
    quiet = Console(file=io.StringIO(), quiet=True)
    predict(students.onnx, inputs[:1], out=tmp_path / "out", console=quiet)
    assert said(quiet) == ""


def test_interrupted_video_leaves_the_earlier_results(students: Students, inputs, tmp_path: Path) -> None:
    """Ctrl-C during a video ends the command; what an earlier command wrote is as before."""
    out = tmp_path / "out"
    predict(students.onnx, inputs[1:], out=out, console=Console(file=io.StringIO()))
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    code = (
        "import os, signal, sys\nfrom segdistill.frames import segment\n"
        "whole = segment.Student.segment\n"
        "def interrupted(self, pixels, name):\n"
        "    interrupted.seen += 1\n"
        "    if interrupted.seen == 5: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return whole(self, pixels, name)\n"
        "interrupted.seen = 0\nsegment.Student.segment = interrupted\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
        f"sys.argv = ['segdistill', 'predict', {str(students.onnx)!r}, {inputs[1]!r}, '--out', {str(out)!r}]\n"
        "from segdistill.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
