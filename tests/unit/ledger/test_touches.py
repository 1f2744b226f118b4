"""Touches, the names of people, declared mappings, and what is known of payments: each idempotent."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select

from nova.clock import ManualClock
from nova.errors import NotFound, UsageProblem
from nova.ledger import credits
from nova.ledger.credits import Credit, Credits
from nova.ledger.mappings import Mappings
from nova.ledger.schema import meta, metadata
from nova.ledger.schema_revenue import subjects as table
from nova.ledger.store import Store
from nova.ledger.subjects import Subjects, same, subject_of, subject_of_email
from nova.ledger.touches import Touch, Touches


def touch(id: str, at: datetime, subject: str = "mail:a", worker: str = "mailer", kind: str = "click") -> Touch:
    return Touch(id, subject, worker, kind, at)


def test_an_address_is_one_subject_however_it_is_written() -> None:
    assert subject_of_email(" Ann@Example.com ") == subject_of_email("ann@example.COM")
    assert subject_of_email("ann@example.com").startswith("mail:") and "ann" not in subject_of_email("ann@example.com")
    assert subject_of("stripe", "cus_1") != subject_of("gumroad", "cus_1")


def test_the_same_touch_counts_once(store: Store, clock: ManualClock) -> None:
    touches, now = Touches(store), clock.now()
    assert touches.add(touch("a", now), touch("b", now - timedelta(1)), touch("a", now)) == 2
    assert touches.add(touch("a", now)) == 0
    assert [one.id for one in touches.of("mail:a")] == ["b", "a"]
    assert [one.id for one in touches.of("mail:a", since=now)] == ["a"]


@pytest.mark.parametrize(
    "wrong", [{"kind": "glance"}, {"subject": "ann@example.com"}, {"subject": ""}, {"worker": "a/b"}, {"id": ""}]
)
def test_what_is_no_touch_is_refused(store: Store, clock: ManualClock, wrong: dict[str, str]) -> None:
    fields = {"id": "x", "subject": "mail:a", "worker": "mailer", "kind": "click", **wrong}
    with pytest.raises(UsageProblem):
        Touches(store).add(Touch(at=clock.now(), **fields))


def test_a_person_is_met_under_every_name(store: Store, clock: ManualClock) -> None:
    touches, subjects = Touches(store), Subjects(store)
    touches.add(touch("a", clock.now(), "click:1"), touch("b", clock.now() + timedelta(1), "mail:a"))
    assert subjects.same("click:1", "mail:a") and not subjects.same("mail:a", "click:1")
    assert subjects.same("mail:a", "cus:1", "cus:2")
    assert subjects.names("cus:2") == ("click:1", "cus:1", "cus:2", "mail:a")
    assert [one.id for one in touches.of("cus:1")] == ["a", "b"]
    assert subjects.names("nobody") == ("nobody",) and not subjects.same("alone")


def test_a_click_whose_address_was_handed_around_makes_no_crowd_of_one(store: Store) -> None:
    subjects = Subjects(store)
    for n in range(40):
        subjects.same(f"mail:{n}", f"stripe:{n}", "click:shared", f"click:own{n}")
    assert len(subjects.names("click:shared")) < 30
    assert subjects.names("mail:39") == ("click:own39", "mail:39", "stripe:39")
    for n in range(40):
        subjects.same("mail:39", f"click:c{n}")
    assert len(subjects.names("mail:39")) == 43  # one person clicks as often as they like
    assert not subjects.same("mail:39", "click:shared") and subjects.same("mail:39", "mail:other")


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3), max_size=8))
def test_names_come_together_in_any_order(groups: list[list[str]]) -> None:
    found = []
    for order in (groups, sorted(groups), [[*reversed(group)] for group in reversed(groups)]):
        engine = create_engine("sqlite://")
        metadata.create_all(engine, tables=[table, credits.credits, meta])
        with engine.begin() as conn:
            if order is groups:
                same(conn, 1, order)
            else:
                for group in order:
                    same(conn, 1, [group])
            found.append({row.alias: row.subject for row in conn.execute(select(table))})
        engine.dispose()
    assert found[0] == found[1] == found[2]


def test_names_that_come_together_at_once_are_one_person(store: Store) -> None:
    pairs = [(f"n{i}", f"n{i + 1}") for i in range(24)]
    threads = [
        threading.Thread(target=lambda part=pairs[n::4]: [Subjects(store).same(*pair) for pair in part])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Subjects(store).names("n7")) == 25


def test_a_touch_makes_later_payments_of_the_person_stale(store: Store, clock: ManualClock) -> None:
    known, now = Credits(store), clock.now()
    store.apply(lambda conn: credits.set_rule(conn, "linear 30d"))
    known.learn(Credit("stripe", "pi_1", now, "cus:1"), Credit("stripe", "pi_0", now - timedelta(2), "cus:1"))
    store.apply(lambda conn: [credits.leave(conn, "stripe", name) for name in ("pi_0", "pi_1")])
    Subjects(store).same("cus:1", "mail:a")
    assert known.stale_count() == 2
    store.apply(lambda conn: [credits.leave(conn, "stripe", name) for name in ("pi_0", "pi_1")])
    Touches(store).add(touch("t", now - timedelta(1)))
    with store.read() as conn:
        assert credits.stale(conn, 10) == [("stripe", "pi_1")]


def test_what_is_told_of_a_payment_adds_up(store: Store, clock: ManualClock) -> None:
    known, now = Credits(store), clock.now()
    assert known.learn(Credit("stripe", "pi_1", now, None, {"product": "p"})) == 1
    assert known.learn(Credit("stripe", "pi_1", now, None, {"product": "p"})) == 0
    assert known.learn(Credit("stripe", "pi_1", now - timedelta(1), "cus:1", {"product": "q", "tag": "mailer"})) == 1
    found = known.get("stripe", "pi_1")
    assert found is not None and (found.subject, found.at) == ("cus:1", now - timedelta(1))
    assert found.evidence == {"product": "p", "tag": "mailer"} and found.stale


def test_a_mapping_is_replaced_and_ended_but_never_removed(store: Store, clock: ManualClock) -> None:
    mappings = Mappings(store)
    Credits(store).learn(Credit("stripe", "pi_1", clock.now(), None, {"product": "prod_1"}))
    store.apply(lambda conn: credits.leave(conn, "stripe", "pi_1"))
    assert mappings.declare("stripe", "product", "prod_1", "mailer", "dana")
    assert not mappings.declare("stripe", "product", "prod_1", "mailer", "dana")
    assert Credits(store).stale_count() == 1
    assert mappings.declare("stripe", "product", "prod_1", "shop", "dana")
    assert [one.worker for one in mappings.all()] == ["shop"]
    assert mappings.end("stripe", "product", "prod_1", "dana").worker == "shop"
    assert mappings.all() == [] and [one.worker for one in mappings.all(ended=True)] == ["mailer", "shop"]
    with pytest.raises(NotFound):
        mappings.end("stripe", "product", "prod_1", "dana")
    with pytest.raises(UsageProblem):
        mappings.declare("stripe", "planet", "mars", "mailer", "dana")
