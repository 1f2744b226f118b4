"""The screen of `nova top`, driven by keys at 80×24; the fleet behind it is made up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from textual.pilot import Pilot

from nova.cli.top.app import Top
from nova.cli.top.look import Look
from nova.cli.top.screens import Details, Log, Question
from nova.cli.top.widgets import Lines, Listing
from nova.errors import Refused, Unreachable

from .test_top_rows import DECISION, ZONE, look, worker

FLEET = [worker(f"w{number:03d}") for number in range(60)]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nova.cli.top.background.LOOK_S", 0.05)


class FakeNova:
    """Its log says three things and then waits."""

    def __init__(self) -> None:
        self.followed = threading.Event()

    def lines(self, wait: Callable[[float], object]) -> Iterator[tuple[str, str]]:
        yield "2026-03-01T12:00:00.000000Z w000#1 first", ""
        yield "2026-03-01T12:00:01.000000Z w000#1 bad \x1b[2J", "yellow"
        try:
            while True:
                wait(0.01)
        finally:
            self.followed.set()


class FakeSource:
    """Shows what it is told to; `problem` is raised at each look."""

    def __init__(self, *workers: dict[str, Any], **more: Any) -> None:
        self.workers = list(workers)
        self.more = more
        self.problem: Exception | None = None
        self.looks = 0
        self.nova = FakeNova()

    def look(self) -> Look:
        self.looks += 1
        if self.problem is not None:
            raise self.problem
        return look(*self.workers, at_s=time.monotonic(), **self.more)

    def details(self, name: str) -> dict[str, Any]:
        raise Refused(f"no details of {name}")


class FakeActs:
    """Writes down what is asked; a name in `refused` is refused."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def __getattr__(self, verb: str) -> Callable[..., str]:
        def act(*what: Any) -> str:
            if what[0] == "w002":
                raise Refused("w002 was killed", hint="nothing of it runs")
            self.done.append((verb, *what))
            return f"{what[0]}: {verb} done"

        return act


async def until(pilot: Pilot[None], condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (pilot.app.focused, fleet(pilot.app).texts)
        await pilot.pause(0.01)


def drive(source: FakeSource, acts: FakeActs, play: Callable[[Top, Pilot[None]], Awaitable[None]], **size: int) -> None:
    async def run() -> None:
        app = Top(source, acts, ZONE)  # type: ignore[arg-type]
        async with app.run_test(size=(size.get("width", 80), size.get("height", 24))) as pilot:
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_signal_handler(15)
            await until(pilot, lambda: fleet(app).has_focus and (source.problem or fleet(app).texts))
            await play(app, pilot)

    asyncio.run(run())


def fleet(app: Top) -> Listing[Any]:
    return app._fleet


def said(app: Top) -> str:
    return app._said.text


def test_it_shows_the_fleet_and_looks_again() -> None:
    source = FakeSource(*FLEET)

    async def play(app: Top, pilot: Pilot[None]) -> None:
        assert "manager 7" in app._head.text
        assert "name▲" in app._columns.text
        assert len(fleet(app).texts) > 12
        assert fleet(app).texts[0].startswith("w000")
        source.workers[0] = worker("w000", state="parked")
        await until(pilot, lambda: "parked" in fleet(app).texts[0])

    drive(source, FakeActs(), play)


def test_keys_choose_and_act_on_what_is_chosen_and_say_what_was_done() -> None:
    acts = FakeActs()

    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("j", "p")
        await until(pilot, lambda: "w001: pause done" in said(app))
        await pilot.press("k", "r", "plus", "minus")
        await until(pilot, lambda: len(acts.done) == 4)
        await pilot.press("G")
        assert fleet(app).chosen.name == "w059"
        assert "w059" in fleet(app).texts[-1]

    drive(FakeSource(*FLEET), acts, play)
    assert acts.done == [("pause", "w001"), ("resume", "w000"), ("scale", "w000", 1), ("scale", "w000", -1)]


def test_what_is_refused_is_said_in_a_line_with_what_to_do() -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "p")
        await until(pilot, lambda: "w002 was killed (nothing of it runs)" in said(app))

    drive(FakeSource(*FLEET), FakeActs(), play)


