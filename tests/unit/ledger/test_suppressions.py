from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from nova.clock import ManualClock
from nova.errors import UsageProblem
from nova.ledger.store import Store
from nova.ledger.suppressions import Suppressions
from nova.people import subject_of_email

ANN, BEN = subject_of_email("ann@example.com"), subject_of_email("ben@example.com")


@pytest.fixture
def suppressions(store: Store) -> Suppressions:
    return Suppressions(store)


def test_who_is_suppressed_stays_so_and_is_told_with_the_first_of_the_reasons(
    suppressions: Suppressions, clock: ManualClock
) -> None:
    assert suppressions.add([ANN, BEN, ANN], "bounce", "sendgrid") == 2
    clock.advance(60)
    assert suppressions.add([ANN], "bounce", "dana") == 0
    assert suppressions.add([ANN], "unsubscribe", "dana") == 1
    assert suppressions.of([ANN, BEN, "mail:other"]) == {ANN: "unsubscribe", BEN: "bounce"}
    assert [(one.reason, one.source) for one in suppressions.why(ANN)] == [
        ("bounce", "sendgrid"),
        ("unsubscribe", "dana"),
    ]
    assert suppressions.counts() == {"unsubscribe": 1, "spam": 0, "bounce": 2, "invalid": 0, "manual": 0}


def test_an_unknown_reason_is_refused_and_many_are_looked_up_at_once(suppressions: Suppressions) -> None:
    with pytest.raises(UsageProblem, match="for 'bored'"):
        suppressions.add([ANN], "bored", "dana")
    many = [subject_of_email(f"{number}@example.com") for number in range(1200)]
    suppressions.add(many, "invalid", "import")
    assert len(suppressions.of([*many, ANN])) == 1200
    assert suppressions.remove(many[0]) == 1
    assert suppressions.of(many[:1]) == {}


def test_no_address_stands_in_the_ledger(suppressions: Suppressions, tmp_path: Path) -> None:
    suppressions.add([subject_of_email(" Ann@Example.com ")], "manual", "dana")
    assert suppressions.of([ANN]) == {ANN: "manual"}
    with sqlite3.connect(tmp_path / "ledger.db") as raw:
        assert "example" not in "".join(raw.iterdump())
    raw.close()
