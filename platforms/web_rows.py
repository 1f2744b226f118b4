"""From a page to rows, by where they stand: elements, a table, or what it tells of itself in schema.org's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platforms.web_data import json_ld, open_graph, records_of, tables, value_at
from platforms.web_extract import Row, Selector, rows_of

if TYPE_CHECKING:
    from bs4 import BeautifulSoup


@dataclass(frozen=True, slots=True)
class Elements:
    """`row` is CSS (None: the page is one row); a field of `graph` is an OpenGraph property, the same in every row."""

    row: str | None
    fields: Mapping[str, Selector]
    graph: Mapping[str, str]

    def rows(self, page: BeautifulSoup, url: str) -> list[Row]:
        rows = rows_of(page, url, self.row, self.fields) if self.fields else [{}]
        told = open_graph(page) if self.graph else {}
        whole = [{**row, **{name: told.get(key) for name, key in self.graph.items()}} for row in rows]
        return [row for row in whole if any(value is not None for value in row.values())]


@dataclass(frozen=True, slots=True)
class Tables:
    """`fields` name columns by their heads."""

    css: str
    fields: Mapping[str, str]

    def rows(self, page: BeautifulSoup, url: str) -> list[Row]:
        records = [record for element in tables(page, self.css) for record in records_of(element)]
        rows = [Row({name: record.get(column) for name, column in self.fields.items()}) for record in records]
        return [row for row in rows if any(value is not None for value in row.values())]


@dataclass(frozen=True, slots=True)
class Things:
    """`fields` are paths within things of this schema.org type."""

    kind: str
    fields: Mapping[str, str]

    def rows(self, page: BeautifulSoup, url: str) -> list[Row]:
        rows = [
            Row({name: value_at(thing, path) for name, path in self.fields.items()})
            for thing in json_ld(page, self.kind)
        ]
        return [row for row in rows if any(value is not None for value in row.values())]


Source = Elements | Tables | Things
