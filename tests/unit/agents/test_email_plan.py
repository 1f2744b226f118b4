from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.agents.email_plan import Hours, Plan, Progress, Quota, shard_of, shards_for

VIENNA = ZoneInfo("Europe/Vienna")
NIGHT = Hours((time(21), time(8)))


def marks(count: int) -> list[str]:
    return [f"{number:016x}" for number in range(count)]


@pytest.mark.parametrize(
    ("utc", "open_"),
    [
        ("2026-03-28T06:59", False),  # 07:59 in Vienna, before its clocks go forward
        ("2026-03-28T07:00", True),
        ("2026-03-29T05:59", False),  # 07:59 on the day after
        ("2026-03-29T06:00", True),
        ("2026-10-24T18:59", True),
        ("2026-10-24T19:00", False),  # 21:00 before they go back
        ("2026-10-25T19:59", True),
        ("2026-10-25T20:00", False),  # 21:00 after
    ],
)
def test_quiet_hours_go_by_the_wall_clock(utc: str, open_: bool) -> None:
    at = datetime.fromisoformat(utc).replace(tzinfo=UTC).astimezone(VIENNA)
    assert NIGHT.open(at) is open_


def test_quiet_hours_within_a_day_and_the_first_hour() -> None:
    noon = Hours((time(12), time(13)), 9)
    found = [hour for hour in range(24) if noon.open(datetime(2026, 5, 1, hour, tzinfo=UTC))]
    assert found == [hour for hour in range(9, 24) if hour != 12]


def test_the_warm_up_grows_by_the_day_and_ends() -> None:
    quota, sent = Quota(), []
    for day in (1, 1, 2, 3, 4, 4, 9):
        quota, granted = Quota.of(json.loads(json.dumps(quota.said()))).grant(date(2026, 5, day), 300, (50, 100), 250)
        sent.append(granted)
    assert sent == [50, 0, 100, 250, 250, 0, 250]
    assert quota.back(20).used == 230 and Quota().grant(date(2026, 5, 1), 9, (), None)[1] == 9


def test_each_step_follows_the_one_before_by_its_own_time() -> None:
    progress, everyone = Progress(), marks(4)
    first, second = 100, 100 + 60
    (found,) = progress.due(everyone, (0, 60), first)
    assert found == (0, everyone)
    progress.finish(progress.begin("k", 0, everyone[:2]), first)
    assert list(progress.due(everyone, (0, 60), second - 1)) == [(0, everyone[2:])]
    assert list(progress.due([everyone[0], everyone[3]], (0, 60), second)) == [(1, everyone[:1]), (0, everyone[3:])]
    progress.finish(progress.begin("k", 1, everyone[:2]), second, out=everyone[:1])
    assert list(progress.due(everyone[:2], (0, 60), 9999)) == []
    assert progress.out == {everyone[0]} and [plan.key for plan in progress.open] == []


def test_of_a_plan_whose_end_is_unknown_nobody_is_due() -> None:
    progress, everyone = Progress(), marks(3)
    plan = progress.begin("k", 0, everyone[:2])
    again = Progress.of(json.loads(json.dumps(progress.said())))
    assert again.open == [plan] == [Plan("k/1", 0, everyone[:2])]
    assert list(again.due(everyone, (0,), 0)) == [(0, everyone[2:])]
    again.drop(plan)
    assert list(again.due(everyone, (0,), 0)) == [(0, everyone)] and again.begin("k", 0, everyone).key == "k/2"


@given(st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 20))), max_size=12))
def test_progress_survives_being_written_down(turns: list[tuple[int, set[int]]]) -> None:
    progress, everyone = Progress(), marks(21)
    for now, (step, who) in enumerate(turns):
        plan = progress.begin("k", step, [everyone[number] for number in sorted(who)])
        if now % 3:
            progress.finish(plan, now, [everyone[number] for number in who if number % 7 == 0])
    again = Progress.of(json.loads(json.dumps(progress.said())))
    assert {place: who for place, who in progress.had.items() if who} == again.had
    assert (again.out, again.open, again.plans) == (progress.out, progress.open, progress.plans)


def test_a_list_is_divided_so_that_it_may_grow() -> None:
    assert [shards_for(count, 1000) for count in (0, 16_000, 16_001, 100_000, 10**9)] == [16, 16, 32, 128, 4096]
    assert {shard_of(mark * 2, 16) for mark in ("0000000a", "fffffff3")} == {10, 3}
