"""Names that a user gives become pictures, videos or a camera; results are no inputs."""

from pathlib import Path

import pytest
from PIL import Image

from segdistill.errors import UserError
from segdistill.frames.inputs import Inputs, inputs_in, is_video, results_of
from segdistill.frames.legend import write_legend
from tests.frames.videos import CLASSES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/deep/b.JPG", "in/drive.mp4", "clip.MOV", "c.jpg", "notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def test_pictures_of_folders_and_named_files(folder: Path) -> None:
    out = Path("out")
    assert inputs_in(["in", "c.jpg", "clip.MOV"], out) == Inputs(
        {out / "a": Path("in/a.png"), out / "deep/b": Path("in/deep/b.JPG"), out / "c": Path("c.jpg")},
        {out / "clip": Path("clip.MOV")},
    )


def test_linked_folders_are_read_and_results_in_them_left_out(folder: Path) -> None:
    Path("far").mkdir()
    Path("far/d.png").touch()
    Path("in/more").symlink_to("../far")
    Path("in/back").symlink_to("..")
    out = Path("out")
    pictures = {
        out / "a": Path("in/a.png"),
        out / "deep/b": Path("in/deep/b.JPG"),
        out / "more/d": Path("in/more/d.png"),
    }
    assert inputs_in(["in"], out).pictures == pictures
    out.mkdir()
    for kind in ("labels", "overlay"):
        (out / f"a_{kind}.png").touch()
    Path("in/results").symlink_to("../out")
    assert inputs_in(["in"], out).pictures == pictures


def test_the_names_of_results() -> None:
    assert [str(file) for file in results_of(Path("out/a"))] == ["out/a_labels.png", "out/a_overlay.png"]
    assert [str(file) for file in results_of(Path("out/a"), video=True)] == ["out/a_labels", "out/a_overlay.mp4"]
    assert is_video(Path("x.WebM"))
    assert not is_video(Path("x.png"))


def test_a_camera_is_a_number_that_is_no_file(folder: Path) -> None:
    assert inputs_in(["2"], Path("out")) == Inputs({}, {}, 2)
    with pytest.raises(UserError, match="camera 2 is segmented alone; give the other inputs in another command"):
        inputs_in(["c.jpg", "2"], Path("out"))
    Path("2").mkdir()
    Path("2/a.png").touch()
    assert inputs_in(["2"], Path("out")).pictures == {Path("out/a"): Path("2/a.png")}


def test_a_recording_of_a_camera_is_not_overwritten(folder: Path) -> None:
    Path("out").mkdir()
    recording = Path("out/camera2_overlay.mp4")
    recording.touch()
    with pytest.raises(UserError, match=r"^camera 2 would overwrite out/camera2_overlay\.mp4; give another --out$"):
        inputs_in(["2"], Path("out"))
    assert inputs_in(["1"], Path("out")).camera == 1
    assert inputs_in(["2"], Path("other")).camera == 2
    recording.unlink()
    recording.symlink_to("missing")
    with pytest.raises(UserError, match="camera 2 would overwrite"):
        inputs_in(["2"], Path("out"))


def test_a_folder_of_videos_tells_how_to_name_them(folder: Path) -> None:
    Path("videos").mkdir()
    with pytest.raises(UserError, match=r"no pictures in videos; looked for \.png, "):
        inputs_in(["videos"], Path("out"))
    Path("videos/x.mkv").touch()
    with pytest.raises(UserError, match=r"no pictures in videos, but videos; name each, as in videos/x\.mkv"):
        inputs_in(["videos"], Path("out"))


