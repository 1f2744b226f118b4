from __future__ import annotations

import pytest

from nova.cli.layout import Column, cells, folded_text, lines

MONEY = ("$1,234,567.89", "$1,000,000.00", "$234,567.89", "1,234%")
COLUMNS = (
    Column("name"),
    Column("state", state=True),
    *(Column(head, right=True) for head in ("revenue", "cost", "profit", "ROI")),
    Column("last error", wrap=True),
)


def drawn(columns: tuple[Column, ...], rows: list[list[str]], width: int | None) -> list[str]:
    return ["".join(part.text for part in line).rstrip() for line in lines(columns, rows, width)]


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_a_figure_is_never_cut(width: int) -> None:
    rows = [["a-name-of-some-length", "paused (operator)", *MONEY, "the command failed: exit code 1"]]
    text = "\n".join(drawn(COLUMNS, rows, width))
    assert all(figure in text for figure in MONEY)


def test_words_that_fit_nowhere_beside_the_figures_stand_below_their_row() -> None:
    rows = [["mailer", "active", *MONEY, "the command failed: exit code 1"], ["other", "active", *MONEY, ""]]
    shown = drawn(COLUMNS, rows, 80)
    assert shown[2] == "    the command failed: exit code 1"
    assert shown[3].startswith("other")
    assert len(shown) == 4
    assert max(map(len, shown)) <= 80


def test_words_are_folded_beside_the_rest_where_there_is_room() -> None:
    shown = drawn((Column("id"), Column("why", wrap=True)), [["d-1", "word " * 12]], 40)
    assert shown[0] == "id   why"
    assert shown[1:] == ["d-1  " + "word " * 6 + "word", "     word word word word word"]


def test_two_columns_of_words_share_what_is_left() -> None:
    columns = (Column("check"), Column("found", wrap=True), Column("to do", wrap=True))
    shown = drawn(columns, [["disk", "x" * 90, "look"]], 80)
    assert max(map(len, shown)) <= 80
    assert shown[1].endswith("look")
    assert sum(line.count("x") for line in shown) == 90


def test_an_id_is_never_cut_and_nothing_is_not_said_below_a_row() -> None:
    columns = (Column("worker"), Column("payment", whole=True), Column("for", wrap=True))
    rows = [["a-worker-with-a-name", "pi_" + "3" * 24, "-"], ["other", "pi_1", "a letter a week"]]
    shown = drawn(columns, rows, 40)
    assert "pi_" + "3" * 24 in shown[1]
    assert len(shown) == 4
    assert shown[3] == "    a letter a week"


def test_names_are_cut_last_and_the_widest_first() -> None:
    columns = (Column("platform"), Column("key"), Column("paid", right=True))
    shown = drawn(columns, [["stripe", "A_VERY_LONG_VARIABLE_OF_THE_ENVIRONMENT", "$12.00"]], 40)
    assert shown[1].startswith("stripe   A_VERY_LONG")
    assert shown[1].endswith("… $12.00")
    assert max(map(len, shown)) <= 40


def test_an_empty_table_is_its_head() -> None:
    assert drawn((Column("a"), Column("b", wrap=True)), [], 80) == ["a  b"]


def test_wide_letters_count_twice() -> None:
    assert cells("日本") == 4
    assert cells("e\u0301") == 1
    assert folded_text("日本語", 4) == ["日本", "語"]
    assert drawn((Column("a"), Column("b")), [["日本", "x"], ["abcd", "x"]], None)[1:] == ["日本  x", "abcd  x"]
