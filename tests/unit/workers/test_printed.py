# ruff: noqa: T201
from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from workers.logging_setup import MAX_BYTES, trim
from workers.printed import captured, printing_to


def test_what_is_printed_goes_line_by_line_to_the_run_that_prints_it() -> None:
    lines: list[str] = []
    with captured(), printing_to(lines.extend):
        print("one", "two")
        print("thr", end="")
        print("ee\nfour", end="", file=sys.stderr)
        assert lines == ["one two", "three"]
    assert lines == ["one two", "three", "four"]


def test_a_line_without_end_is_bounded() -> None:
    lines: list[str] = []
    with captured(), printing_to(lines.extend):
        for _ in range(100):
            sys.stdout.write("x" * 10_000)
    assert "".join(lines) == "x" * 1_000_000
    assert max(map(len, lines)) < 100_000


def test_what_nobody_in_particular_prints_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with captured():
        print("imported\n")
    print("not captured any more")
    assert [record.__dict__["text"] for record in caplog.records] == ["imported"]


def test_output_that_cannot_rotate_begins_anew_when_it_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "manager.out"
    trim(path)
    with path.open("ab") as file:
        file.truncate(MAX_BYTES + 1)
        trim(path)
        os.write(file.fileno(), b"next")
    assert path.read_bytes() == b"next"
