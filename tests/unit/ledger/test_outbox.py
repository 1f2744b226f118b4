from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from nova.clock import ManualClock
from nova.errors import LedgerConflict, NotFound, Refused, UsageProblem
from nova.ledger.audit import Audit
from nova.ledger.effects import MOST_ATTEMPTS, Effect, EffectFailed, EffectHeld
from nova.ledger.limits import RunRef
from nova.ledger.outbox import Outbox, _due
from nova.ledger.runs import Runs
from nova.ledger.schema import outbox as rows
from nova.ledger.store import Store


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store)


@pytest.fixture
def runs(store: Store, clock: ManualClock) -> Runs:
    """The runs r1 and r2 are open."""
    found = Runs(store)
    for run in ("r1", "r2"):
        found.started(ref(run), clock.now())
    return found


def ref(run: str) -> RunRef:
    return RunRef(run, "mailer", f"mailer#{run[-1]}", "sales", "m-1")


def taken(outbox: Outbox, run: str = "r1", topic: str | None = None, after: Any = None) -> Effect:
    effect = outbox.take("mailer", run, topic, after)
    assert effect is not None
    return effect


def done(outbox: Outbox, effect: Effect, run: str = "r1", result: Any = None) -> bool:
    return outbox.done(effect.worker, run, effect.topic, effect.key, result)


def failed(outbox: Outbox, effect: Effect) -> Effect:
    return outbox.failed(effect.worker, effect.run or "", effect.topic, effect.key, "no luck")


def test_an_effect_is_put_once_and_never_changes(outbox: Outbox) -> None:
    assert outbox.put("mailer", "mail", "order-17", {"to": "a@x", "n": 1}) is True
    assert outbox.put("mailer", "mail", "order-17", {"n": 1, "to": "a@x"}) is False
    with pytest.raises(LedgerConflict, match="another payload"):
        outbox.put("mailer", "mail", "order-17", {"to": "b@x"})
    assert outbox.put("mailer", "invoice", "order-17", {"to": "b@x"}) is True
    assert outbox.put("other", "mail", "order-17", None) is True


@pytest.mark.parametrize(
    ("topic", "key", "payload"),
    [
        ("", "k", 1),
        ("mail", "", 1),
        ("mail", "k" * 251, 1),
        ("mail", 7, 1),
        ("mail", "k", {1, 2}),
        ("mail", "k", float("nan")),
        ("mail", "k", "x" * 1_000_001),
        ("mail", "\ud800", 1),
    ],
)
def test_what_cannot_be_kept_is_refused(outbox: Outbox, topic: Any, key: Any, payload: Any) -> None:
    with pytest.raises(UsageProblem):
        outbox.put("mailer", topic, key, payload)
    assert outbox.of("mailer") == []


def test_effects_are_taken_in_the_order_they_were_put_and_marked_when_done(
    outbox: Outbox, runs: Runs, clock: ManualClock
) -> None:
    for key in ("b", "a"):
        outbox.put("mailer", "mail", key, {"key": key})
        clock.advance(1)
    first = taken(outbox)
    assert (first.key, first.payload, first.attempts, first.run) == ("b", {"key": "b"}, 1, "r1")
    assert done(outbox, first, "r1", {"id": "m-1"}) is True
    assert done(outbox, first, "r1") is False
    assert taken(outbox).key == "a"
    assert outbox.take("mailer", "r1") is None
    (kept,) = outbox.of("mailer", ["done"])
    assert (kept.result, kept.done_at, kept.run) == ({"id": "m-1"}, clock.now(), "r1")


def test_what_an_open_run_is_at_no_other_takes_and_what_a_dead_one_left_is_due_at_once(
    outbox: Outbox, runs: Runs, clock: ManualClock
) -> None:
    outbox.put("mailer", "mail", "a", 1)
    first = taken(outbox)
    assert outbox.take("mailer", "r2") is None
    with pytest.raises(EffectHeld):
        outbox.begin("mailer", "r2", "mail", "a", 1)
    runs.end(ref("r1"), clock.now(), "interrupted")
    again = taken(outbox, "r2")
    assert (again.attempts, again.idempotency_key) == (2, first.idempotency_key)
    assert done(outbox, first, "r1") is False, "a late mark does not count while another run is at it"
    assert done(outbox, again, "r2") is True


