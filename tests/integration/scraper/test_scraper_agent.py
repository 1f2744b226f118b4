from __future__ import annotations

import csv
import json
import logging
from collections.abc import MutableMapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.config import load_settings
from nova.errors import BudgetExceeded, UsageProblem
from nova.ledger.ledger import Ledger
from platforms.clients import Platforms
from tests.hands import QuickHands
from workers.agents.registry import resolver
from workers.agents.row_file import RowFile
from workers.agents.scraper import ScraperAgent
from workers.base_worker import RunResult
from workers.state import DurableState

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Context:
    """A run's hands as far as the scraper uses them, over a real durable state."""

    def __init__(self, config: Any, state: MutableMapping[str, Any]) -> None:
        self.config = config
        self.state = state
        self.worker = "quotes"
        self.stopping = False
        self.spent: list[Decimal] = []
        self.limit = Decimal(100)
        self.log = logging.getLogger("test")
        self.platforms = Platforms(load_settings(), QuickHands())

    def now(self) -> datetime:
        return AT

    def spend(self, amount: Decimal, reason: str = "") -> None:
        if sum(self.spent) + amount > self.limit:
            raise BudgetExceeded
        self.spent.append(amount)


class Desk:
    """A run's desk as far as its durable state uses it."""

    def __init__(self, ledger: Ledger) -> None:
        self._state = ledger.state

    def state_get(self, key: str) -> tuple[bool, Any]:
        known = self._state.all("quotes")
        return key in known, known.get(key)

    def state_set(self, key: str, value: Any) -> None:
        self._state.set("quotes", key, value)

    def state_delete(self, key: str) -> bool:
        return self._state.delete("quotes", key)

    def state_keys(self) -> list[str]:
        return list(self._state.all("quotes"))


class Deployed:
    """A deployment of the scraper: each `run` is a new object, as after a restart of the manager."""

    def __init__(self, home: Path, ledger: Ledger, site: Any) -> None:
        self.home = home
        self.site = site
        self.state: MutableMapping[str, Any] = DurableState(Desk(ledger))  # type: ignore[arg-type]
        self.settings: dict[str, Any] = {
            "url": site.url("/quotes"), "row": ".quote", "fields": '{"text": ".text", "by": ".by"}', "key": "text",
            "allow_private": "true", "delay_s": "0",
        }  # fmt: skip

    def context(self, **settings: Any) -> Context:
        _, config = resolver(self.home)("scraper", {**self.settings, **settings})
        return Context(config, self.state)

    def run(self, context: Context | None = None, **settings: Any) -> RunResult:
        context = context or self.context(**settings)
        agent = ScraperAgent()
        agent.setup(context)  # type: ignore[arg-type]
        try:
            return agent.run(context)  # type: ignore[arg-type]
        finally:
            agent.teardown()

    def rows(self, name: str = "quotes.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.home / "data" / name).read_text().splitlines()]


def quotes(*texts: str) -> dict[str, Any]:
    body = "".join(f"<p class=quote><i class=text>{text}</i> by <b class=by>{text[0]}</b></p>" for text in texts)
    return {"body": f"<html>{body}</html>"}


@pytest.fixture
def ledger(home: Path) -> Any:
    url = f"sqlite:///{home}/ledger.db"
    with_clock = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=ManualClock(AT))
    yield with_clock
    with_clock.close()


@pytest.fixture
def deployed(home: Path, ledger: Ledger, site: Any) -> Deployed:
    site.pages["/quotes"] = quotes("alpha", "beta")
    return Deployed(home, ledger, site)


def test_rows_land_in_a_file_under_the_home(deployed: Deployed) -> None:
    assert deployed.run() == RunResult(True, "2 new rows")
    assert deployed.rows() == [{"text": "alpha", "by": "a"}, {"text": "beta", "by": "b"}]


def test_a_row_is_written_once_over_all_runs(deployed: Deployed) -> None:
    deployed.run()
    deployed.site.pages["/quotes"] = quotes("beta", "gamma", "gamma")
    assert deployed.run().message == "1 new rows"
    assert [row["text"] for row in deployed.rows()] == ["alpha", "beta", "gamma"]


def test_a_row_that_was_written_is_not_written_again_after_the_file_was_taken_away(deployed: Deployed) -> None:
    deployed.run()
    (deployed.home / "data" / "quotes.jsonl").unlink()
    deployed.site.pages["/quotes"] = quotes("alpha", "delta")
    deployed.run()
    assert [row["text"] for row in deployed.rows()] == ["delta"]


def test_without_a_key_a_row_that_changed_is_a_new_one(deployed: Deployed) -> None:
    deployed.run(key=[])
    deployed.site.pages["/quotes"] = {"body": "<p class=quote><i class=text>alpha</i><b class=by>z</b></p>"}
    deployed.run(key=[])
    assert [row["by"] for row in deployed.rows()] == ["a", "b", "z"]


