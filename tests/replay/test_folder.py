"""The folder of a record: its files, its sizes, and recordings that were stopped."""

import errno
import io
import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
import torch

from segdistill.errors import UserError
from segdistill.replay.folder import RecordFolder, Recording, as_size
from tests.replay.conftest import KEY, write

LOGITS = {"logits": (4, 2, 3)}


def test_a_new_folder_has_no_features(tmp_path: Path) -> None:
    assert RecordFolder(tmp_path / "replay", KEY, 3).features() == {}


def test_the_manifest_lists_what_is_recorded(folder: RecordFolder) -> None:
    assert folder.features() == {"logits": (4, 2, 3), "stage4:pre": (5, 4, 6)}
    names = sorted(path.name for path in folder.path.iterdir())
    assert [name.partition("-")[0] for name in names] == [
        "crops.marks", "logits.answers", "manifest.json", "stage4_pre"
    ]  # fmt: skip


def test_another_key_is_another_folder(tmp_path: Path) -> None:
    one, other = (RecordFolder(tmp_path, {**KEY, "weights": weights}, 3).path for weights in "ab")
    assert one != other


def test_the_size_is_that_of_the_files(folder: RecordFolder) -> None:
    size = sum(path.stat().st_size for path in folder.path.iterdir() if path.suffix != ".json")
    assert folder.bytes(folder.features()) == size


@pytest.mark.parametrize("name", ["logits", "crops"])
def test_a_file_of_another_size_is_found(folder: RecordFolder, name: str) -> None:
    (path,) = folder.path.glob(f"{name}.*")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{name}\.\w+ has \d+ bytes instead of \d+; delete the folder"):
        folder.features()
    path.unlink()
    with pytest.raises(UserError, match="has 0 bytes instead of"):
        folder.features()


def test_a_damaged_manifest_is_found(folder: RecordFolder) -> None:
    file = folder.path / "manifest.json"
    content = json.loads(file.read_text())
    file.write_text(file.read_text()[:-20])
    with pytest.raises(UserError, match="manifest.json is damaged"):
        folder.features()
    for features in ([1, 2], {"logits": 3}, {"logits": ["a"]}):
        file.write_text(json.dumps({**content, "features": features}))
        with pytest.raises(UserError, match="manifest.json is damaged"):
            folder.features()


def test_a_folder_with_the_name_of_another_is_not_used(folder: RecordFolder, tmp_path: Path) -> None:
    other = RecordFolder(tmp_path, {**KEY, "weights": "b"}, 3)
    shutil.copytree(folder.path, other.path)
    with pytest.raises(UserError, match="describes another record"):
        other.features()


def test_features_are_added(folder: RecordFolder, crops: torch.Tensor) -> None:
    more = {"head": torch.randn(3, 2, 7, 2, 2)}
    before = folder.file("logits").read_bytes()
    write(folder, crops, more)
    assert list(folder.features()) == ["logits", "stage4:pre", "head"]
    assert folder.file("logits").read_bytes() == before


def test_features_of_other_crops_are_not_added(folder: RecordFolder, crops: torch.Tensor) -> None:
    with pytest.raises(UserError, match="the crops are not those that the teacher answered"):
        write(folder, crops.flip(-1), {"head": torch.randn(3, 2, 7, 2, 2)})
    assert "head" not in folder.features()


def test_a_stopped_recording_is_continued(
    tmp_path: Path, crops: torch.Tensor, features: dict[str, torch.Tensor]
) -> None:
    folder = RecordFolder(tmp_path, KEY, 3)
    shapes = {name: tuple(feature.shape[2:]) for name, feature in features.items()}
    Recording.prepare(folder, shapes)
    recording = Recording(folder, shapes)
    rows = {name: recording.rows[name].packed(feature[1]) for name, feature in features.items()}
    marks = torch.zeros(2, 3, 4, 4).numpy()
    recording.write(1, rows, marks)
    assert recording.remaining() == [0, 1, 2]  # not on disk yet
    recording.flush()
    recording.write(2, rows, marks)
    recording.close()  # killed before the flush
    assert folder.features() == {}
    assert Recording.prepare(folder, LOGITS) == shapes  # it has all that is asked for
    again = Recording(folder, shapes)
    assert again.remaining() == [0, 2]
    again.close()


def test_a_stopped_recording_of_other_features_begins_again(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path, KEY, 3)
    for shapes in (LOGITS, {**LOGITS, "head": (7, 2, 2)}):
        assert Recording.prepare(folder, shapes) == shapes
        recording = Recording(folder, shapes)
        assert recording.remaining() == [0, 1, 2]
        rows = {name: row.packed(torch.randn(2, *row.shape)) for name, row in recording.rows.items()}
        recording.write(0, rows, torch.zeros(2, 3, 4, 4).numpy())
        recording.flush()
        recording.close()


def test_a_stopped_recording_with_a_lost_file_begins_again(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path, KEY, 3)
    Recording.prepare(folder, LOGITS)
    (folder.path / "done.part").write_bytes(b"\1\1\1")
    (folder.path / "logits.answers.part").unlink()
    Recording.prepare(folder, LOGITS)
    recording = Recording(folder, LOGITS)
    assert recording.remaining() == [0, 1, 2]
    recording.close()


def test_the_disk_is_checked_first(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path / "new", {"crops": 10**9, "type": "int8"}, 10**6)
    with pytest.raises(UserError, match=r"the teacher's answers take [\d.]+ GB, and .* has room for"):
        Recording.prepare(folder, LOGITS)
    assert not list((tmp_path / "new").rglob("*.part"))


@pytest.mark.parametrize("call", ["write", "flush"])
def test_a_full_disk_ends_in_one_line_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = RecordFolder(tmp_path, KEY, 3)
    Recording.prepare(folder, LOGITS)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.BytesIO):
        write = full

    with closing(Recording(folder, LOGITS)) as recording:
        rows = {"logits": recording.rows["logits"].packed(torch.randn(2, 4, 2, 3))}
        marks = torch.zeros(2, 3, 4, 4).numpy()
        recording.write(0, rows, marks)
        recording.flush()
        if call == "write":
            recording._opened["logits"].close()
            recording._opened["logits"] = Full()
        else:
            monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*No space left .*make room and run the same command again"):
            recording.write(1, rows, marks)
            recording.flush()
    monkeypatch.undo()
    assert Recording.prepare(folder, LOGITS) == LOGITS
    with closing(Recording(folder, LOGITS)) as recording:
        assert recording.remaining() == [1, 2]


def test_sizes_in_words() -> None:
    assert [as_size(count) for count in (900, 29_500, 4_600_000, 4_640_000_000)] == [
        "0.9 kB", "29.5 kB", "4.6 MB", "4.6 GB"
    ]  # fmt: skip
