"""The pages of the site and the fenced blocks in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """Return language and content of the fenced blocks in these languages, in their order."""
    return re.findall(rf"^```({'|'.join(languages)})\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
