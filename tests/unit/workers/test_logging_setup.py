from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova.secrecy import Scrubber
from workers.log_lines import parse_event
from workers.logfile import MAX_BYTES
from workers.logging_setup import configure
from workers.logs import Log


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """As it was, whatever a test configures."""
    before, level, raises = logging.root.handlers[:], logging.root.level, logging.raiseExceptions
    yield
    for handler in logging.root.handlers:
        if handler not in before:
            handler.close()
    logging.root.handlers[:], logging.raiseExceptions = before, raises
    logging.root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize("style", ["text", "json"])
def test_events_are_read_back_with_their_levels_and_tracebacks(tmp_path: Path, style: str) -> None:
    path = tmp_path / "logs" / "manager.log"
    configure("info", style, path)
    log = logging.getLogger("nova.test")
    log.debug("hidden")
    log.info("up", extra={"action": "manager_ready", "pid": 7})
    try:
        raise ValueError("no luck")
    except ValueError:
        log.exception("failed", extra={"action": "turn_failed"})
    ready, failed = Log(path, parse_event).tail()
    assert (ready.level, failed.level) == ("INFO", "ERROR")
    assert ready.message.startswith("manager_ready") and "7" in ready.text()[0]
    assert failed.message.startswith("turn_failed") and "no luck" in " ".join(failed.text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if style == "json":
        assert [json.loads(line)["action"] for line in path.read_text().splitlines()] == [
            "manager_ready",
            "turn_failed",
        ]


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_event_tells_a_secret(tmp_path: Path, style: str) -> None:
    path = tmp_path / "manager.log"
    configure("info", style, path, Scrubber(["hunter2-hunter2"]))
    log = logging.getLogger("nova.test")
    log.info(
        "with hunter2-hunter2", extra={"url": "http://x/?k=hunter2-hunter2", "cause": ValueError("hunter2-hunter2")}
    )
    try:
        raise ValueError("hunter2-hunter2")
    except ValueError:
        log.exception("failed")
    assert "hunter2" not in path.read_text()
    assert path.read_text().count("***") >= 4


def test_two_managers_may_write_to_one_log_which_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "manager.log"
    path.write_text("x" * (MAX_BYTES - 10) + "\n")
    configure("info", "text", path)
    first = logging.root.handlers[0]
    configure("info", "text", path)
    second = logging.root.handlers[0]
    for handler in (first, second, first):
        handler.handle(logging.makeLogRecord({"msg": "more", "levelno": logging.INFO, "levelname": "INFO"}))
    first.close()
    assert sorted(one.name for one in tmp_path.glob("manager*")) == ["manager.log", "manager.log.1"]
    assert path.read_text().count("more") == 3
