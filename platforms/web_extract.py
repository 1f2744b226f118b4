"""From a page to rows: CSS selectors over what the server sent, in whatever character set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from nova.errors import UsageProblem

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from soupsieve import SoupSieve

Row = dict[str, str | None]

_ATTRIBUTE = re.compile(r"(?P<css>.*)@(?P<attribute>[A-Za-z_][\w:.-]*)", re.ASCII | re.DOTALL)
_LINKS = frozenset({"href", "src", "action", "poster"})
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


@dataclass(frozen=True, slots=True)
class Selector:
    """Where a value stands: `.price` is an element's text, `a@href` an attribute of it, `@id` one of the row itself.

    An empty `css` is the row itself; without an `attribute` its text is meant.
    """

    css: str
    attribute: str | None = None

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Raises UsageProblem where it is not CSS."""
        match = _ATTRIBUTE.fullmatch(text.strip())
        css, attribute = (match["css"].strip(), match["attribute"]) if match else (text.strip(), None)
        if css == ".":
            css = ""
        if not css and attribute is None and text.strip() != ".":
            raise UsageProblem("a selector is empty", hint="write CSS such as .price or a@href; . is the row itself")
        if css:
            _compiled(css)
        return cls(css, attribute)


@lru_cache(maxsize=256)
def _compiled(css: str) -> SoupSieve:
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
    page = parse(body, charset)
    base = _base(page, url)
    elements = [page] if row is None else _compiled(row).select(page)
    rows = [{name: _value(element, selector, base) for name, selector in fields.items()} for element in elements]
    return [one for one in rows if any(value is not None for value in one.values())]


def parse(body: bytes, charset: str | None) -> BeautifulSoup:
    """By the mark at its beginning, else `charset` (of the HTTP header), else what the page says of itself."""
    from bs4 import BeautifulSoup, UnicodeDammit

    found = UnicodeDammit(body, user_encodings=[charset] if charset else [], is_html=True)
    text = found.unicode_markup
    if text is None:
        text = body.decode("utf-8", "replace")
    page = BeautifulSoup(_DECLARATION.sub("", text, count=1) if "<" in text else "<!---->", "html.parser")
    for line_break in page.find_all("br"):
        line_break.replace_with("\n")
    return page


def _base(page: BeautifulSoup, url: str) -> str:
    found = page.find("base", href=True)
    href = found.get("href") if found is not None else None
    return _joined(url, href) if isinstance(href, str) else url


def _value(element: Tag, selector: Selector, base: str) -> str | None:
    found = _compiled(selector.css).select_one(element) if selector.css else element
    if found is None:
        return None
    if selector.attribute is None:
        return " ".join(found.get_text().split())
    value = found.get(selector.attribute)
    if value is None:
        return None
    text = " ".join(value if isinstance(value, list) else value.split())
    return _joined(base, text) if selector.attribute in _LINKS else text


def _joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:  # such as a bracket that is never closed
        return link
