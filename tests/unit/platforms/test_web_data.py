"""What a page holds beside its text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from platforms.web_data import (
    json_ld,
    links,
    next_page,
    open_graph,
    records_of,
    table_of,
    tables,
    value_at,
)
from platforms.web_extract import parse
from platforms.web_rows import Elements, Tables, Things

URL = "https://shop.example/list/1"


def page(html: str) -> BeautifulSoup:
    return parse(html.encode(), "utf-8")


def grid(html: str) -> list[list[str]]:
    (table,) = tables(page(html))
    return table_of(table)


def test_a_cell_that_spans_stands_in_every_place_it_covers() -> None:
    assert grid(
        "<table><tr><th rowspan=2>a</th><th colspan=2>b</th></tr><tr><th>c</th><th>d</th></tr>"
        "<tr><td>1</td><td rowspan=2>2</td><td>3</td></tr><tr><td>4</td><td>5</td></tr></table>"
    ) == [["a", "b", "b"], ["a", "c", "d"], ["1", "2", "3"], ["4", "2", "5"]]


@pytest.mark.parametrize(
    ("html", "rows"),
    [
        ("<table></table>", []),
        ("<table><tr></tr><tr><td>1</td></tr></table>", [["1"]]),
        ("<table><tr><td rowspan=0>a</td><td>b</td></tr><tr><td>c</td></tr></table>", [["a", "b"], ["a", "c"]]),
        ("<table><tr><td rowspan=99>a</td></tr></table>", [["a"]]),
        ("<table><tr><td colspan=x>a</td><td colspan=-2>b</td></tr></table>", [["a", "b"]]),
        ("<table><tr><td>a<tr><td>b<td>c</table>", [["a", ""], ["b", "c"]]),
        ("<table><thead><tr><th>h</th></tr></thead><tbody><tr><td>x<br>y</td></tr></tbody></table>", [["h"], ["x y"]]),
    ],
)
def test_tables_as_people_write_them(html: str, rows: list[list[str]]) -> None:
    assert grid(html) == rows


def test_a_table_within_a_cell_is_that_cells_text() -> None:
    found = tables(page("<table id=a><tr><td>1 <table><tr><td>2</td></tr></table></td></tr></table>"), "#a")
    assert table_of(found[0]) == [["1 2"]]


def test_a_table_that_would_fill_the_memory_has_no_rows() -> None:
    cells = "<td colspan=1000 rowspan=1000>x</td>" * 10
    assert grid(f"<table>{''.join(f'<tr>{cells}</tr>' for _ in range(300))}</table>") == []


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4), max_size=5))
def test_every_row_of_a_grid_is_as_wide_as_the_others(spans: list[list[tuple[int, int]]]) -> None:
    rows = "".join(
        f"<tr>{''.join(f'<td rowspan={high} colspan={wide}>x</td>' for high, wide in row)}</tr>" for row in spans
    )
    found = grid(f"<table><tr><td>first</td></tr>{rows}</table>")
    assert len({len(row) for row in found}) == 1


def test_records_are_named_by_the_first_row() -> None:
    (table,) = tables(page("<table><tr><th>n<th>n<th></tr><tr><td>1<td>2<td>3</tr><tr><th>n<th>n<th></tr></table>"))
    assert records_of(table) == [{"n": "1", "n 2": "2", "column 3": "3"}]


def test_links_are_absolute_and_told_once() -> None:
    html = '<a href="/a" rel="nofollow ugc">A  b</a><a href="/a">x</a><a href="mailto:x@y">m</a><a>n</a><a href="">'
    (link,) = links(page(html), URL)
    assert (link.url, link.text, link.rel) == ("https://shop.example/a", "A b", ("nofollow", "ugc"))


LD = """
<script type="application/ld+json">{"@graph": [{"@type": ["Product", "Thing"], "name": "Lamp\tx",
 "offers": [{"price": "9.50"}, {"price": 8}]}, {"@type": "Person", "name": "Kim"}]}</script>
<script type="application/ld+json">[{"@type": "Product", "name": "Pen", "offers": {"price": 2.5}}, 7]</script>
<script type="application/ld+json">{broken</script>
<script type="application/ld+json"></script>
"""


def test_things_are_told_in_json_ld_also_within_a_graph() -> None:
    assert [thing["name"] for thing in json_ld(page(LD), "Product")] == ["Lamp\tx", "Pen"]
    assert len(json_ld(page(LD))) == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", "x y"), ("b.c", "1"), ("b.d", None), ("l.c", "2"), ("e", "[1, 2]"), ("f.g", None), ("n", None)],
)
def test_a_path_leads_to_a_text(path: str, value: Any) -> None:
    thing = {"a": " x  y", "b": {"c": 1}, "l": [{"z": 0}, {"c": 2}], "e": [1, 2], "f": "text", "n": None}
    assert value_at(thing, path) == value


def test_open_graph_is_read_from_property_and_name() -> None:
    html = (
        '<meta property="og:title" content=" T "><meta property="og:title" content="U"><meta name="og:url" content="u">'
    )
    assert open_graph(page(html)) == {"og:title": "T", "og:url": "u"}


@pytest.mark.parametrize(
    ("html", "css", "found"),
    [
        ('<link rel="next" href="2">', None, "https://shop.example/list/2"),
        ('<a rel="nofollow next" href="?p=2">', None, "https://shop.example/list/1?p=2"),
        ('<a class=more href="2#top">', ".more", "https://shop.example/list/2"),
        ('<a rel="prev" href="0">', None, None),
        ('<a rel="next" href="#">', None, None),
        ('<a rel="next" href="javascript:go()">', None, None),
        ("<b class=more>", ".more", None),
    ],
)
def test_the_next_page_is_found(html: str, css: str | None, found: str | None) -> None:
    assert next_page(page(html), URL, css) == found


def test_rows_come_from_tables_things_and_open_graph() -> None:
    html = f'<meta property="og:site_name" content="S"><table><tr><th>N<th>P<tr><td>Pen<td>2</table>{LD}'
    assert Tables("table", {"name": "N", "price": "P", "none": "Q"}).rows(page(html), URL) == [
        {"name": "Pen", "price": "2", "none": None}
    ]
    assert Things("Product", {"name": "name", "price": "offers.price"}).rows(page(html), URL) == [
        {"name": "Lamp x", "price": "9.50"},
        {"name": "Pen", "price": "2.5"},
    ]
    assert Elements(None, {}, {"site": "og:site_name"}).rows(page(html), URL) == [{"site": "S"}]


@given(st.text(max_size=300))
def test_any_text_is_a_page(text: str) -> None:
    parsed = page(text)
    for table in tables(parsed):
        records_of(table)
    assert isinstance([links(parsed, URL), json_ld(parsed), open_graph(parsed), next_page(parsed, URL)], list)


def test_many_columns_of_one_name_take_no_more_than_linear_time() -> None:
    began = time.process_time()
    (table,) = tables(page("<table><tr>" + "<td>x" * 5_000 + "<tr>" + "<td>y" * 5_000 + "</table>"))
    (one,) = records_of(table)
    assert time.process_time() - began < 5.0  # compared one by one they took hours
    assert list(one)[:3] == ["x", "x 2", "x 3"]
    assert len(one) == 5_000
