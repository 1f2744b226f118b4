"""The parts of the screen. A list of any length formats only the lines that are on the screen, and draws only those
that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from nova.cli.top.head import Words

T = TypeVar("T")
_STYLES: dict[str, Style] = {}


def styled(words: Words, *, over: Style | None = None) -> list[Segment]:
    return [Segment(text, _style(name) + over if over is not None else _style(name)) for text, name in words]


def _style(name: str) -> Style:
    if name not in _STYLES:
        _STYLES[name] = Style.parse(name) if name else Style()
    return _STYLES[name]


class Lines(Widget):
    """A few lines of words, drawn again only where they changed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lines: list[Words] = []

    def show(self, lines: Sequence[Words]) -> None:
        if list(lines) == self._lines:
            return
        resized = len(lines) != len(self._lines)
        self._lines = list(lines)
        if resized:
            self.styles.height = len(lines)
            self.display = bool(lines)
        self.refresh(layout=resized)

    @property
    def text(self) -> str:
        return "\n".join("".join(text for text, _ in words) for words in self._lines)

    def render_line(self, y: int) -> Strip:
        words = self._lines[y] if y < len(self._lines) else []
        return Strip(styled(words)).adjust_cell_length(self.size.width, self.rich_style).apply_style(self.rich_style)


class Listing(ScrollView, Generic[T], can_focus=True):
    """Items one a line, one of them chosen. `key` tells an item from another, so that it stays chosen when others come,
    go or change places; `draw` formats one for a width."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("home,g", "end(-1)", "first", show=False),
        Binding("end,G", "end(1)", "last", show=False),
    ]

    class Opened(Message):
        """An item was clicked twice."""

    def __init__(self, key: Callable[[T], str], draw: Callable[[T, int], Words], **options: Any) -> None:
        super().__init__(**options)
        self._key = key
        self._draw = draw
        self._items: Sequence[T] = ()
        self._drawn: dict[int, Words] = {}
        self._chosen = 0

    @property
    def chosen(self) -> T | None:
        return self._items[self._chosen] if self._chosen < len(self._items) else None

    @property
    def texts(self) -> list[str]:
        """The lines on the screen, as text."""
        first = self.scroll_offset.y
        shown = range(first, min(first + self.size.height, len(self._items)))
        return ["".join(text for text, _ in self._words(y)) for y in shown]

    def show(self, items: Sequence[T]) -> None:
        """The chosen item stays chosen; where it is gone, the one in its place is."""
        was = self.chosen
        key = None if was is None else self._key(was)
        before = self._chosen
        self._items = items
        self._choose_again(key)
        size = Size(self.size.width, len(items))
        if size != self.virtual_size:
            self.virtual_size = size
        drawn, self._drawn = self._drawn, {}
        first = self.scroll_offset.y
        for y in range(first, first + self.size.height):
            moved = before != self._chosen and y in (before, self._chosen)
            if moved or drawn.get(y) != self._words(y):
                self.refresh_line(y)

    def redraw(self) -> None:
        """After what `draw` does has changed."""
        self._drawn = {}
        self.refresh()

    def choose(self, key: str) -> None:
        self._choose_again(key)
        self._reveal()

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        width = self.size.width
        over = None
        if y == self._chosen and self._items:
            over = Style(reverse=True) if self.has_focus else Style(underline=True)
        strip = Strip(styled(self._words(y), over=over))
        return strip.adjust_cell_length(width, over or self.rich_style).apply_style(self.rich_style)

    def action_move(self, by: int) -> None:
        self._go(self._chosen + by)

    def action_page(self, by: int) -> None:
        self._go(self._chosen + by * max(1, self.size.height - 1))

    def action_end(self, which: int) -> None:
        self._go(0 if which < 0 else len(self._items) - 1)

    def on_resize(self, _: Resize) -> None:
        self.virtual_size = Size(self.size.width, len(self._items))
        self.redraw()
        self._reveal()

    def on_focus(self) -> None:
        self.refresh_line(self._chosen)

    def on_blur(self) -> None:
        self.refresh_line(self._chosen)

    def on_click(self, event: Click) -> None:
        self._go(event.y + self.scroll_offset.y)
        if event.chain == 2:
            self.post_message(self.Opened())

    def _words(self, y: int) -> Words:
        if y >= len(self._items):
            return []
        words = self._drawn.get(y)
        if words is None:
            words = self._drawn[y] = self._draw(self._items[y], self.size.width)
        return words

    def _choose_again(self, key: str | None) -> None:
        if self._chosen < len(self._items) and self._key(self._items[self._chosen]) == key:
            return
        found = next((index for index, item in enumerate(self._items) if self._key(item) == key), None)
        self._chosen = found if found is not None else max(0, min(self._chosen, len(self._items) - 1))

    def _go(self, to: int) -> None:
        before, self._chosen = self._chosen, max(0, min(to, len(self._items) - 1))
        if before != self._chosen:
            self.refresh_line(before)
            self.refresh_line(self._chosen)
            self._reveal()

    def _reveal(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if self._chosen < top:
            self.scroll_to(y=self._chosen, animate=False)
        elif height and self._chosen >= top + height:
            self.scroll_to(y=self._chosen - height + 1, animate=False)
