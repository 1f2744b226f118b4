from __future__ import annotations

from datetime import timedelta

import pytest

from nova.clock import ManualClock
from nova.errors import NotFound, Refused, UsageProblem
from nova.ledger.effects import EffectHeld, Taken
from nova.ledger.limits import RunRef
from nova.ledger.once import DIED, Once
from nova.ledger.outbox import Outbox
from nova.ledger.runs import Runs
from nova.ledger.store import Store


@pytest.fixture
def once(store: Store) -> Once:
    return Once(store)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store)


def begun(once: Once, store: Store, run: str, key: str = "k") -> Taken:
    """By a run that has just started."""
    Runs(store).started(RunRef(run, "w", "w#1", "d", "m"), store.clock.now())
    return once.begin("w", run, "shop.order", key, {"n": 1})


def ended(store: Store, run: str) -> None:
    Runs(store).ended(RunRef(run, "w", "w#1", "d", "m"), store.clock.now(), "interrupted")


def state(outbox: Outbox) -> str:
    (effect,) = outbox.of("w")
    return effect.state


def test_an_open_run_is_alone_at_it_and_one_that_is_over_leaves_it_in_doubt(
    once: Once, outbox: Outbox, store: Store
) -> None:
    taken = begun(once, store, "r1")
    assert (taken.topic, taken.attempts, taken.doubtful, taken.done) == ("platform:shop.order", 1, False, False)
    for run in ("r1", "r2"):
        with pytest.raises(EffectHeld):
            once.begin("w", run, "shop.order", "k", None)
    assert state(outbox) == "pending"
    ended(store, "r1")
    assert (state(outbox), outbox.doubtful(), outbox.given_up()) == ("doubtful", {"w": 1}, {})
    again = begun(once, store, "r2")
    assert (again.doubtful, again.attempts, again.payload) == (True, 1, {"n": 1})
    once.doubt("w", "r2", again.topic, "k", "")
    assert (state(outbox), outbox.of("w")[0].error) == ("doubtful", DIED)
    assert begun(once, store, "r3").doubtful, "however often it is asked for"
    once.doubt("w", "r2", again.topic, "k", "of a run that has it no more")
    assert state(outbox) == "pending"


def test_what_is_forgotten_may_be_begun_anew_but_not_by_another(once: Once, outbox: Outbox, store: Store) -> None:
    topic = begun(once, store, "r1").topic
    once.forget("w", "r2", topic, "k")
    assert state(outbox) == "pending"
    once.forget("w", "r1", topic, "k")
    assert outbox.of("w") == []
    assert not begun(once, store, "r3").doubtful


def test_what_was_done_is_told_to_every_later_run(once: Once, outbox: Outbox, store: Store) -> None:
    outbox.done("w", "r1", begun(once, store, "r1").topic, "k", {"id": 7})
    later = begun(once, store, "r2")
    assert (later.done, later.result) == (True, {"id": 7})


def test_no_loop_over_the_outbox_takes_it_and_no_agent_can_name_it(once: Once, outbox: Outbox, store: Store) -> None:
    topic = begun(once, store, "r1").topic
    ended(store, "r1")
    assert outbox.take("w", "r2") is None
    assert outbox.take("w", "r2", topic) is None
    with pytest.raises(UsageProblem, match="own"):
        outbox.put("w", topic, "k", None)


def test_a_person_settles_it_once(once: Once, outbox: Outbox, store: Store) -> None:
    begun(once, store, "r1")
    with pytest.raises(Refused, match="is pending"):
        once.settle("w", "k", by="kim")
    ended(store, "r1")
    with pytest.raises(NotFound):
        once.settle("w", "other", by="kim")
    with pytest.raises(NotFound):
        once.settle("w", "k", "mail", by="kim")
    assert outbox.retry("w", "k", by="kim")[0].state == "pending"
    assert not begun(once, store, "r2").doubtful, "a person saw that it was not done"
    ended(store, "r2")
    assert once.settle("w", "k", by="kim")[0].state == "done"
    assert begun(once, store, "r3").done


def test_it_is_as_old_as_its_first_attempt(once: Once, store: Store, clock: ManualClock) -> None:
    assert begun(once, store, "r1").age_s == 0
    clock.advance(3600)
    once.doubt("w", "r1", "platform:shop.order", "k", "cut")
    clock.advance(60)
    assert begun(once, store, "r2").age_s == 3660


def test_what_is_in_doubt_is_forgotten_after_three_months(
    once: Once, outbox: Outbox, store: Store, clock: ManualClock
) -> None:
    begun(once, store, "r1", "died")
    once.doubt("w", "r2", begun(once, store, "r2", "cut").topic, "cut", "no answer")
    ended(store, "r1")
    assert outbox.prune(clock.now() + timedelta(days=89)) == 0
    assert outbox.prune(clock.now() + timedelta(days=91)) == 2
