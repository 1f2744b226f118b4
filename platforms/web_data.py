"""What a page holds beside its text: tables, links, JSON-LD, OpenGraph, and where its next page is."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platforms.web_extract import base_of, compiled, joined, text_of

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_MOST_SPAN = 1000  # as HTML has it for columns
_MOST_CELLS = 200_000
_COMMENT = re.compile(r"^\s*<!--|-->\s*$|^\s*//<!\[CDATA\[|//\]\]>\s*$")


@dataclass(frozen=True, slots=True)
class Link:
    """`url` is absolute; `rel` are the words of its rel attribute."""

    url: str
    text: str
    rel: tuple[str, ...] = ()


def table_of(element: Tag) -> list[list[str]]:
    """The texts of a table's cells, row by row; a cell that spans rows or columns stands in each of them.

    Tables within its cells are texts. As HTML's own algorithm has it, `rowspan="0"` reaches to the end.
    """
    rows = [row for row in element.find_all("tr") if row.find_parent("table") is element]
    grid: list[dict[int, str]] = [{} for _ in rows]
    left = _MOST_CELLS
    for top, row in enumerate(rows):
        column = 0
        for cell in row.find_all(["td", "th"], recursive=False):
            while column in grid[top]:
                column += 1
            wide = _span(cell, "colspan") or 1
            high = min(_span(cell, "rowspan") or len(rows), len(rows) - top)
            left -= wide * high
            if left < 0:
                return []
            text = text_of(cell)
            for down in range(top, top + high):
                grid[down].update(dict.fromkeys(range(column, column + wide), text))
            column += wide
    width = max((max(row) + 1 for row in grid if row), default=0)
    return [[row.get(column, "") for column in range(width)] for row in grid if row]


def records_of(element: Tag) -> list[dict[str, str]]:
    """A table's rows by its first row's texts; where two columns are called the same, the second is `NAME 2`."""
    rows = table_of(element)
    if not rows:
        return []
    names = dict[str, None]()
    again = Counter[str]()
    for number, text in enumerate(rows[0], 1):
        name = base = text or f"column {number}"
        while name in names:
            again[base] += 1
            name = f"{base} {again[base] + 1}"
        names[name] = None
    return [dict(zip(names, row, strict=True)) for row in rows[1:] if row != rows[0]]


def tables(page: BeautifulSoup, css: str = "table") -> list[Tag]:
    return [found for found in compiled(css).select(page) if found.name == "table"]


def links(page: BeautifulSoup, url: str, css: str = "a") -> list[Link]:
    """Those that lead to a page, each address once."""
    base, found = base_of(page, url), dict[str, Link]()
    for element in compiled(css).select(page):
        href = element.get("href")
        if isinstance(href, str) and href.strip():
            target = joined(base, href.strip())
            if target.startswith(("http://", "https://")):
                found.setdefault(target, Link(target, text_of(element), _words(element.get("rel"))))
    return list(found.values())


def json_ld(page: BeautifulSoup, kind: str | None = None) -> list[Mapping[str, Any]]:
    """The things that a page tells of in schema.org's words, those within a @graph too; only of a @type, if given."""
    found = [thing for script in page.find_all("script", type="application/ld+json") for thing in _things(script)]
    return [thing for thing in found if kind is None or kind in _words(thing.get("@type"))]


def open_graph(page: BeautifulSoup) -> dict[str, str]:
    """Its og: and product: properties, the first of each name."""
    found: dict[str, str] = {}
    for meta in page.find_all("meta"):
        name, content = meta.get("property") or meta.get("name"), meta.get("content")
        if isinstance(name, str) and isinstance(content, str) and name.startswith(("og:", "product:", "article:")):
            found.setdefault(name, content.strip())
    return found


def next_page(page: BeautifulSoup, url: str, css: str | None = None) -> str | None:
    """Where the listing goes on: what `css` selects, else what says rel="next"."""
    candidates = [page.find(["link", "a"], rel="next")] if css is None else [compiled(css).select_one(page)]
    for element in candidates:
        href = element.get("href") if element is not None else None
        if isinstance(href, str) and href.strip():
            target = joined(base_of(page, url), href.strip()).partition("#")[0]
            if target.startswith(("http://", "https://")) and target != url.partition("#")[0]:
                return target
    return None


def value_at(thing: Any, path: str) -> str | None:
    """By a path such as `offers.price`; of a list its first that has it. What is no text is written as JSON has it."""
    for name in path.split("."):
        if isinstance(thing, list):
            thing = next((one for one in thing if isinstance(one, dict) and name in one), None)
        thing = thing.get(name) if isinstance(thing, dict) else None
    if isinstance(thing, list) and len(thing) == 1:
        thing = thing[0]
    if thing is None or isinstance(thing, str):
        return None if thing is None else " ".join(thing.split())
    return json.dumps(thing, ensure_ascii=False)


def _things(script: Tag) -> Iterator[Mapping[str, Any]]:
    text = _COMMENT.sub("", script.string or "")
    try:
        told = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return
    for thing in told if isinstance(told, list) else [told]:
        if not isinstance(thing, dict):
            continue
        graph = thing.get("@graph")
        if isinstance(graph, list):
            yield from (inner for inner in graph if isinstance(inner, dict))
        else:
            yield thing


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _span(cell: Tag, name: str) -> int:
    value = cell.get(name)
    text = value.strip() if isinstance(value, str) else ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1
    return min(number, _MOST_SPAN)
