"""The site: built without a warning, complete, and loading nothing from a network."""

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.cli.app import app
from segdistill.recipes.keys import describe, key_names
from tests.docs.pages import DOCS, PAGES
from tests.reports.html.browser import CHROMIUM, Page, browser

COMMANDS = typer.main.get_command(app).commands


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # The command of `make site`.
    words = ["-m", "sphinx", "--builder", "html", "--fail-on-warning", "--quiet", str(DOCS), str(folder)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: `make test-browser` installs Debian's")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def text_of(site: Path, page: str) -> str:
    return (site / f"{page}.html").read_text(encoding="utf-8")


def test_every_page_is_in_the_menu(site: Path) -> None:
    index = text_of(site, "index")
    menu = index[index.index('class="sidebar-tree"') :]
    for page in PAGES:
        assert (site / f"{page.stem}.html").is_file()
        assert page.stem == "index" or f'href="{page.stem}.html"' in menu, page.stem


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    loading = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]*)\"")
    for file in site.rglob("*.html"):
        assert loading.findall(file.read_text(encoding="utf-8")) == [], file.name
    for file in site.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import", file.read_text(encoding="utf-8")) == [], file.name


def test_every_command_with_every_option_and_example(site: Path) -> None:
    page = text_of(site, "commands")
    for name, command in COMMANDS.items():
        section = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
        assert section, name
        plain = html.unescape(re.sub(r"<[^>]+>", "", section[0]))
        for paragraph in command.help.split("\n\n"):
            assert " ".join(paragraph.replace("`", "").split()) in " ".join(plain.split())
        for parameter in command.params:
            named = parameter.opts[0] if parameter.param_type_name == "option" else (parameter.metavar or "")
            assert named.strip("[]") in plain
            assert (parameter.help or "").replace("`", "") in plain
        for example in command.epilog.split("\n\n")[1:]:
            assert example in plain


def test_every_key_of_a_recipe(site: Path) -> None:
    plain = html.unescape(re.sub(r"<[^>]+>", "", text_of(site, "schema")))
    sections = {name.rpartition(".")[0] for name in key_names()}
    for name in set(key_names()) - sections - {"terms"}:
        (key,) = (each for each in describe(name) if each.name == name)
        assert f"\n{key.name}\n{key.type}\n" in plain, name
    assert "terms.NAME.weight" in plain


def test_every_loss_has_its_equation_and_its_docstring(site: Path) -> None:
    losses, api = text_of(site, "losses"), text_of(site, "api")
    for card in LOSS_CARDS:
        section = re.search(rf'<section id="{card.name.replace("_", "-")}">.*?</section>', losses, re.DOTALL)
        assert section, card.name
        assert "<math" in section[0]
        assert f'id="segdistill.losses.{card.module if card.module_only else card.name}"' in api
    assert "\\frac" not in losses + api


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_pages_fit_and_request_nothing_else(site: Path, chromium: Page, width: int, dark: bool) -> None:
    for page in ("index", "tutorial", "losses", "schema", "commands", "api", "results"):
        chromium.open(site / f"{page}.html", width=width, dark=dark)
        assert all(address.startswith(site.resolve().as_uri()) for address in chromium.requests), page
        assert chromium.run("document.documentElement.scrollWidth") <= width, page
        lightness = chromium.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
        assert (int(lightness) < 60) == dark
