"""`nova top` on a terminal of 80×24, before a real manager."""

from __future__ import annotations

import signal

from .conftest import Home
from .test_terminal import Terminal

SIZE = {"LINES": "24", "COLUMNS": "80", "LANG": "C.UTF-8"}


def test_a_person_watches_pauses_and_leaves(nova: Home) -> None:
    nova.deploy("tick", "echo tick", "--every", "1s")
    nova.run("workers", "start")
    screen = Terminal(nova, "top", **SIZE)
    screen.read_until("manager ")
    screen.read_until("tick")
    screen.press("p")
    screen.read_until("tick: paused (operator)")
    assert nova.worker("tick")["pause_reason"] == "operator"
    screen.press("l")
    screen.read_until("log of tick")
    screen.text = ""
    screen.press("q")
    screen.read_until("p pause")
    screen.press("q")
    assert screen.end() == 0
    assert "\x1b[?1049l" in screen.text, "the terminal is given back"
    assert nova.manager()["running"]


def test_a_view_that_is_ended_gives_the_terminal_back(nova: Home) -> None:
    screen = Terminal(nova, "top", **SIZE)
    screen.read_until("nothing is deployed yet")
    screen.process.send_signal(signal.SIGTERM)
    assert screen.end() == 0
    assert "\x1b[?1049l" in screen.text


def test_a_view_whose_terminal_is_gone_ends(nova: Home) -> None:
    screen = Terminal(nova, "top", **SIZE)
    screen.read_until("nothing is deployed yet")
    screen.hang_up()
    assert screen.process.wait(20) != 0


def test_without_a_terminal_it_says_what_to_read_instead(nova: Home) -> None:
    done = nova.run("top", code=2)
    assert done.stdout == ""
    assert "nova workers status --json" in done.stderr


def test_a_configuration_that_is_wrong_is_said_before_the_screen_is_taken(nova: Home) -> None:
    screen = Terminal(nova, "top", NOVA_CURRENCY="nonsense", **SIZE)
    assert screen.end() == 78
    assert "NOVA_CURRENCY" in screen.text
    assert "\x1b[?1049h" not in screen.text
