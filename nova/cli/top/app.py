"""The screen of `nova top`: the fleet as a table that is looked at each second, and keys that act on it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar
from zoneinfo import ZoneInfo

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input, Static

from nova.cli.problems import describe
from nova.cli.terminal import is_hung_up, is_terminal, printable
from nova.cli.top import head, texts
from nova.cli.top.background import Actor, Looker
from nova.cli.top.head import BAD, DIM, GOOD, PLAIN, Words
from nova.cli.top.look import Look, Rates
from nova.cli.top.rows import NAME, SORTS, Plan, Row, arranged, plan, rows_of
from nova.cli.top.screens import Details, Help, Log, Question, log_lines
from nova.cli.top.source import Act, Acts, Source
from nova.cli.top.widgets import Lines, Listing

_SAID_S = 8.0
_HANG_UP_S = 2.0
_KEYS = "p pause  r resume  +- scale  a approve  x reject  l log  ⏎ all  s sort  / find  ? help  q quit"
_FEW_KEYS = "p pause r resume +- scale a approve x reject l log s sort / find ? help q quit"

Decision = dict[str, object]


class Top(App[None]):
    """Closed by `q`; nothing that runs is touched by that."""

    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    Lines { height: auto; }
    Listing { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    #decisions { height: auto; max-height: 4; min-height: 1; }
    #find { height: 1; border: none; padding: 0; display: none; background: ansi_default; }
    #said { height: 1; }
    .keys { height: 1; color: ansi_default; text-style: dim; }
    Question, Help { align: center middle; background: ansi_default; }
    #box { width: 76; max-width: 96%; height: auto; max-height: 90%; border: solid ansi_cyan; padding: 0 1;
           background: ansi_default; overflow-y: auto; }
    #box .keys { height: auto; }
    """
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,ctrl+q", "quit", "quit", show=False, priority=False),
        Binding("p", "pause", show=False),
        Binding("r", "resume", show=False),
        Binding("plus,equals_sign,kp_plus", "scale(1)", show=False),
        Binding("minus,underscore,kp_minus", "scale(-1)", show=False),
        Binding("a", "answer('Approve')", show=False),
        Binding("x", "answer('Reject')", show=False),
        Binding("l", "log", show=False),
        Binding("enter", "details", show=False),
        Binding("s", "sort", show=False),
        Binding("S", "turn_round", show=False),
        Binding("slash", "find", show=False),
        Binding("escape", "find_all", show=False),
        Binding("question_mark,h,f1", "help", show=False),
        Binding("tab", "change_list", show=False, priority=True),
    ]

    class Seen(Message):
        def __init__(self, look: Look) -> None:
            super().__init__()
            self.look = look

    class Failed(Message):
        def __init__(self, problem: str) -> None:
            super().__init__()
            self.problem = problem

    class Told(Message):
        def __init__(self, text: str, done: bool) -> None:
            super().__init__()
            self.text = text
            self.done = done

    def __init__(self, source: Source, acts: Acts, zone: ZoneInfo) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self._source = source
        self._acts = acts
        self._zone = zone
        self._rates = Rates()
        self._look: Look | None = None
        self._rows: list[Row] = []
        self._plan = Plan((), ())
        self._by = NAME
        self._backward = False
        self._wanted = ""
        self._problem = ""
        self._looker = Looker(source, self._post(self.Seen), self._post(self.Failed))
        self._actor = Actor(lambda text, done: self.post_message(self.Told(text, done)))

    def _post(self, kind: Callable[..., Message]) -> Callable[..., object]:
        return lambda what: self.post_message(kind(what))

    def compose(self) -> ComposeResult:
        """The parts are kept, so that a message that comes while the screen is taken down still finds them."""
        self._head, self._budgets, self._columns = Lines(), Lines(), Lines()
        self._fleet = Listing[Row](lambda row: row.name, self._draw, id="fleet")
        self._waiting, self._said = Lines(), Lines(id="said")
        self._decisions = Listing[Decision](lambda one: str(one["id"]), self._draw_decision, id="decisions")
        self._find = Input(id="find", placeholder="part of a name or department", select_on_focus=False, disabled=True)
        self._keys = Static(_KEYS, id="keys", classes="keys", markup=False)
        yield from (self._head, self._budgets, self._columns, self._fleet, self._waiting, self._decisions)
        yield from (self._find, self._said, self._keys)

    def on_mount(self) -> None:
        self._head.show([[("nova  looking…", DIM)], [], []])
        self._say("", PLAIN)
        self.call_after_refresh(self._fleet.focus)
        if sys.__stdin__ is not None and is_terminal(sys.__stdin__):
            self.set_interval(_HANG_UP_S, self._leave_when_hung_up)
        self._looker.start()
        self._actor.start()
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)

    def on_unmount(self) -> None:
        self._looker.stop()

    def _leave_when_hung_up(self) -> None:
        if sys.__stdin__ is not None and is_hung_up(sys.__stdin__):
            os._exit(1)  # what would be written to the terminal now could wait for ever

    def finish(self, within_s: float = 5.0) -> bool:
        """To be called when it was left: what was asked for is given some time to be done."""
        return self._actor.finish(within_s)

    def on_resize(self, event: Resize) -> None:
        self._keys.update(_KEYS if event.size.width >= len(_KEYS) else _FEW_KEYS)
        self._paint()

    def on_top_seen(self, message: Seen) -> None:
        self._look, self._problem = message.look, ""
        self._rates.note(message.look)
        self._rows = rows_of(message.look, self._rates, self._zone)
        self._paint()

    def on_top_failed(self, message: Failed) -> None:
        self._problem = message.problem
        self._paint_head()

    def on_top_told(self, message: Told) -> None:
        self._say(printable(message.text), GOOD if message.done else BAD)
        self._looker.again()

    # what is shown

    def _paint(self) -> None:
        look = self._look
        if look is None:
            return
        width, height = self.size
        self._paint_head()
        self._budgets.show(head.bars(look.budgets, width, 2 if height < 30 else 4))
        chosen = [row for row in self._rows if self._is_wanted(row)]
        before, self._plan = self._plan, plan(width - 1, chosen)
        if before != self._plan:
            self._fleet.redraw()
        self._fleet.show(arranged(chosen, self._by, backward=self._backward))
        self._paint_columns(len(chosen))
        self._paint_decisions(look, height)

    def _paint_head(self) -> None:
        if self._look is None:
            said: list[Words] = [
                [(f"nova  {printable(self._problem) or 'looking…'}", BAD if self._problem else DIM)],
                [],
                [],
            ]
            self._head.show(said)
            return
        lines = head.head(self._look, self._rates.whole(), self.size.width, self._zone)
        if self._problem:
            lines[2] = [(f"cannot look: {printable(self._problem)}", BAD)]
        self._head.show(lines)

    def _paint_columns(self, shown: int) -> None:
        heads = " ".join(self._plan.heads(self._by, backward=self._backward))
        found = f" {shown} of {len(self._rows)} with {self._wanted!r}" if self._wanted else ""
        self._columns.show([[(heads[: self.size.width - len(found)], "bold reverse"), (found, "bold reverse")]])

    def _paint_decisions(self, look: Look, height: int) -> None:
        waiting = [dict(one) for one in look.waiting]
        self._decisions.display = bool(waiting)
        self._decisions.styles.max_height = 3 if height < 30 else 8
        self._decisions.styles.height = min(len(waiting), 3 if height < 30 else 8)
        count = len(waiting)
        title = "decision waits" if count == 1 else "decisions wait"
        self._waiting.show([[(f"{count} {title} for you", "bold yellow"), ("  (Tab, a, x)", DIM)]] if count else [])
        self._decisions.show(waiting)
        if not waiting and self._decisions.has_focus:
            self._fleet.focus()

    def _is_wanted(self, row: Row) -> bool:
        wanted = self._wanted.casefold()
        return wanted in row.name.casefold() or wanted in row.department.casefold()

    def _draw(self, row: Row, _width: int) -> Words:
        words: Words = []
        for column, text in zip(self._plan.columns, self._plan.cells(row), strict=True):
            style = texts.COLOURS.get(row.shown, PLAIN) if column.key in ("state", "note") else PLAIN
            style = DIM if column.key == "department" or (column.key == "note" and row.shown == "active") else style
            words += [(text, DIM if row.shown == "killed" else style), (" ", PLAIN)]
        return words[:-1]

    def _draw_decision(self, one: Decision, width: int) -> Words:
        assert self._look is not None
        return texts.waiting(one, width, self._look.currency, self._look.at)

    def _say(self, text: str, style: str) -> None:
        self._said.show([[(text, style)]])
        if text:
            self.set_timer(_SAID_S, lambda: self._unsay(text))

    def _unsay(self, text: str) -> None:
        if self._said.text == text:
            self._said.show([[]])

    # what a person does

    def _act(self, act: Callable[[str], Act]) -> None:
        row = self._fleet.chosen
        if row is not None:
            self._actor.ask(act(row.name))

    def action_pause(self) -> None:
        self._act(lambda name: lambda: self._acts.pause(name))

    def action_resume(self) -> None:
        self._act(lambda name: lambda: self._acts.resume(name))

    def action_scale(self, step: int) -> None:
        self._act(lambda name: lambda: self._acts.scale(name, step))

    def action_answer(self, verb: str) -> None:
        one, look = self._decision(), self._look
        if one is None or look is None:
            self._say("no decision waits for you", DIM)
            return
        id = str(one["id"])
        act = (lambda: self._acts.approve(id)) if verb == "Approve" else (lambda: self._acts.reject(id))

        def answered(yes: bool | None) -> None:
            if yes:
                self._say(f"{id}: asking…", DIM)
                self._actor.ask(act)

        self.push_screen(Question(texts.question(one, verb, look.currency), verb.lower()), answered)

    def _decision(self) -> Decision | None:
        """That of the chosen deployment where there is one, unless the list of decisions is the one in use."""
        row = self._fleet.chosen
        if not self._decisions.has_focus and row is not None and self._look is not None:
            its = next((dict(one) for one in self._look.waiting if one["worker"] == row.name), None)
            if its is not None:
                return its
        return self._decisions.chosen

    def action_log(self) -> None:
        row = self._fleet.chosen
        if row is not None:
            self.push_screen(Log(row.name, log_lines(self._source.nova, row.name)))

    def action_details(self) -> None:
        row = self._fleet.chosen
        if row is None:
            return
        name = row.name

        def words(width: int) -> list[Words]:
            look = self._look
            assert look is not None
            worker = next((one for one in look.document["workers"] if one["name"] == name), None)
            try:
                return list(texts.details(self._source.details(name), worker, look.at, self._zone, width))
            except Exception as problem:  # noqa: BLE001 - a view shows what is wrong
                return [[(printable(describe(problem).message), BAD)]]

        self.push_screen(Details(words))

    def action_sort(self) -> None:
        self._by = SORTS[(SORTS.index(self._by) + 1) % len(SORTS)]
        self._backward = False
        self._paint()
        self._fleet.action_end(-1)

    def action_turn_round(self) -> None:
        self._backward = not self._backward
        self._paint()
        self._fleet.action_end(-1)

    def action_find(self) -> None:
        self._find.disabled, self._find.display = False, True
        self._find.focus()

    def action_find_all(self) -> None:
        self._find.value = ""
        self._hide_find()
        self._wanted = ""
        self._fleet.focus()
        self._paint()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value
        self._paint()

    def on_input_submitted(self, _: Input.Submitted) -> None:
        self._hide_find()
        self._fleet.focus()

    def _hide_find(self) -> None:
        self._find.disabled, self._find.display = True, False

    def action_change_list(self) -> None:
        if len(self.screen_stack) > 1:
            return
        to_decisions = self._fleet.has_focus and self._decisions.display
        (self._decisions if to_decisions else self._fleet).focus()

    def action_help(self) -> None:
        self.push_screen(Help())

    def on_listing_opened(self, _: Listing.Opened) -> None:
        self.action_details()
