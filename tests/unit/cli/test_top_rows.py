"""What `nova top` says of a fleet: rates, rows, the head, decisions. Without a screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.cli.layout import cells
from nova.cli.top import head, texts
from nova.cli.top.look import Budget, Look, Rate, Rates
from nova.cli.top.rows import NAME, ROI, SPENT, STATE, amount, arranged, fitted, percentage, plan, rows_of, short
from nova.money import Money

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ZONE = ZoneInfo("UTC")


def worker(name: str, **more: Any) -> dict[str, Any]:
    instance = {"id": f"{name}#1", "state": "waiting", "run_started_at": None, "last_heartbeat": None}
    return {
        "name": name, "department": "sales", "agent": "shell", "runtime": "thread", "state": "active",
        "pause_reason": None, "state_until": None, "replicas": 1, "running": 1, "runs": 0, "succeeded": 0, "failed": 0,
        "interrupted": 0, "crashes": 0, "restarts": 0, "success_rate": 100.0, "revenue": "0.00", "cost": "0.00",
        "profit": "0.00", "roi_percent": None, "cpu_percent": 1.5, "memory_mb": None, "threads": 1,
        "last_error": None, "finished": False, "instances": [instance], **more,
    }  # fmt: skip


def look(*workers: dict[str, Any], at_s: float = 0.0, **more: Any) -> Look:
    manager = {"running": True, "pid": 7, "started_at": "", "uptime_s": 60.0, "department": "all",
               "cpu_percent": 2.0, "memory_mb": 80.0}  # fmt: skip
    totals = {"deployments": len(workers), "instances": 3, "running": 2, "paused": 1, "parked": 0}
    document = {"currency": "USD", "manager": manager, "totals": totals, "workers": list(workers)}
    values: dict[str, Any] = {
        "at": NOW + timedelta(seconds=at_s), "at_s": at_s, "document": document, "spent": {}, "budgets": (),
        "spent_today": Money.parse("5", "USD"), "earned_today": Money.parse("7", "USD"), "waiting": (),
        "autonomous": True,
    }  # fmt: skip
    return Look(**{**values, **more})


def text(words: head.Words) -> str:
    return "".join(part for part, _ in words)


def test_a_rate_is_what_the_last_minute_added() -> None:
    rates = Rates()
    for second in range(0, 181, 2):
        spent = {"a": Money(second * 1000, "USD")}
        rates.note(look(worker("a", runs=second // 2, revenue="1.00"), at_s=second, spent=spent))
    assert rates.of("a") == pytest.approx(Rate(30.0, 60_000, 0.0))
    assert rates.whole() == rates.of("a")


def test_what_was_looked_at_for_a_moment_only_has_no_rate_yet() -> None:
    rates = Rates()
    rates.note(look(worker("a")))
    rates.note(look(worker("a", runs=9), at_s=3))
    assert rates.of("a") is None
    assert rates.of("never seen") is None
    rates.note(look(worker("a", runs=9), worker("new"), at_s=10))
    assert rates.of("a") == Rate(54.0, 0.0, 0.0)
    assert rates.of("new") is None


def test_a_deployment_that_comes_back_from_nothing_has_no_negative_runs() -> None:
    rates = Rates()
    rates.note(look(worker("a", runs=100)))
    rates.note(look(worker("a", runs=1), at_s=30))
    assert rates.of("a") == Rate(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("more", "shown", "note"),
    [
        ({}, "active", ""),
        ({"state": "paused", "pause_reason": "operator"}, "paused", "by you"),
        (
            {"state": "paused", "pause_reason": "budget", "state_until": "2026-03-02T00:00:00Z"},
            "paused",
            "budget until Mon 00:00",
        ),
        (
            {"state": "cooling_down", "state_until": "2026-03-01T12:05:00Z", "last_error": "Traceback\nbroken\x1b[2J"},
            "cooling_down",
            "until 12:05: broken?[2J",
        ),
        ({"state": "parked", "last_error": None}, "parked", ""),
        ({"instances": [{"id": "a#2", "state": "hung"}]}, "hung", "#2"),
        ({"instances": [{"id": "a#1", "state": "backing_off"}], "last_error": "exit 3"}, "backing_off", "exit 3"),
        (
            {"instances": [{"id": "a#1", "state": "waiting", "next_run_at": "2026-03-01T15:00:00Z"}]},
            "active",
            "at 15:00",
        ),
        ({"instances": [{"id": "a#1", "state": "waiting", "next_run_at": "2026-03-01T12:00:30Z"}]}, "active", ""),
        ({"state": "killed"}, "killed", ""),
    ],
)
def test_the_note_says_the_one_thing_to_know(more: dict[str, Any], shown: str, note: str) -> None:
    (row,) = rows_of(look(worker("a", **more)), Rates(), ZONE)
    assert (row.shown, row.note) == (shown, note)


def test_problems_come_first_when_sorted_by_state_and_the_unknown_last_by_a_figure() -> None:
    found = rows_of(
        look(
            worker("calm", roi_percent=10.0),
            worker("parked", state="parked"),
            worker("Anna", roi_percent=500.0),
            worker("killed", state="killed", roi_percent=-100.0),
        ),
        Rates(),
        ZONE,
    )
    assert [row.name for row in arranged(found, STATE)] == ["parked", "Anna", "calm", "killed"]
    assert [row.name for row in arranged(found, ROI)] == ["Anna", "calm", "killed", "parked"]
    assert [row.name for row in arranged(found, ROI, backward=True)] == ["killed", "calm", "Anna", "parked"]
    assert [row.name for row in arranged(found, NAME)] == ["Anna", "calm", "killed", "parked"]
    assert [row.name for row in arranged(found, SPENT)] == ["Anna", "calm", "killed", "parked"]


@pytest.mark.parametrize("width", [79, 80, 100, 119, 200])
def test_a_row_fills_the_width_exactly_and_no_figure_is_cut(width: int) -> None:
    name = "a-name-of-sixty-four-letters-" + "x" * 35
    rows = rows_of(look(worker(name, roi_percent=123456.0, running=1000, replicas=1000), worker("短い")), Rates(), ZONE)
    made = plan(width, rows)
    for row in rows:
        line = " ".join(made.cells(row))
        assert cells(line) >= width
        assert "123k%" in line or row.name != name
    assert cells(" ".join(made.cells(rows[1]))) == width
    assert "name▲" in " ".join(made.heads(NAME, backward=False))
    assert ("department" in " ".join(made.heads(NAME, backward=False))) == (width >= 110)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0"), (0.004217, "0.0042"), (0.5, "0.50"), (9.96, "10.0"), (12.34, "12.3"), (1234, "1234"),
     (12_345, "12.3k"), (-0.031, "-0.031"), (4.2e6, "4.2M"), (3.1e9, "3.1G"), (0.000001, "0")],
)  # fmt: skip
def test_figures_are_short(value: float | None, shown: str) -> None:
    assert short(value) == shown
    assert len(shown) <= 6


def test_money_and_percent_in_the_table() -> None:
    assert amount(12_340_000.0) == "12.34"
    assert amount(4_217.0) == "0.0042"
    assert amount(None) == "-"
    assert percentage(99.6) == "100%"
    assert percentage(24_900) == "24.9k%"


def test_a_text_is_cut_by_places_and_not_by_letters() -> None:
    assert fitted("短い名前", 6) == "短い… "
    assert fitted("short", 8) == "short   "
    assert fitted("12", 4, left=False) == "  12"


def test_the_head_tells_managers_money_and_the_fleet() -> None:
    lines = [text(line) for line in head.head(look(worker("a")), Rate(1, 250_000, 1_500_000), 80, ZONE)]
    assert lines[0].startswith("nova  manager 7, up 1m  cpu 2%  memory 80.0 MB")
    assert lines[0].endswith("12:00:00")
    assert len(lines[0]) == 80
    assert lines[1] == "today  spent $5.00 $0.25/min  earned $7.00 $1.50/min  profit $2.00"
    assert lines[2] == "fleet  1 deployment, 2 of 3 instances run, 1 paused  autonomy on"


def test_without_a_manager_the_head_says_how_to_start_one() -> None:
    found = look(worker("a"))
    found.document["manager"].update(dict.fromkeys(found.document["manager"], None), running=False)
    assert "no manager runs (nova workers start)" in text(head.head(found, None, 80, ZONE)[0])


def test_several_managers_are_counted_and_added_up() -> None:
    found = look(worker("a"))
    one = found.document["manager"]
    more = look(worker("a"), document={**found.document, "managers": [one, one]})
    assert text(head.head(more, None, 80, ZONE)[0]).startswith("nova  2 managers  cpu 4%  memory 160.0 MB")


def budget(scope: str, spent: str, limit: str = "10", reserved: str = "0") -> Budget:
    return Budget(scope, "day", *(Money.parse(text, "USD") for text in (limit, spent, reserved)))


def test_budgets_are_bars_the_fullest_first_and_the_rest_are_counted() -> None:
    three = [budget("fleet", "1"), budget("department:sales", "8", reserved="1"), budget("department:ops", "0", "0")]
    lines = head.bars(three, 80, 2)
    assert [text(line).split()[0] for line in lines] == ["ops/day", "sales/day"]
    assert "100%  $0.00 of $0.00" in text(lines[0])
    assert "████████████████▒▒░░  90%  $8.00 of $10.00 +1 more" in text(lines[1])
    (wide, last) = head.bars(three, 120, 2)
    assert "sales/day" in text(wide)
    assert "fleet/day" in text(last)
    assert head.bars([], 80, 2) == []


DECISION = {
    "id": "d-7k2m9x", "kind": "scale_up", "worker": "research", "state": "pending", "reason": "ROI is \x1b[31mgood",
    "from_replicas": 1, "to_replicas": 2, "daily_cost_impact": "209.10", "approve_up_to": "215.00",
    "roi_percent": 846.0, "roi_low": 574.0, "roi_high": 1201.0, "expires_at": "2026-03-02T11:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize("width", [40, 79, 120])
def test_a_decision_fits_its_line_and_shows_its_cost(width: int) -> None:
    line = text(texts.waiting(DECISION, width, "USD", NOW))
    assert cells(line) <= width
    assert line.startswith("d-7k2m9x  scale up resear")
    if width >= 79:
        assert "1 → 2" in line
        assert "$209.10 a day" in line
        assert "23h left" in line


def test_a_decision_is_asked_about_with_what_it_costs() -> None:
    asked = texts.question(DECISION, "Approve", "USD")
    assert "Approve d-7k2m9x: scale up research, 1 to 2 replicas?" in asked
    assert "$209.10 a day, and yes holds up to $215.00 a day" in asked
    assert "846% (574% to 1,201%)" in asked
    assert "\x1b" not in asked
    assert "silent for a day" in texts.question(DECISION, "Reject", "USD")


def test_what_does_not_fit_goes_on_below_its_beginning() -> None:
    lines = [text(words) for words in texts.folded([("command   ", "dim"), ("echo " * 5 + "end", "")], 24)]
    assert lines == ["command   echo echo echo", " " * 10 + "echo echo end"]
    assert [text(words) for words in texts.folded([("  a long reason here", "")], 14)] == ["  a long", "  reason here"]
    assert list(texts.folded([], 10)) == [[]]
