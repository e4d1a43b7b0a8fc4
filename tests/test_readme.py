"""The README and the pages: what they show works, and what they list is complete."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.recipes import METHODS, load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHODS_PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
DATA_PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(page: str, language: str) -> str:
    """Return the first fenced block of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[0]


def commands() -> Iterator[list[str]]:
    """Yield every segdistill command of the fenced blocks, as words without comments."""
    for page in PAGES:
        for shown in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in shown.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["segdistill"]:
                    yield words[1:]


def test_the_readme_fits_in_ten_minutes() -> None:
    assert len(README.splitlines()) <= 150


def test_the_snippet_runs_when_pasted() -> None:
    # In a process of its own: a reader has imported nothing before.
    done = subprocess.run([sys.executable, "-c", block(README, "python")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "CrossEntropy" in done.stdout


def test_the_recipe_loads(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(block(README, "yaml"))
    recipe = load(file, ["train.learning_rate=0.01"])
    assert recipe.teacher is not None
    assert recipe.teacher.train is None
    assert recipe.terms["gskd"].weight == 5
    assert recipe.terms["gskd"].hyperparameters["stride"] == "classes"
    assert (recipe.train.iterations, recipe.data.crop) == (20000, (384, 384))


def test_the_comparisons_can_be_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segdistill.comparison.plan import plan

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(block(README, "yaml"))
    runs = []
    for name, *words in commands():
        if name == "compare":
            recipe, *changes = words[: words.index("--methods")]
            methods, seeds = (words[words.index(option) + 1] for option in ("--methods", "--seeds"))
            runs.append(len(plan(recipe, changes, methods, seeds).runs))
    # Rows, with the student alone, times seeds: in README, choosing, compare (three times), experiments and replay.
    assert runs == [5 * 3, 5 * 3, 5 * 3, 5 * 3, 4 * 3, 4 * 3, 7 * 3, 4 * 3]


def test_every_command_exists() -> None:
    from segdistill.cli.app import app

    known = typer.main.get_command(app).commands.keys()  # type: ignore[attr-defined]
    shown = {words[0] for words in commands()}
    assert {"doctor", "distill", "predict", "compare", "sweep", "evaluate", "recipes", "data"} <= shown <= known


def test_every_changed_key_exists(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(block(README, "yaml"))
    recipes = 0
    for name, *words in commands():
        if name in ("distill", "doctor") and words:
            load(file if words[0] == "mine.yaml" else words[0], [word for word in words[1:] if "=" in word])
            recipes += 1
    assert recipes >= 5


@pytest.mark.parametrize("page", [README, DATA_PAGE], ids=["README", "data"])
def test_the_classes_file_is_one(page: str) -> None:
    shown = re.search(r'^.*(\{"classes".*\})', page, re.MULTILINE)
    assert shown
    description = json.loads(shown[1])
    assert len(description["classes"]) == len(description["palette"])


@pytest.mark.parametrize("page", [README, METHODS_PAGE], ids=["README", "methods"])
def test_every_method_is_listed(page: str) -> None:
    assert [method for method in METHODS if f"`{method}`" not in page] == []


def test_the_number_of_losses() -> None:
    assert f"any of {sum(card.teacher for card in LOSS_CARDS)} published losses" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page.name} links to {target}"


def slug(heading: str) -> str:
    """Return the anchor of a heading: lower case, hyphens for spaces, other signs dropped."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
