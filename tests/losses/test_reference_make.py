"""The script that makes golden files: what it lists, what it makes of a repository, and what it compares."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.losses.reference.case import Case
from tests.losses.reference.golden import difference, read
from tests.losses.reference.inputs import Tensors, features, pair, with_weights
from tests.losses.reference.make import CASES, REPOSITORIES, catalogue, one
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import Repository

CODE = """
from turtle import forward
from .other import SCALE
import torch

class Loss(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 1, bias=False)
        self.norm = torch.nn.SyncBatchNorm(3)
    def forward(self, s, t):
        return SCALE * self.layer((s.cuda() - t).pow(2)).mean() + torch.tensor(0.).cuda()
"""


@pytest.fixture
def repos(tmp_path: Path) -> tuple[Path, Repository]:
    """A folder with one clone, whose newest commit breaks the code of the one before."""
    clone = tmp_path / "repos" / "Mine"
    (clone / "losses").mkdir(parents=True)

    def git(*arguments: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", "-C", clone, *author, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (clone / "losses" / "__init__.py").write_text("raise RuntimeError('no code of a package runs')")
    (clone / "losses" / "other.py").write_text("SCALE = 3")
    (clone / "losses" / "mine.py").write_text(CODE)
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    (clone / "losses" / "mine.py").write_text("broken(")
    git("commit", "-qam", "second")
    return clone.parent, Repository("me", "Mine", commit)


def case(repository: Repository, compute: Callable[[Release, Tensors], object] | None = None) -> Case:
    def default(release: Release, x: Tensors) -> torch.Tensor:
        return with_weights(release("losses/mine.py").Loss().requires_grad_(False), x)(*pair(x, "features"))

    return Case("mine_case0", repository, features(3, 3), compute or default)


def test_every_repository_has_a_commit_and_files() -> None:
    listed = catalogue()
    for repository in REPOSITORIES:
        assert len(repository.commit) == 40
        assert f"git clone {repository.url}  # at {repository.commit}; license: {repository.license}\n" in listed
    assert all(case.name in listed for case in CASES)
    assert len({case.name for case in CASES}) == len(CASES)


def test_makes_a_file_and_finds_it_again(repos: tuple[Path, Repository], tmp_path: Path) -> None:
    folder, repository = repos
    out = tmp_path / "golden"
    one(case(repository), folder, out, None)
    inputs, results = read(out / "mine_case0.npz", case(repository))
    weight = inputs["w_layer__weight"]
    student, teacher = pair(inputs, "features")
    expected = 3 * ((student - teacher) ** 2 @ weight.T).mean()
    torch.testing.assert_close(results["loss"], expected)
    gradient = 3 * 2 * (student - teacher) * weight[0] / (2 * 3 * 8)
    torch.testing.assert_close(results["grad_student_features"], gradient)
    assert one(case(repository), folder, None, out) == "largest difference 0.0e+00"
    assert torch.get_default_dtype() == torch.float32


def test_difference() -> None:
    golden = {"loss": torch.tensor(2.0), "grad_x": torch.tensor([4.0, 0.0]), "temperature": torch.tensor(4.0)}
    results = {"loss": torch.tensor(2.0), "grad_x": torch.tensor([4.0, 1.0])}
    assert difference(results, golden) == 0.25
    assert difference({"loss": torch.tensor(2.0)}, golden) == float("inf")


def test_what_is_missing_is_named(repos: tuple[Path, Repository]) -> None:
    folder, repository = repos
    absent = Repository("me", "Other", repository.commit)
    assert one(case(absent), folder, None, None).endswith("Other is not there: git clone https://github.com/me/Other")
    unknown = Repository("me", "Mine", "1" * 40)
    assert one(case(unknown), folder, None, None).startswith("left out: fatal")

    def missing(release: Release, x: Tensors) -> torch.Tensor:
        import not_a_module  # noqa: F401

        return x["student_features"].sum()

    assert "needs the Python module not_a_module" in one(case(repository, missing), folder, None, None)
    assert torch.get_default_dtype() == torch.float32
