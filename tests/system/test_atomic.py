"""A file is the old one or the new one, whatever happens while it is written."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from segdistill import models
from segdistill.data import Classes
from segdistill.errors import UserError
from segdistill.reports.drawing import grid
from segdistill.runs import checkpoint
from segdistill.runs.records import Metrics, write_json
from segdistill.system import atomic
from segdistill.system.atomic import replacing, replacing_together, write_text
from tests.networks import small


def save_student(file: Path) -> None:
    models.save_student(small(2), file.parent, name="tests.networks:small", num_classes=2)


def draw(file: Path) -> None:
    grid([{"image": np.zeros((4, 4, 3), np.uint8)}], Classes(("a", "b")), file)


WRITERS = {
    "note.txt": lambda file: write_text(file, "new"),
    "record.json": lambda file: write_json(file, {"new": 1}),
    "last.pt": lambda file: checkpoint.save({"step": 1, "weights": torch.zeros(9)}, file),
    "student.safetensors": save_student,
    "picture.png": draw,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file_and_keeps_the_old_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    file.write_text("old")

    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", no_room)
    with pytest.raises(UserError, match=rf"cannot write .*{name}: No space left on device; .*make room"):
        WRITERS[name](file)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert file.read_text() == "old"
    monkeypatch.undo()
    WRITERS[name](file)  # the same command again, once there is room
    assert file.read_bytes() != b"old"


def test_a_disk_that_fills_within_a_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Filling:
        def __init__(self, file: object) -> None:
            self.room = 5000

        def write(self, data: bytes) -> int:
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(data)

        def flush(self) -> None: ...

    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, Filling(file)))
    checkpoint.save({"step": 1}, tmp_path / "small.pt")
    with pytest.raises(UserError, match=r"cannot write .*large.pt: No space left on device"):
        checkpoint.save({"step": 1, "weights": torch.zeros(9999)}, tmp_path / "large.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["small.pt"]


def test_a_full_disk_names_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(tmp_path, step=0, tensorboard=False)
    metrics.path = tmp_path  # a folder cannot be appended to
    with pytest.raises(UserError, match="cannot write .*Is a directory"):
        metrics.log(1, "train", loss=1.0)


def test_file_and_folder_are_on_the_disk_before_and_after_the_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = tmp_path / "a", []
    monkeypatch.setattr(
        atomic.os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_ino, file.exists()))
    )
    write_text(file, "content")
    assert seen == [(file.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for link in ("a", "a.tmp"):
        (tmp_path / link).symlink_to(tmp_path / "mine")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_text() == "new"


def test_what_is_not_written_to_the_end_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_files_that_belong_together_appear_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("a/1", "b/2", "b/3")]
    seen: list[list[bool]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append([path.exists() for path in paths])
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", watched)
    with replacing_together(*paths) as files:
        for number, file in enumerate(files):
            file.write(b"%d" % number)
    assert [path.read_text() for path in paths] == ["0", "1", "2"]
    assert seen == [[False] * 3] * 3 + [[True] * 3] * 2  # three files, then two folders
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["1", "2", "3"]


def test_an_error_names_the_file_and_keeps_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    calls: list[int] = []

    def second_has_no_room(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", second_has_no_room)
    with pytest.raises(UserError, match="cannot write .*/b: No space left"), replacing_together(*paths) as files:
        for file in files:
            file.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert paths[0].read_text() == "old"
