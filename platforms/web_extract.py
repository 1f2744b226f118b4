"""From a page to rows: CSS selectors over what the server sent, in whatever character set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from nova.errors import UsageProblem

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from soupsieve import SoupSieve

Value = str | list[str] | None
Row = dict[str, Value]

_ATTRIBUTE = re.compile(r"(?P<css>.*)@(?P<attribute>[A-Za-z_][\w:.-]*)", re.ASCII | re.DOTALL)
_SIMPLE = re.compile(r"(?P<name>[a-z][a-z0-9]*)?(?:\.(?P<class>[A-Za-z_][\w-]*))?", re.ASCII)
_LINKS = frozenset({"href", "src", "action", "poster"})
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


@dataclass(frozen=True, slots=True)
class Selector:
    """Where a value stands: `.price` is an element's text, `a@href` an attribute of it, `@id` one of the row itself.

    An empty `css` is the row itself; without an `attribute` its text is meant. `.tag[]` is a list of all there are.
    """

    css: str
    attribute: str | None = None
    every: bool = False

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Raises UsageProblem where it is not CSS."""
        text, every = text.strip().removesuffix("[]").strip(), text.strip().endswith("[]")
        match = _ATTRIBUTE.fullmatch(text)
        css, attribute = (match["css"].strip(), match["attribute"]) if match else (text, None)
        if css == ".":
            css = ""
        if not css and (every or (attribute is None and text != ".")):
            raise UsageProblem("a selector is empty", hint="write CSS such as .price or a@href; . is the row itself")
        if css:
            compiled(css)
        return cls(css, attribute, every)


@lru_cache(maxsize=256)
def compiled(css: str) -> SoupSieve:
    import soupsieve

    try:
        return soupsieve.compile(css)
    except soupsieve.SelectorSyntaxError as problem:
        reason = str(problem).splitlines()[0]
        raise UsageProblem(f"not a CSS selector: {css!r}: {reason}", hint="such as .price or table.items tr") from None


def extract(body: bytes, charset: str | None, url: str, row: str | None, fields: Mapping[str, Selector]) -> list[Row]:
    """A row for each element that `row` selects, or one for the page; a field that is not there is None.

    Rows without any field are left out. Blanks are collapsed, so that no value has a line break; links are absolute.
    """
    return rows_of(parse(body, charset), url, row, fields)


def rows_of(page: BeautifulSoup, url: str, row: str | None, fields: Mapping[str, Selector]) -> list[Row]:
    """The same of a page that is parsed."""
    base = base_of(page, url)
    elements = [page] if row is None else _selected(page, row, _inner(page))
    rows = [_row(element, fields, base) for element in elements]
    return [one for one in rows if any(value is not None and value != [] for value in one.values())]


def parse(body: bytes, charset: str | None) -> BeautifulSoup:
    """By the mark at its beginning, else `charset` (of the HTTP header), else what the page says of itself.

    Raises PageTooLarge where it has so many elements that reading it would take too long.
    """
    from bs4 import BeautifulSoup

    from platforms.web_tree import Decoded, TreeBuilder

    found = Decoded(body, user_encodings=[charset] if charset else [], is_html=True)
    text = found.unicode_markup
    if text is None:
        text = body.decode("utf-8", "replace")
    text = _DECLARATION.sub("", text, count=1) if "<" in text else "<!---->"
    return BeautifulSoup(text, builder=TreeBuilder())


def base_of(page: BeautifulSoup, url: str) -> str:
    """What its relative links stand to."""
    found = page.find("base", href=True)
    href = found.get("href") if found is not None else None
    return joined(url, href) if isinstance(href, str) else url


def joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:  # such as a bracket that is never closed
        return link


def text_of(element: Tag) -> str:
    """Without line breaks and repeated blanks."""
    return " ".join(element.get_text().split())


def _row(element: Tag, fields: Mapping[str, Selector], base: str) -> Row:
    inner = _inner(element)
    return {name: _value(element, selector, base, inner) for name, selector in fields.items()}


def _inner(element: Tag) -> list[Tag]:
    """All elements within it, in their order."""
    from bs4 import Tag

    return [found for found in element.descendants if isinstance(found, Tag)]


def _value(element: Tag, selector: Selector, base: str, inner: Sequence[Tag]) -> Value:
    if not selector.css:
        return _one(element, selector.attribute, base)
    found = _selected(element, selector.css, inner)
    if selector.every:
        every = [_one(one, selector.attribute, base) for one in found]
        return [value for value in every if value is not None]
    first = next(iter(found), None)
    return None if first is None else _one(first, selector.attribute, base)


def _selected(element: Tag, css: str, inner: Iterable[Tag]) -> Iterable[Tag]:
    """Most selectors are a name or a class, for which the whole machinery of CSS takes longer than the search."""
    simple = _SIMPLE.fullmatch(css)
    if simple is None:
        return compiled(css).iselect(element)
    name, wanted = simple["name"], simple["class"]
    if wanted is None:
        return (one for one in inner if one.name == name)
    return (one for one in inner if wanted in (one.get("class") or ()) and (name is None or one.name == name))


def _one(element: Tag, attribute: str | None, base: str) -> str | None:
    if attribute is None:
        return text_of(element)
    value = element.get(attribute)
    if value is None:
        return None
    text = " ".join(value if isinstance(value, list) else value.split())
    return joined(base, text) if attribute in _LINKS else text