def test_two_inputs_with_the_same_results_and_remedies_that_keep_both(folder: Path) -> None:
    Path("c.mp4").touch()
    remedy = "segment them in two commands with different --out"
    with pytest.raises(UserError) as raised:
        inputs_in(["c.jpg", "c.mp4"], Path("out"))
    assert str(raised.value) == f"c.jpg and c.mp4 would both be written to out/c_*; rename one, or {remedy}"
    for name in ("p1", "p2"):
        Path(name).mkdir()
        Path(name, "a.png").touch()
    for names in (["p1", "p2"], ["p1/a.png", "p2/a.png"]):
        with pytest.raises(UserError) as raised:
            inputs_in(names, Path("out"))
        assert str(raised.value) == f"p1/a.png and p2/a.png would both be written to out/a_*; {remedy}"
    targets = [target for name, out in (("p1", "x"), ("p2", "y")) for target in inputs_in([name], Path(out)).pictures]
    assert targets == [Path("x/a"), Path("y/a")]
    for names in (["p1/a.png", "p1/a.png"], ["p1", "p1/../p1/a.png"]):
        with pytest.raises(UserError, match=r"p1/a\.png is given twice; give it once"):
            inputs_in(names, Path("out"))


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder: nowhere\.mp4"):
        inputs_in(["nowhere.mp4"], Path("out"))


def test_results_of_a_video_are_no_inputs(folder: Path) -> None:
    for name in ("in/drive_labels/000000.png", "in/drive_labels/000001.png", "in/drive_overlay.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    inside = {Path("in/a"): Path("in/a.png"), Path("in/drive"): Path("in/drive.mp4")}
    assert inputs_in(["in/a.png", *sorted(Path("in").glob("*.mp4"))], Path("in")) == Inputs(
        {Path("in/a"): inside[Path("in/a")]}, {Path("in/drive"): inside[Path("in/drive")]}
    )
    Path("in/drive_labels/000007_mine.png").touch()
    assert set(inputs_in(["."], Path("in")).pictures.values()) == {
        Path("c.jpg"),
        Path("in/a.png"),
        Path("in/deep/b.JPG"),
        Path("in/drive_labels/000007_mine.png"),
    }
    Path("in/drive_overlay.mp4").unlink()  # now they may be the user's
    assert Path("in/drive_labels/000001.png") in inputs_in(["."], Path("in")).pictures.values()


def test_no_video_is_overwritten(folder: Path) -> None:
    Path("clip_overlay.mp4").touch()
    with pytest.raises(UserError, match=r"the results of clip\.MOV would overwrite the input clip_overlay\.mp4; give"):
        inputs_in(["clip.MOV", "clip_overlay.mp4"], Path())


@pytest.mark.parametrize(
    ("given", "own", "partner"),
    [("c.jpg", "c_labels.png", "c_overlay.png"), ("c.jpg", "c_overlay.png", "c_labels.png")],
)
def test_a_file_that_only_looks_like_a_result_is_not_overwritten(folder: Path, given, own, partner) -> None:
    Path(own).write_bytes(b"mine")
    with pytest.raises(UserError, match=rf"would overwrite {own}, which may be yours, because {partner} is missing"):
        inputs_in([given], Path())
    Path(partner).touch()  # both: an earlier prediction
    assert inputs_in([given], Path()).pictures == {Path("c"): Path(given)}


def test_a_folder_that_only_looks_like_masks_of_a_video_is_not_overwritten(folder: Path) -> None:
    Path("clip_labels").mkdir()
    with pytest.raises(UserError, match="would overwrite clip_labels, which may be yours"):
        inputs_in(["clip.MOV"], Path())


def test_a_legend_is_replaced_and_no_input_but_a_picture_of_its_name_is_kept(folder: Path) -> None:
    write_legend(CLASSES, Path("in"))
    assert set(inputs_in(["."], Path("in")).pictures.values()) == {
        Path("c.jpg"),
        Path("in/a.png"),
        Path("in/deep/b.JPG"),
    }
    Image.new("RGB", (4, 4)).save("in/legend.png")
    for names in (["c.jpg"], ["in/legend.png"], ["0"]):
        with pytest.raises(UserError, match=r"the legend would overwrite in/legend\.png; give another --out"):
            inputs_in(names, Path("in"))
