"""A page, parsed: every element with its attributes, and what is wrong with it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "link", "br", "hr"}
LOADS = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "background")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    inside: tuple[str, ...]
    content: list["Element | str"] = field(default_factory=list)

    @property
    def children(self) -> list["Element"]:
        return [each for each in self.content if isinstance(each, Element)]

    def all(self, tag: str) -> list["Element"]:
        found = [self] if self.tag == tag else []
        return [*found, *(each for child in self.children for each in child.all(tag))]

    def words(self) -> str:
        return "".join(each if isinstance(each, str) else each.words() for each in self.content)

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {}, ())
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(each.tag for each in self.open))
        self.open[-1].content.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def parse(page: str) -> Element:
    """Return the root of a page. Fail if an element is not closed, or closed in the wrong place."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == [parser.root], f"not closed: {[each.tag for each in parser.open[1:]]}"
    return parser.root


def check(page: str) -> Element:
    """Return the root of a page that loads nothing and that a screen reader can read; fail for any other."""
    assert page.startswith("<!DOCTYPE html>")
    root = parse(page)
    every = [each for child in root.children for each in _flat(child)]
    for each in every:
        for name in LOADS:
            value = each.attributes.get(name, "#")
            assert value.startswith(("#", "data:image/webp;base64,")), f"<{each.tag} {name}={value[:40]}>"
        assert not any(name.startswith("on") for name in each.attributes), f"a handler in <{each.tag}>"
    assert "url(" not in page
    assert "@import" not in page
    ids = [each["id"] for each in every if "id" in each.attributes]
    assert len(ids) == len(set(ids)), "an id twice"
    for each in every:
        for name in ("aria-labelledby", "for", "aria-describedby"):
            assert set(each.attributes.get(name, "").split()) <= set(ids)
        if each.attributes.get("href", "").startswith("#"):
            assert each["href"][1:] in ids
    assert all(each["alt"] for each in root.all("img"))
    for table in root.all("table"):
        assert table.all("caption")[0].words().strip()
        assert all(each["scope"] in ("col", "row") for each in table.all("th"))
        assert all(each["aria-sort"] == "none" and each.all("button") for each in table.all("thead")[0].all("th"))
        wide = len(table.all("thead")[0].all("th"))
        assert all(len(row.children) == wide for row in table.all("tr"))
    for chart in (each for each in root.all("svg") if each.attributes.get("role") == "img"):
        assert chart.children[0].tag == "title"
        assert chart.children[1].tag == "desc"
        assert all(each.words() for each in chart.children[:2])
    for control in [*root.all("input"), *root.all("select")]:
        assert "label" in control.inside, "a control without a label"
    return root


def _flat(element: Element) -> list[Element]:
    return [element, *(each for child in element.children for each in _flat(child))]
