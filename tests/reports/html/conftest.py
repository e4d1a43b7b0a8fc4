"""Chromium for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.reports.html.browser import Page, browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
