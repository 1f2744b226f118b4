from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from nova.cli.output import Column, emit, facts, table
from nova.cli.terminal import confirm
from nova.errors import UsageProblem
from nova.money import Money

from .conftest import Screen


@dataclass(frozen=True, slots=True)
class Point:
    at: datetime
    paid: Money


def test_json_carries_decimal_strings_iso_times_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    emit({"b": Point(at, Money(412, "USD")), "a": Decimal("1.10"), "wait": timedelta(minutes=1), "names": {"y", "x"}})
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "b": {"at": "2026-01-02T03:04:05Z", "paid": "0.000412"},
        "a": "1.10",
        "wait": 60,
        "names": ["x", "y"],
    }
    assert out.index('"b"') < out.index('"a"')


def test_not_a_number_is_no_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        emit({"x": float("nan")})


def test_a_table_in_a_pipe_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    table([Column("name"), Column("paid", right=True)], [["a", "$1.00"], [long, "$12.00"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name" + " " * 298 + "  paid"
    assert lines[1] == "a" + " " * 299 + "   $1.00"
    assert lines[2] == f"{long}  $12.00"


def test_what_a_worker_printed_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table([Column("error")], [["\x1b[2Jgone\r\nnext"]])
    facts([("note", "a\x07b\u202ec")])
    assert capsys.readouterr().out == "error\n?[2Jgone  next\nnote  a?b?c\n"


def test_a_table_on_a_terminal_fits_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    table([Column("name"), Column("state", state=True), Column("error", wrap=True)], [["a", "parked", "word " * 30]])
    assert max(len(line) for line in screen.text.splitlines()) <= 40
    assert "\x1b[" not in screen.text
    assert "parked" in screen.text


def test_colour_on_a_terminal_unless_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table([Column("state", state=True)], [["parked"]])
    assert "\x1b[" in screen.text


def test_what_destroys_needs_a_yes_where_nobody_can_answer() -> None:
    with pytest.raises(UsageProblem) as refused:
        confirm("kill it?", yes=False)
    assert refused.value.hint == "without a terminal, pass --yes"
    confirm("kill it?", yes=True)
