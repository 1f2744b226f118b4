from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from nova.errors import UsageProblem
from workers.log_lines import LogLine, Wanted, encode, level_named, level_of, parse, parse_event
from workers.worker_log import WorkerLogger

AT = "2026-03-01T12:00:00Z"


def written(message: str, **more: Any) -> bytes:
    parts = {"at": AT, "level": "INFO", "instance": "w#1", "run": "r1", "stream": None, "fields": {}, **more}
    line = encode(message=message, **parts).encode("utf-8", "replace")
    assert line.count(b"\n") == 1
    return line.removesuffix(b"\n")


@pytest.mark.parametrize("message", ["hello", "", 'say "no"\\', "two\nlines", "tab\t\x1b[31m\x00", "ünï © 🚀", "{}"])
def test_what_is_written_is_read_back(message: str) -> None:
    raw = written(message, fields={"to": "kim", "n": [1, None]})
    assert parse(raw) == LogLine(message, AT, "INFO", "w#1", "r1", None, {"to": "kim", "n": [1, None]})
    assert json.loads(raw)["message"] == message


def test_large_fields_are_left_out_and_said_to_be() -> None:
    assert parse(written("x", fields={"page": "y" * 100_000})).fields == {"too_large": "100011 characters"}


def test_lines_printed_at_once_are_lines_of_their_own_and_a_message_is_one() -> None:
    printed = parse(written("one\n\ntwo", stream="stdout"))
    assert [part.message for part in printed.parts()] == ["one", "", "two"]
    assert {part.run for part in printed.parts()} == {"r1"}
    assert len(parse(written("one\ntwo")).parts()) == 1


def test_lines_of_other_kinds_are_shown_as_they_are() -> None:
    old = b"2026-03-01T12:00:00Z mailer#2 hello there"
    assert parse(old) == LogLine("hello there", AT, instance="mailer#2", stream="stdout")
    for raw in (b"just text", b"", b'{"half": ', b'{"message": 7}', b"\xff"):
        line = parse(raw)
        assert (line.at, line.text()) == (None, [raw.decode("utf-8", "replace")])


def test_as_a_person_reads_it() -> None:
    printed = LogLine("one\ntwo", AT, instance="w#1", stream="stdout")
    assert printed.text() == [f"{AT} w#1 one", f"{AT} w#1 two"]
    logged = LogLine("sent", AT, "WARNING", "w#1", fields={"to": "kim\nlee", "n": 2})
    assert logged.text() == [f"{AT} w#1 WARNING sent to=kim\\nlee n=2"]


def test_wanted_lines_are_chosen_by_instance_level_and_time() -> None:
    line = LogLine("x", AT, "WARNING", "w#1")
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert Wanted().has(line)
    assert Wanted("w#1", "WARNING", since=noon).has(line)
    assert not Wanted("w#2").has(line)
    assert not Wanted(level="ERROR").has(line)
    assert not Wanted(until=noon).has(line)
    assert not Wanted(since=noon.replace(hour=13)).has(line)
    assert Wanted().has(LogLine("no head")) and not Wanted(since=noon).has(LogLine("no head"))
    assert not Wanted(since=noon).has(LogLine("no zone", at="2026-03-01T12:00:00"))


def test_levels_are_read_and_refused() -> None:
    assert [level_named(text) for text in ("warning", "WARN", " error ", "fatal")] == [
        "WARNING", "WARNING", "ERROR", "CRITICAL",
    ]  # fmt: skip
    with pytest.raises(UsageProblem, match="loud"):
        level_named("loud")
    assert [level_of(number) for number in (0, 10, 25, 30, 99)] == ["DEBUG", "DEBUG", "INFO", "WARNING", "CRITICAL"]


EVENTS = [
    (
        "2026-03-01T12:00:00Z WARNING nova.daemon task_failed task=sync error=no luck",
        LogLine("task_failed task=sync error=no luck", AT, "WARNING", fields={"logger": "nova.daemon"}),
    ),
    (
        '{"at": "2026-03-01T12:00:00Z", "level": "INFO", "logger": "a", "action": "started", "pid": 7}',
        LogLine("started", AT, "INFO", fields={"logger": "a", "pid": 7}),
    ),
    ("Traceback (most recent call last):", None),
    ("", None),
]


@pytest.mark.parametrize(("raw", "line"), EVENTS)
def test_the_managers_log_is_read_in_either_format(raw: str, line: LogLine | None) -> None:
    assert parse_event(raw.encode()) == line


def test_a_logger_keeps_fields_levels_and_tracebacks() -> None:
    lines: list[tuple[str, str, Any]] = []
    log = WorkerLogger("w#1", lambda *line: lines.append(line))
    log.debug("hidden")
    log.info("sent %d", 2, extra={"to": {"kim"}, "n": 2, "at": datetime(2026, 3, 1, tzinfo=UTC)})
    log.warning("odd", extra={"share": float("nan")})
    try:
        raise ValueError("no luck")
    except ValueError:
        log.exception("it failed")
    log.log(logging.INFO + 5, "between")
    assert [line[0] for line in lines] == ["INFO", "WARNING", "ERROR", "INFO"]
    assert lines[0][1:] == ("sent 2", {"to": "{'kim'}", "n": 2, "at": "2026-03-01 00:00:00+00:00"})
    assert lines[1][2] == {"share": "nan"}
    assert lines[2][1].startswith("it failed\nTraceback") and lines[2][1].endswith("ValueError: no luck")