def test_csv_has_its_head_once_and_the_time_where_asked(deployed: Deployed) -> None:
    given = {"output": "out.csv", "time_field": "at"}
    deployed.run(**given)
    deployed.site.pages["/quotes"] = quotes('gamma, "x"')
    deployed.run(**given)
    with (deployed.home / "data" / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["text"] for row in found] == ["alpha", "beta", 'gamma, "x"']
    assert {row["at"] for row in found} == {"2026-03-01T12:00:00Z"}


def test_a_csv_with_other_columns_is_left_alone(deployed: Deployed) -> None:
    path = deployed.home / "data" / "out.csv"
    path.parent.mkdir()
    path.write_text("name,price\nx,1\n")
    with pytest.raises(Exception, match="other columns"):
        deployed.run(output="out.csv")
    assert path.read_text() == "name,price\nx,1\n"


def test_an_unchanged_page_is_not_fetched_again(deployed: Deployed) -> None:
    full = {**quotes("alpha"), "headers": {"ETag": '"1"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}}
    deployed.site.pages["/quotes"] = lambda headers: {"status": 304} if headers.get("if-none-match") == '"1"' else full
    deployed.run()
    assert deployed.run().message == "0 new rows"
    assert deployed.site.asked[-1][1]["if-modified-since"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    deployed.run(fields={"by": ".by"}, key="by", output="other.jsonl")
    assert "if-none-match" not in deployed.site.asked[-1][1], "what else is to be taken needs the whole page"


def test_one_page_that_fails_does_not_keep_the_others(deployed: Deployed) -> None:
    deployed.site.pages["/more"] = quotes("gamma")
    urls = [deployed.site.url("/gone"), deployed.site.url("/more")]
    result = deployed.run(urls=json.dumps(urls))
    assert not result.ok and "1 of 3 pages failed" in str(result.message) and "404" in str(result.message)
    assert len(deployed.rows()) == 3


def test_each_page_is_paid_before_it_is_fetched(deployed: Deployed) -> None:
    context = deployed.context(cost_per_page="0.40", urls=[deployed.site.url("/more")])
    context.limit = Decimal("0.50")
    with pytest.raises(BudgetExceeded):
        deployed.run(context)
    assert context.spent == [Decimal("0.40")]
    assert "/more" not in deployed.site.paths()


def test_a_run_that_is_to_end_fetches_no_further_page(deployed: Deployed) -> None:
    context = deployed.context()
    context.stopping = True
    deployed.run(context)
    assert deployed.site.asked == []


class Died(BaseException):
    """The process was killed here."""


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_a_death_in_the_middle_of_writing_leaves_neither_half_rows_nor_doubles(
    part: float, output: str, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.run(output=output)
    deployed.site.pages["/quotes"] = quotes("beta", "gamma", "delta", "epsilon", "zeta")
    append = RowFile.append

    def die(self: RowFile, content: bytes) -> None:
        append(self, content[: int(len(content) * part)])
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(RowFile, "append", die)
        deployed.run(output=output)
    deployed.run(output=output)
    lines = (deployed.home / "data" / output).read_text().splitlines()[output.endswith(".csv") :]
    texts = [line.split(",")[0] if output.endswith(".csv") else json.loads(line)["text"] for line in lines]
    assert sorted(texts) == ["alpha", "beta", "delta", "epsilon", "gamma", "zeta"]


def test_a_death_at_any_write_of_the_state_loses_and_doubles_nothing(deployed: Deployed) -> None:
    """Every step of the run is the last one once."""
    for step in range(1, 40):
        deployed.site.pages["/quotes"] = quotes(*(f"r{step}-{number}" for number in range(3)))
        context = deployed.context()
        context.state = Dying(deployed.state, step)
        try:
            deployed.run(context)
            break
        except Died:
            deployed.run()
    else:
        pytest.fail("the run has more steps than were tried")
    expected = sorted(f"r{number}-{row}" for number in range(1, step + 1) for row in range(3))
    assert step > 5
    assert sorted(row["text"] for row in deployed.rows()) == expected


class Dying(MutableMapping[str, Any]):
    """A state whose n-th change is the last thing the process does."""

    def __init__(self, inner: MutableMapping[str, Any], after: int) -> None:
        self._inner = inner
        self._left = after

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Died

    def __getitem__(self, key: str) -> Any:
        return self._inner[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._inner[key] = value
        self._step()

    def __delitem__(self, key: str) -> None:
        del self._inner[key]
        self._step()

    def __iter__(self) -> Any:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": None}, "url is missing"),
        ({"url": "example.com"}, "not a web address"),
        ({"fields": "{}"}, "fields"),
        ({"fields": {"a": "p["}}, "not a CSS selector"),
        ({"row": "a@href"}, "a row is an element"),
        ({"output": "out.xlsx"}, "must end in one of"),
        ({"key": "text,nothing"}, "must name fields"),
        ({"time_field": "by"}, "time_field"),
        ({"colour": "red"}, "no setting colour|Extra inputs"),
    ],
)
def test_what_is_wrong_in_its_settings_is_told(settings: dict[str, Any], words: str, deployed: Deployed) -> None:
    with pytest.raises(UsageProblem, match=words):
        deployed.context(**settings)
