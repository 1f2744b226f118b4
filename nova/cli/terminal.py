"""What the terminal can do: colour, width, questions. Without one there is no colour, no prompt and no spinner."""

from __future__ import annotations

import os
import select
import sys
import time
import unicodedata
from typing import TextIO

import typer

from nova.errors import Refused, UsageProblem


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def is_hung_up(stream: TextIO) -> bool:
    """The terminal's other end has gone, as when a connection broke; it will never say anything again."""
    import select

    try:
        poll = select.poll()
        poll.register(stream, 0)
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):  # no file, or closed
        return False


def colourful(*, err: bool = False) -> bool:
    return is_terminal(sys.stderr if err else sys.stdout) and not os.environ.get("NO_COLOR")


def paint(text: str, colour: str, *, err: bool = False) -> str:
    return typer.style(text, fg=colour, bold=True) if colourful(err=err) else text


def printable(text: str) -> str:
    """Without control characters: what a worker prints must not drive the operator's terminal."""
    return "".join(" " if c in "\n\r\t" else c if _shown(c) else "?" for c in text)


def _shown(char: str) -> bool:
    return (char.isascii() and char.isprintable()) or not unicodedata.category(char).startswith(("Cc", "Cf", "Cs"))


def note(text: str) -> None:
    """Narration: on stderr, so that stdout carries data only."""
    typer.echo(text, err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Asks before something is destroyed, unless `yes`. Without a terminal nobody can answer: a UsageProblem."""
    if yes:
        return
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageProblem(f"this needs a yes: {question}", hint="without a terminal, pass --yes")
    if not typer.confirm(question, err=True):
        raise Refused("not confirmed; nothing was changed")


def wait_for_reader(seconds: float) -> None:
    """Waits, and raises BrokenPipeError as soon as nobody reads standard output any more, as after `| head`."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        events = [event for _, event in poll.poll(seconds * 1000)]
    except (OSError, ValueError):  # what cannot be watched
        events = [0]
    if any(event & (select.POLLERR | select.POLLHUP) for event in events):
        raise BrokenPipeError
    if events:
        time.sleep(seconds)
