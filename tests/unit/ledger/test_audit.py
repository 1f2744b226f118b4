from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, text, update

from nova.ledger import audit
from nova.ledger.audit import Audit, chained, check_chain
from nova.ledger.schema import audit as table
from nova.ledger.store import Store
from nova.secrecy import scrub


class Row(NamedTuple):
    seq: int
    at_us: int
    actor: str
    action: str
    subject: str
    detail: str
    hash: str


def chain(facts: list[tuple[str, str, str]]) -> list[Row]:
    rows: list[Row] = []
    for seq, (actor, action, detail) in enumerate(facts, 1):
        row = Row(seq, seq * 10, actor, action, "s", detail, "")
        rows.append(row._replace(hash=chained(rows[-1].hash if rows else "", row._asdict())))
    return rows


def head(rows: list[Row]) -> tuple[int, str]:
    return (rows[-1].seq, rows[-1].hash) if rows else (0, "")


facts = st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=5)), min_size=1, max_size=8)
at = st.integers(0, 7)


def check(rows: list[Row], noted: tuple[int, str]) -> audit.ChainCheck:
    return check_chain(rows, noted)  # type: ignore[arg-type]


@given(facts)
def test_what_was_written_verifies(given_facts: list[tuple[str, str, str]]) -> None:
    rows = chain(given_facts)
    assert check(rows, head(rows)) == audit.ChainCheck(True, len(rows))


@given(facts, at, st.sampled_from(["actor", "action", "subject", "detail", "hash"]), st.text(max_size=5))
def test_any_edit_is_found_at_its_row(
    given_facts: list[tuple[str, str, str]], index: int, column: str, value: str
) -> None:
    rows = chain(given_facts)
    index %= len(rows)
    edited = [*rows]
    edited[index] = Row(**{**rows[index]._asdict(), column: value})
    checked = check(edited, head(rows))
    assert checked.ok is (edited == rows)
    assert checked.ok or checked.first_bad == index + 1


@given(facts, at)
def test_any_deletion_is_found_also_of_the_tail(given_facts: list[tuple[str, str, str]], index: int) -> None:
    rows = chain(given_facts)
    index %= len(rows)
    assert check(rows[:index] + rows[index + 1 :], head(rows)).first_bad == index + 1
    assert check(rows[:index], head(rows)).first_bad == index + 1


@given(facts, at, at)
def test_a_swap_of_contents_is_found(given_facts: list[tuple[str, str, str]], one: int, two: int) -> None:
    rows = chain(given_facts)
    one, two = one % len(rows), two % len(rows)
    swapped = [*rows]
    swapped[one] = rows[two]._replace(seq=rows[one].seq)
    swapped[two] = rows[one]._replace(seq=rows[two].seq)
    assert check(swapped, head(rows)).ok is (one == two)


@given(facts)
def test_a_row_added_behind_the_head_is_found(given_facts: list[tuple[str, str, str]]) -> None:
    rows = chain(given_facts)
    assert check(rows, head(rows[:-1])).first_bad == len(rows)


@pytest.fixture
def trail(store: Store) -> Audit:
    trail = Audit(store)
    for number in range(5):
        trail.append("dana", "scaled", f"mailer-{number}", {"from": 1, "to": 2})
    return trail


@pytest.mark.parametrize(
    ("harm", "bad"),
    [
        (lambda conn: conn.execute(update(table).where(table.c.seq == 2).values(actor="eve")), 2),
        (lambda conn: conn.execute(delete(table).where(table.c.seq == 3)), 3),
        (lambda conn: conn.execute(delete(table).where(table.c.seq > 3)), 4),
        (lambda conn: conn.execute(delete(table)), 1),
        (lambda conn: conn.execute(text("DELETE FROM meta WHERE key = 'audit_head'")), 1),
    ],
)
def test_harm_done_in_the_database_is_found(store: Store, trail: Audit, harm: Callable[[Any], Any], bad: int) -> None:
    assert trail.verify() == audit.ChainCheck(True, 5)
    store.apply(harm)
    checked = trail.verify()
    assert not checked.ok and checked.first_bad == bad and checked.problem


def test_an_empty_trail_verifies(store: Store) -> None:
    assert Audit(store).verify() == audit.ChainCheck(True, 0)


def test_a_row_that_was_rolled_back_leaves_no_gap(store: Store, trail: Audit) -> None:
    def fails(conn: Any) -> None:
        audit.append(conn, datetime(2026, 1, 1, tzinfo=UTC), "x", "y", "z")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.apply(fails)
    trail.append("dana", "paused", "mailer")
    assert trail.verify() == audit.ChainCheck(True, 6)


def test_the_log_gives_the_newest_oldest_first(trail: Audit) -> None:
    assert [row.subject for row in trail.log(limit=2)] == ["mailer-3", "mailer-4"]
    assert trail.log()[0].detail == {"from": 1, "to": 2}
    assert trail.log(since=datetime(2026, 11, 21, 12, tzinfo=UTC) + timedelta(seconds=1)) == []


@pytest.mark.parametrize(
    "key", ["password", "STRIPE_API_KEY", "apiKey", "access-token", "key", "webhookSecret", "keys"]
)
def test_what_is_named_like_a_secret_is_hidden(key: str) -> None:
    assert scrub({"env": [{key: "hush"}]}) == {"env": [{key: "***"}]}


@pytest.mark.parametrize("key", ["monkey", "keyboard", "name", "passes", "turnkey_sale"])
def test_what_only_sounds_like_one_is_kept(key: str) -> None:
    assert scrub({key: "kept"}) == {key: "kept"}


def test_platform_keys_inside_of_texts_are_hidden(store: Store) -> None:
    text_ = "curl -u sk_live_abc123: https://joe:pw@example.org/x"
    Audit(store).append("dana", "deployed", "mailer", {"command": text_})
    assert Audit(store).log()[0].detail == {"command": "curl -u ***: https://***@example.org/x"}
