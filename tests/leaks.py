"""No key may show: each key of an emulator or a fixture bears MARK, which is searched for in all that a test leaves.

That is what it and its programs wrote to standard output and error, its log, and every file under its tmp_path. A test
that leaves the mark on purpose says so with `@pytest.mark.shows_keys("why")`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MARK = "nevershown00"  # as the key of `nova demo`'s storefront has it
_BYTES = MARK.encode()
# What an operator writes keys into, and what a test wrote as its own program.
_TOLD_BY_HAND = (".env", ".py", ".pyc")

_heard: list[str | bytes | None] = []
_communicate = subprocess.Popen.communicate
_readouterr = pytest.CaptureFixture.readouterr


def _hearing(self: subprocess.Popen[Any], *args: Any, **options: Any) -> tuple[Any, Any]:
    told = _communicate(self, *args, **options)
    _heard.extend(told)
    return told


def _reading(self: pytest.CaptureFixture[Any]) -> Any:
    told = _readouterr(self)
    _heard.extend(told)
    return told


# What a test takes for itself does not stand in its report.
subprocess.Popen.communicate = _hearing  # type: ignore[method-assign]
pytest.CaptureFixture.readouterr = _reading  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Looks when all fixtures are closed, so that what is written last is seen too."""
    report: pytest.TestReport = yield
    if report.when == "teardown":
        leaks = [] if item.get_closest_marker("shows_keys") else list(_leaks(item, report))
        _heard.clear()
        if leaks and report.passed:
            report.outcome = "failed"
            report.longrepr = f"a key ({MARK}) stands in {', '.join(leaks)}"
    return report


def _leaks(item: pytest.Item, report: pytest.TestReport) -> Iterator[str]:
    if any(MARK in text for text in (report.capstdout, report.capstderr)) or any(map(_is_told, _heard)):
        yield "what was printed"
    if MARK in report.caplog:
        yield "the log"
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is not None:
        yield from (str(path.relative_to(folder)) for path in files_with_keys(folder))


def _is_told(told: str | bytes | None) -> bool:
    return _BYTES in told if isinstance(told, bytes) else MARK in (told or "")


def files_with_keys(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name.endswith(_TOLD_BY_HAND) or not path.is_file() or path.is_symlink():
                continue
            if _BYTES in path.read_bytes():
                yield path
