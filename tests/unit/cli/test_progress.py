from __future__ import annotations

import sys

import pytest

from nova.cli import progress

from .conftest import Screen


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Called in the test's body: between a fixture and the test pytest puts its own stderr back."""
    found = Screen()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setenv("TERM", "xterm-256color")
    return found


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("importing", 10) as tick, progress.spinner("verifying"):
        tick.more(5)
        tick.reached(10)
    assert capsys.readouterr() == ("", "")


def test_what_is_quick_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_a_terminal(monkeypatch)
    with progress.progress("importing", 10) as tick, progress.spinner("verifying"):
        tick.more(10)
    assert screen.text == ""


def test_what_takes_longer_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(progress, "_STEP_S", 0.0)
    with progress.progress("importing", 10_000, unit="rows") as tick:
        tick.more(1_000)
        tick.more(234)
        tick.reached(5_678)
    assert "importing" in screen.text
    assert "5,678 rows" in screen.text
