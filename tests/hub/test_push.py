"""Pushing, with a client that reaches no network."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HTTPError, LocalTokenNotFoundError
from rich.console import Console

from segdistill.errors import UserError
from segdistill.jobs.hub import hub, push
from tests.export.conftest import run
from tests.hub.folders import write_run


class Client:
    """A client that records its calls, or fails."""

    calls: list[tuple[str, Any]]
    error: Exception | None = None

    def create_repo(self, name: str, **options: object) -> str:
        if self.error is not None:
            raise self.error
        self.calls.append(("create", {"name": name, **options}))
        return f"https://hub.test/{name}"

    def upload_folder(self, **options: object) -> None:
        self.calls.append(("upload", options))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    monkeypatch.setattr(Client, "calls", [], raising=False)
    monkeypatch.setattr(Client, "error", None)
    monkeypatch.setattr(huggingface_hub, "HfApi", Client)
    return Client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", "tests.networks:small")
    return hub(tmp_path / "run", license="mit", console=Console(quiet=True))


def test_creates_the_repository_and_uploads_the_folder(
    client: type[Client], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "push", str(folder), "team/student") == 0
    assert capsys.readouterr().out == "https://hub.test/team/student\n"
    (_, created), (_, uploaded) = client.calls
    assert created == {"name": "team/student", "exist_ok": True, "private": None}
    assert (uploaded["repo_id"], uploaded["folder_path"]) == ("team/student", folder)
    push(folder, "team/student", private=True, console=Console(quiet=True))
    assert client.calls[2][1]["private"] is True


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (LocalTokenNotFoundError("Token is required.\nMore lines."), "team/student: Token is required; check"),
        (HTTPError("[Errno -2] Name or service not known"), "Name or service not known"),
        (OSError("offline"), "offline"),
    ],
)
def test_errors_are_one_line(
    error: Exception,
    shown: str,
    client: type[Client],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(client, "error", error)
    assert run(monkeypatch, "push", str(folder), "team/student") == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: cannot push {folder} to team/student: ")
    assert shown in printed
    assert printed.count("\n") == 1
    assert "hf auth login, or HF_TOKEN" in printed


@pytest.mark.parametrize("name", ["student", "a/b/c", "team/", "/student", "team/my student", "../x"])
def test_a_malformed_name_reaches_no_client(name: str, client: type[Client], folder: Path) -> None:
    with pytest.raises(UserError, match=r"must have the form org/name"):
        push(folder, name)
    assert client.calls == []


def test_only_a_folder_with_a_card_is_pushed(client: type[Client], folder: Path) -> None:
    with pytest.raises(UserError, match=r"run holds no README\.md with a model card; .*segdistill hub RUN --license"):
        push(folder.parent, "team/student")
    assert client.calls == []


def test_hub_without_a_license_exits_with_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "hub", str(folder.parent), "--out", str(folder.parent / "other")) == 2
    printed = capsys.readouterr().err
    assert "--license NAME" in printed
    assert printed.count("\n") == 1
    assert not (folder.parent / "other").exists()
    assert run(monkeypatch, "hub", str(folder.parent), "--license", "mit", "--out", str(folder.parent / "other")) == 0
    assert (folder.parent / "other" / "README.md").is_file()
