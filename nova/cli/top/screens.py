"""What comes over the table: a question, a deployment's details, its log, the keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from nova.cli.terminal import printable
from nova.cli.top.background import Follower
from nova.cli.top.head import BAD, DIM, PLAIN, STRONG, WARN, Piece, Words
from nova.cli.top.texts import KEYS
from nova.cli.top.widgets import Lines, Listing

_MOST_LINES = 5000
_LAST_LINES = 500
_CLOSE = "escape,q"
_BY_LEVEL = {"DEBUG": DIM, "WARNING": WARN, "ERROR": BAD, "CRITICAL": BAD}


class Question(ModalScreen[bool]):
    """Yes or no, where only `y` says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes", show=False),
        Binding("n,escape,q,enter", "dismiss(False)", "no", show=False),
    ]

    def __init__(self, text: str, yes: str) -> None:
        super().__init__()
        self._text = text
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(self._text, markup=False)
            yield Static(f"\ny  {self._yes}      n  back", classes="keys", markup=False)


class Help(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding(f"{_CLOSE},question_mark,enter", "dismiss", "back", show=False)]

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static("\n".join(f"{keys:<9} {what}" for keys, what in KEYS), markup=False)


class Details(Screen[None]):
    """All of one deployment; `words` gives the lines for a width, or raises what the title line then says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(f"{_CLOSE},enter", "dismiss", "back", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, words: Callable[[int], list[Words]]) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=True):
            yield Lines()
        yield Static("Esc back   ↑ ↓ scroll", classes="keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.look()
        self.set_interval(2.0, self.look)

    def on_resize(self) -> None:
        self.look()

    def look(self) -> None:
        self.query_one(Lines).show(self._words(max(20, self.size.width - 3)))

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


class Log(Screen[None]):
    """A deployment's log as it grows; it stays at the end until somebody scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(f"{_CLOSE},l", "dismiss", "back", show=False)]

    class Came(Message):
        def __init__(self, lines: list[Piece]) -> None:
            super().__init__()
            self.lines = lines

    def __init__(self, name: str, lines: Callable[[Callable[[float], object]], Iterator[Piece]]) -> None:
        super().__init__()
        self._name = name
        self._kept: deque[tuple[int, Piece]] = deque(maxlen=_MOST_LINES)
        self._count = 0
        self._follower = Follower(lines, self._came, lambda problem: self._came([(problem, BAD)]))

    def compose(self) -> ComposeResult:
        yield Lines(id="title")
        yield Listing[tuple[int, Piece]](lambda item: str(item[0]), _log_line)
        yield Static("Esc back   ↑ ↓ PgUp PgDn End scroll; at the end it follows", classes="keys", markup=False)

    def on_mount(self) -> None:
        self._title()
        self.query_one(Listing).focus()
        self._follower.start()

    def on_unmount(self) -> None:
        self._follower.stop()

    def on_log_came(self, message: Came) -> None:
        listing: Listing[tuple[int, Piece]] = self.query_one(Listing)
        chosen = listing.chosen
        at_end = chosen is None or chosen[0] == self._count - 1
        for text, style in message.lines:
            self._kept.append((self._count, (printable(text), style)))
            self._count += 1
        listing.show(list(self._kept))
        if at_end:
            listing.action_end(1)
        self._title()

    def _title(self) -> None:
        said = "" if self._count else "  nothing yet"
        self.query_one("#title", Lines).show([[(f"log of {self._name}", STRONG), (said, DIM)]])

    def _came(self, lines: list[Piece]) -> None:
        self.post_message(self.Came(lines))


def _log_line(item: tuple[int, Piece], _width: int) -> Words:
    """Of the instant the time of day is enough: `2026-11-21T15:04:54.977248Z mailer#1 text`."""
    text, style = item[1]
    stamp, _, rest = text.partition(" ")
    if len(stamp) < 20 or stamp[10:11] != "T":
        return [(text, style)]
    return [(f"{stamp[11:19]} ", DIM), (rest, style)]


def log_lines(nova: Any, name: str) -> Callable[[Callable[[float], object]], Iterator[Piece]]:
    from workers.logs import worker_log

    def lines(wait: Callable[[float], object]) -> Iterator[Piece]:
        for line in worker_log(nova, name).follow(n=_LAST_LINES, wait=wait):
            yield from ((text, _BY_LEVEL.get(line.level, PLAIN)) for text in line.text())

    return lines
