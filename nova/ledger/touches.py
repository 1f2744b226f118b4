"""Who met whose work and when: clicks, coupons, visits. Never changed; the same id counts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select

from nova.clock import from_us, to_us
from nova.errors import UsageProblem
from nova.ledger import credits, subjects
from nova.ledger.facts import check_name
from nova.ledger.schema_revenue import touches

if TYPE_CHECKING:
    from nova.ledger.store import Store

KINDS = ("click", "mail_open", "mail_click", "coupon", "visit")
COUNTED = ("click", "mail_click", "coupon", "visit")  # a mail is opened by machines, too

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Touch:
    """`id` is the sender's own, or follows from what happened; `subject` is a hash, `link` a tracked link's slug."""

    id: str
    subject: str
    worker: str
    kind: str
    at: datetime
    channel: str | None = None
    campaign: str | None = None
    link: str | None = None


def add(conn: Connection, given: Sequence[Touch]) -> int:
    """How many are new. Payments that they may have led to are divided again. Raises UsageProblem."""
    wanted = {touch.id: _valid(touch) for touch in given}
    for id in _known(conn, wanted):
        del wanted[id]
    if wanted:
        conn.execute(insert(touches), [_values(touch) for touch in wanted.values()])
        earliest: dict[str, int] = {}
        for touch in wanted.values():
            at_us = to_us(touch.at)
            earliest[touch.subject] = min(at_us, earliest.get(touch.subject, at_us))
        for subject, aliases in subjects.names(conn, earliest).items():
            credits.outdate_subjects(conn, aliases, earliest[subject])
    return len(wanted)


def of_subjects(
    conn: Connection, asked: Iterable[str], since: datetime | None = None, until: datetime | None = None
) -> dict[str, list[Touch]]:
    """Of each under all of its names, from `since` to `until`, both included, in the order they happened."""
    aliases = subjects.names(conn, asked)
    every = list(dict.fromkeys(alias for names in aliases.values() for alias in names))
    found: dict[str, list[Touch]] = {alias: [] for alias in every}
    for start in range(0, len(every), _CHUNK):
        query = select(touches).where(touches.c.subject.in_(every[start : start + _CHUNK]))
        if since is not None:
            query = query.where(touches.c.at_us >= to_us(since))
        if until is not None:
            query = query.where(touches.c.at_us <= to_us(until))
        for row in conn.execute(query):
            found[row.subject].append(_touch(row))
    return {name: _in_order(found, names) for name, names in aliases.items()}


def _in_order(found: Mapping[str, list[Touch]], names: Iterable[str]) -> list[Touch]:
    return sorted((touch for name in names for touch in found[name]), key=lambda touch: (touch.at, touch.id))


def _known(conn: Connection, ids: Iterable[str]) -> set[str]:
    wanted, found = list(ids), set()
    for start in range(0, len(wanted), _CHUNK):
        query = select(touches.c.id).where(touches.c.id.in_(wanted[start : start + _CHUNK]))
        found |= {row.id for row in conn.execute(query)}
    return found


def _valid(touch: Touch) -> Touch:
    check_name("worker", touch.worker)
    check_name("id", touch.id)
    if touch.kind not in KINDS:
        raise UsageProblem(f"not a kind of touch: {touch.kind!r}", hint=f"it is one of {', '.join(KINDS)}")
    if "@" in touch.subject or not touch.subject:
        raise UsageProblem("the subject of a touch is a hash, never an address", hint="see subject_of_email")
    if touch.at.tzinfo is None:
        raise UsageProblem("the time of a touch needs a time zone")
    return touch


def _values(touch: Touch) -> dict[str, Any]:
    return {
        "id": touch.id,
        "subject": touch.subject,
        "worker": touch.worker,
        "kind": touch.kind,
        "channel": touch.channel,
        "campaign": touch.campaign,
        "link": touch.link,
        "at_us": to_us(touch.at),
    }


def _touch(row: Row[Any]) -> Touch:
    return Touch(row.id, row.subject, row.worker, row.kind, from_us(row.at_us), row.channel, row.campaign, row.link)


class Touches:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, *given: Touch) -> int:
        """Durable on return; how many are new."""
        return self._store.apply(lambda conn: add(conn, given))

    def collect(self, touch: Touch) -> None:
        """For what comes in numbers: written within a moment, together with others."""
        self._store.collect(_add_all, _valid(touch))

    def of(self, subject: str, since: datetime | None = None, until: datetime | None = None) -> list[Touch]:
        """Of the person with this name, under all of theirs, in the order they happened."""
        with self._store.read() as conn:
            return of_subjects(conn, [subject], since, until)[subject]


def _add_all(conn: Connection, given: Sequence[Touch]) -> None:
    add(conn, given)
