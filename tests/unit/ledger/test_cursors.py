from __future__ import annotations

from datetime import timedelta

import pytest

from nova.clock import ManualClock
from nova.ledger import cursors as module
from nova.ledger.cursors import Cursor, Cursors
from nova.ledger.store import Store


@pytest.fixture
def cursors(store: Store) -> Cursors:
    return Cursors(store)


def test_a_source_never_synced_has_no_times(cursors: Cursors) -> None:
    assert cursors.get("stripe") == Cursor("stripe")


def test_a_failure_keeps_how_far_the_sync_had_come(cursors: Cursors, clock: ManualClock) -> None:
    start = clock.now()
    cursors.succeeded("stripe", "txn_9", start - timedelta(minutes=1))
    clock.advance(900)
    cursors.failed("stripe", "429 Too Many Requests")
    assert cursors.get("stripe") == Cursor(
        "stripe", "txn_9", start - timedelta(minutes=1), clock.now(), start, "429 Too Many Requests"
    )
    clock.advance(900)
    cursors.succeeded("stripe", "txn_10", clock.now())
    assert cursors.get("stripe") == Cursor("stripe", "txn_10", clock.now(), clock.now(), clock.now(), None)


def test_a_first_attempt_that_failed_covers_nothing(cursors: Cursors, clock: ManualClock) -> None:
    cursors.failed("gumroad", "unreachable")
    assert cursors.all() == {"gumroad": Cursor("gumroad", attempted_at=clock.now(), error="unreachable")}


def test_it_moves_only_with_the_transaction_around_it(store: Store, cursors: Cursors, clock: ManualClock) -> None:
    def cut(conn: object) -> None:
        module.succeeded(conn, "stripe", "txn_1", clock.now(), clock.now())  # type: ignore[arg-type]
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        store.apply(cut)
    assert cursors.get("stripe") == Cursor("stripe")
