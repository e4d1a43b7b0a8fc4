"""Records of a run: the commit of the source, and of no other project."""

import subprocess
from pathlib import Path

import pytest

from segdistill.runs import records


def git(folder: Path, *command: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", *author, *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_is_of_the_source_and_not_of_the_project_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "package" / "records.py"
    file.parent.mkdir()
    file.touch()
    (tmp_path / "mine.txt").touch()
    monkeypatch.setattr(records, "__file__", str(file))
    assert records.environment(0)["commit"] is None  # no checkout
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "mine.txt")
    git(tmp_path, "commit", "-qm", "mine")
    assert records.environment(0)["commit"] is None  # a checkout of another project
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "-qm", "package")
    assert records.environment(0)["commit"] == git(tmp_path, "rev-parse", "--short=12", "HEAD")
    file.write_text("changed")
    assert records.environment(0)["commit"].endswith("-dirty")