def test_what_a_dead_run_did_can_still_be_marked_while_no_other_is_at_it(
    outbox: Outbox, runs: Runs, clock: ManualClock
) -> None:
    outbox.put("mailer", "mail", "a", 1)
    effect = taken(outbox)
    runs.end(ref("r1"), clock.now(), "failed")
    assert done(outbox, effect, "r1") is True
    assert outbox.take("mailer", "r2") is None


def test_a_failure_is_tried_again_after_longer_and_longer_waits_and_given_up_in_the_end(
    outbox: Outbox, runs: Runs, clock: ManualClock
) -> None:
    outbox.put("mailer", "mail", "a", 1)
    waits = []
    for _ in range(MOST_ATTEMPTS - 1):
        after = failed(outbox, taken(outbox))
        assert (after.state, after.run, after.error) == ("pending", None, "no luck")
        waits.append((after.due_at - clock.now()).total_seconds())
        assert outbox.take("mailer", "r1") is None
        clock.advance(waits[-1])
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert failed(outbox, taken(outbox)).state == "failed"
    clock.advance(100_000)
    assert outbox.take("mailer", "r1") is None
    with pytest.raises(EffectFailed, match="no luck"):
        outbox.begin("mailer", "r1", "mail", "a", 1)


def test_an_effect_that_kills_every_run_that_takes_it_is_given_up(
    outbox: Outbox, runs: Runs, clock: ManualClock
) -> None:
    outbox.put("mailer", "mail", "poison", 1)
    clock.advance(1)
    outbox.put("mailer", "mail", "good", 1)
    for number in range(10, 10 + MOST_ATTEMPTS):
        runs.started(ref(f"r{number}"), clock.now())
        assert taken(outbox, f"r{number}").key == "poison"
        runs.end(ref(f"r{number}"), clock.now(), "interrupted")
    assert taken(outbox).key == "good"
    (given_up,) = outbox.of("mailer", ["failed"])
    assert "10 runs died" in (given_up.error or "")


def test_what_was_released_counts_as_never_taken(outbox: Outbox, runs: Runs) -> None:
    outbox.put("mailer", "mail", "a", 1)
    taken(outbox)
    outbox.release("mailer", "r1", "mail", "a")
    again = taken(outbox, "r2")
    assert again.attempts == 1
    outbox.release("mailer", "r1", "mail", "a")
    assert outbox.take("mailer", "r1") is None, "only its own run releases it"


def test_a_loop_goes_on_after_where_it_stood_and_by_topic(outbox: Outbox, runs: Runs) -> None:
    for topic, key in (("mail", "a"), ("mail", "b"), ("post", "a")):
        outbox.put("mailer", topic, key, 1)
    first = taken(outbox)
    outbox.release("mailer", "r1", "mail", "a")
    assert (first.key, taken(outbox, after=first.taken().mark).key) == ("a", "b")
    assert taken(outbox, topic="post").topic == "post"
    assert outbox.take("mailer", "r1", "post") is None


@pytest.mark.parametrize("hours", [-100, 100])
def test_a_clock_that_is_set_holds_nothing_back(outbox: Outbox, runs: Runs, clock: ManualClock, hours: int) -> None:
    outbox.put("mailer", "mail", "new", 1)
    clock.advance(1)
    outbox.put("mailer", "mail", "tried", 1)
    done(outbox, taken(outbox), "r1")
    failed(outbox, taken(outbox))
    outbox.put("mailer", "mail", "newer", 1)
    clock.set(clock.now() + timedelta(hours=hours))
    found = taken(outbox)
    assert {found.key, taken(outbox).key} == {"tried", "newer"}


def test_one_effect_begun_by_name_is_done_once(outbox: Outbox, runs: Runs) -> None:
    effect = outbox.begin("mailer", "r1", "charge", "order-17", 5)
    assert (effect.state, effect.attempts, effect.run) == ("pending", 1, "r1")
    done(outbox, effect, "r1", "ch_1")
    again = outbox.begin("mailer", "r2", "charge", "order-17", 5)
    assert (again.state, again.result) == ("done", "ch_1")
    with pytest.raises(LedgerConflict):
        outbox.begin("mailer", "r2", "charge", "order-17", 6)


