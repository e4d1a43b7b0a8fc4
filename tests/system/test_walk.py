"""Files in linked folders are found, each once for each way to it, and no link leads around."""

from pathlib import Path

import pytest

from segdistill.errors import UserError
from segdistill.system.walk import files_below


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in files_below(folder))


def test_plain_folders_are_as_rglob_reads_them(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "deep/b.png", "deep/deeper/c.txt", ".hidden/d.png")
    expected = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found(tmp_path) == expected
    assert len(expected) == 4
    assert found(tmp_path / "missing") == []


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    make(tmp_path, "far/x/1.png", "set/2.png")
    (tmp_path / "set/one").symlink_to("../far")
    (tmp_path / "set/two").symlink_to(tmp_path / "far/x")  # the same file on two ways
    (tmp_path / "set/3.png").symlink_to("2.png")
    (tmp_path / "alias").symlink_to("set")
    assert found(tmp_path / "alias") == found(tmp_path / "set") == ["2.png", "3.png", "one/x/1.png", "two/1.png"]


def test_a_link_to_a_missing_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "lost.png").symlink_to("nowhere")
    assert found(tmp_path) == ["lost.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_links_that_lead_back_are_not_followed(tmp_path: Path, target: str) -> None:
    make(tmp_path, "set/train/1.png", "set/val/2.png")
    (tmp_path / "set/train/loop").symlink_to(target)
    assert found(tmp_path / "set/train") == ["1.png"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match=r"cannot read folder '.*': Permission denied; allow it, or move the folder"):
        found(tmp_path)


def test_links_in_a_circle(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/b").symlink_to("../b")
    (tmp_path / "b/a").symlink_to("../a")
    assert found(tmp_path / "a") == ["1.png", "b/2.png"]


def test_names_that_begin_alike_are_other_folders(tmp_path: Path) -> None:
    make(tmp_path, "set1/1.png", "set/2.png")
    (tmp_path / "set1/more").symlink_to("../set")
    assert found(tmp_path / "set1") == ["1.png", "more/2.png"]