def test_a_decision_is_answered_only_after_a_yes() -> None:
    acts = FakeActs()

    async def play(app: Top, pilot: Pilot[None]) -> None:
        assert "1 decision waits for you" in app._waiting.text
        for no in ("n", "escape", "enter"):
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, Question))
            await pilot.press(no)
            await until(pilot, lambda: not isinstance(app.screen, Question))
        assert acts.done == []
        await pilot.press("tab", "a")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: acts.done == [("approve", "d-7k2m9x")])
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: len(acts.done) == 2)

    drive(FakeSource(*FLEET, waiting=[DECISION]), acts, play)
    assert acts.done[-1] == ("reject", "d-7k2m9x")


def test_where_nothing_waits_there_is_nothing_to_approve() -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("a")
        await until(pilot, lambda: "no decision waits" in said(app))
        assert len(app.screen_stack) == 1

    drive(FakeSource(*FLEET), FakeActs(), play)


def test_what_cannot_be_looked_at_is_said_and_what_was_seen_stays() -> None:
    source = FakeSource(*FLEET)

    async def play(app: Top, pilot: Pilot[None]) -> None:
        source.problem = Unreachable("the ledger is locked")
        await until(pilot, lambda: "cannot look: the ledger is locked" in app._head.text)
        assert fleet(app).texts[0].startswith("w000")
        source.problem = None
        await until(pilot, lambda: "cannot look" not in app._head.text)

    drive(source, FakeActs(), play)


def test_a_first_look_that_fails_leaves_no_traceback() -> None:
    source = FakeSource()
    source.problem = RuntimeError("strange")

    async def play(app: Top, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "strange" in app._head.text)
        await pilot.press("p", "l", "enter", "a", "s", "question_mark", "escape", "slash", "escape", "tab")

    drive(source, FakeActs(), play)


def test_sorting_turning_round_and_finding() -> None:
    source = FakeSource(*FLEET, worker("Zed", state="parked", department="ops"))

    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        assert fleet(app).texts[0].startswith("Zed")
        assert "state▲" in app._columns.text
        await pilot.press("S")
        assert "state▼" in app._columns.text
        assert fleet(app).texts[0].startswith("w000")
        await pilot.press("slash", "o", "p", "s")
        await until(pilot, lambda: len(fleet(app).texts) == 1)
        assert "1 of 61 with 'ops'" in app._columns.text
        await pilot.press("enter", "escape")
        await until(pilot, lambda: len(fleet(app).texts) > 10)

    drive(source, FakeActs(), play)


def test_the_chosen_one_stays_chosen_when_others_go() -> None:
    source = FakeSource(*FLEET)

    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("j", "j", "j")
        source.workers = FLEET[2:]
        await until(pilot, lambda: fleet(app).texts[0].startswith("w002"))
        assert fleet(app).chosen.name == "w003"
        source.workers = FLEET[10:]
        await until(pilot, lambda: fleet(app).texts[0].startswith("w010"))
        assert fleet(app).chosen is not None
        source.workers = []
        await until(pilot, lambda: fleet(app).chosen is None)
        await pilot.press("j", "p", "enter")

    drive(source, FakeActs(), play)


def test_a_log_is_followed_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource(*FLEET)
    monkeypatch.setattr("nova.cli.top.app.log_lines", lambda nova, name: nova.lines)

    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, Log) and len(app.screen.query_one(Listing).texts) == 2)
        assert app.screen.query_one(Listing).texts == ["12:00:00 w000#1 first", "12:00:01 w000#1 bad ?[2J"]
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1 and source.nova.followed.is_set())

    drive(source, FakeActs(), play)


def test_details_that_cannot_be_had_say_why() -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Details))
        await until(pilot, lambda: "no details of w000" in app.screen.query_one(Lines).text)
        await pilot.press("q")
        await until(pilot, lambda: len(app.screen_stack) == 1)

    drive(FakeSource(*FLEET), FakeActs(), play)


def test_q_leaves_and_what_was_asked_is_finished_first() -> None:
    acts, source = FakeActs(), FakeSource(*FLEET)

    async def run() -> Top:
        app = Top(source, acts, ZONE)  # type: ignore[arg-type]
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: fleet(app).chosen)
            await pilot.press("p", "q")
        return app

    assert asyncio.run(run()).finish()
    assert acts.done == [("pause", "w000")]


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (120, 40)])
def test_any_size_is_drawn(width: int, height: int) -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        assert fleet(app).texts
        assert ("department" in app._columns.text) == (width >= 110)
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: len(fleet(app).texts) > 15)

    drive(FakeSource(*FLEET, waiting=[DECISION] * 1), FakeActs(), play, width=width, height=height)