def test_one_effect_begun_by_name_does_not_wait_for_its_time(outbox: Outbox, runs: Runs) -> None:
    failed(outbox, outbox.begin("mailer", "r1", "charge", "a", 5))
    assert outbox.take("mailer", "r1") is None
    assert outbox.begin("mailer", "r1", "charge", "a", 5).attempts == 2


def test_a_result_that_is_no_json_is_refused_with_nothing_written(outbox: Outbox, runs: Runs) -> None:
    effect = outbox.begin("mailer", "r1", "charge", "a", 5)
    with pytest.raises(UsageProblem, match="result"):
        done(outbox, effect, "r1", object())
    assert outbox.of("mailer")[0].state == "pending"


def test_a_person_makes_what_failed_due_again_and_that_is_on_record(
    outbox: Outbox, runs: Runs, store: Store, clock: ManualClock
) -> None:
    for _ in range(MOST_ATTEMPTS):
        failed(outbox, outbox.begin("mailer", "r1", "mail", "a", 5))
    outbox.put("mailer", "mail", "b", 1)
    assert outbox.given_up() == {"mailer": 1}
    (effect,) = outbox.retry("mailer", "a", by="kim")
    assert (effect.state, effect.attempts, effect.due_at) == ("pending", 0, clock.now())
    (row,) = Audit(store).log()
    assert (row.actor, row.action, row.subject) == ("kim", "effect_retried", "mailer")
    assert row.detail == {"effect": "mail a", "attempts": 10, "error": "no luck"}
    with pytest.raises(Refused, match="it is pending"):
        outbox.retry("mailer", "b", by="kim")
    with pytest.raises(NotFound):
        outbox.retry("mailer", "c", by="kim")
    with pytest.raises(NotFound, match="no post effect"):
        outbox.retry("mailer", "a", "post", by="kim")


def test_what_waits_is_listed_first_and_counted(outbox: Outbox, runs: Runs, clock: ManualClock) -> None:
    for key in ("a", "b", "c"):
        outbox.put("mailer", "mail", key, 1)
        clock.advance(1)
    done(outbox, taken(outbox), "r1")
    assert [effect.key for effect in outbox.of("mailer")] == ["b", "c", "a"]
    assert [effect.key for effect in outbox.of("mailer", ["pending"], 1)] == ["b"]
    assert outbox.counts("mailer") == {"pending": 2, "failed": 0, "doubtful": 0, "done": 1}
    assert outbox.counts("nobody") == {"pending": 0, "failed": 0, "doubtful": 0, "done": 0}
    assert outbox.given_up() == {}


def test_what_was_done_is_forgotten_after_a_month_and_what_waits_never(
    outbox: Outbox, runs: Runs, store: Store, clock: ManualClock
) -> None:
    for _ in range(MOST_ATTEMPTS):
        failed(outbox, outbox.begin("mailer", "r1", "mail", "failed", 5))
    outbox.put("mailer", "mail", "waits", 1)
    done(outbox, outbox.begin("mailer", "r1", "mail", "done", 5), "r1")
    assert outbox.prune(clock.now() + timedelta(days=29)) == 0
    assert outbox.prune(clock.now() + timedelta(days=31)) == 1
    assert outbox.prune(clock.now() + timedelta(days=92)) == 1
    with store.read() as conn:
        assert [row.key for row in conn.execute(select(rows))] == ["waits"]
    assert outbox.begin("mailer", "r1", "mail", "done", 6).state == "pending", "the key is free again"


def test_thousands_that_wait_are_taken_without_reading_them_all(outbox: Outbox, runs: Runs, store: Store) -> None:
    def fill(conn: Any) -> None:
        values = {"worker": "mailer", "topic": "mail", "payload": "1", "state": "pending", "attempts": 0, "at_us": 1}
        conn.execute(rows.insert(), [{**values, "key": f"{number}", "due_us": number} for number in range(5000)])

    store.apply(fill)
    query = _due(10_000, "mailer", None, None).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with store.read() as conn:
        plan = str(conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
    assert "outbox_undone" in plan
    keys = [taken(outbox).key for _ in range(50)]
    assert keys == [str(number) for number in range(50)]
