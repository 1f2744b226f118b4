from __future__ import annotations

import threading

import pytest

from nova.clock import ManualClock
from nova.errors import LedgerConflict, UsageProblem
from nova.ledger.claims import Claim, Claims
from nova.ledger.store import Store


@pytest.fixture
def claims(store: Store) -> Claims:
    return Claims(store)


def test_the_first_claim_wins_and_repeats_without_effect(claims: Claims, clock: ManualClock) -> None:
    assert claims.claim("stripe", "pi_1", "mailer", "r1") is True
    first = claims.get("stripe", "pi_1")
    clock.advance(60)
    assert claims.claim("stripe", "pi_1", "mailer", "r2") is False
    with pytest.raises(LedgerConflict, match="mailer's already"):
        claims.claim("stripe", "pi_1", "scout")
    assert claims.get("stripe", "pi_1") == first
    assert first is not None and (first.worker, first.run, first.by) == ("mailer", "r1", "claim")


def test_of_many_claiming_at_once_one_wins(claims: Claims) -> None:
    won: list[str] = []
    together = threading.Barrier(6)

    def race(worker: str) -> None:
        together.wait()
        try:
            if claims.claim("stripe", "pi_1", worker):
                won.append(worker)
        except LedgerConflict:
            pass

    threads = [threading.Thread(target=race, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claim = claims.get("stripe", "pi_1")
    assert claim is not None and won == [claim.worker]


def test_a_person_is_believed_over_a_claim(claims: Claims, clock: ManualClock) -> None:
    claims.claim("stripe", "pi_1", "mailer", "r1")
    claims.assign("stripe", "pi_1", "scout", "dana")
    assert claims.get("stripe", "pi_1") == Claim("stripe", "pi_1", "scout", None, "dana", clock.now())


def test_many_objects_are_looked_up_at_once(claims: Claims) -> None:
    for number in range(3):
        claims.claim("stripe", f"pi_{number}", "mailer")
    claims.claim("gumroad", "pi_9", "mailer")
    found = claims.of_objects("stripe", (f"pi_{number}" for number in range(1200)))
    assert set(found) == {"pi_0", "pi_1", "pi_2"}
    assert claims.get("stripe", "pi_9") is None


@pytest.mark.parametrize(("source", "object"), [("stripe", ""), ("", "pi_1"), ("a/b", "pi_1"), ("stripe", "x" * 256)])
def test_what_no_entry_could_be_named_by_is_not_claimed(claims: Claims, source: str, object: str) -> None:
    with pytest.raises(UsageProblem):
        claims.claim(source, object, "mailer")
    assert claims.get(source, object) is None
