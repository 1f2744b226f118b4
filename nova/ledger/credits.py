"""What is known of payments for attribution, beside their entries, and by which shares each was divided last.

A payment of which nothing is known has no row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, func, literal_column, or_, select, text, tuple_, update

from nova.clock import from_us, to_us
from nova.ledger.schema import meta
from nova.ledger.schema_revenue import credits

if TYPE_CHECKING:
    from nova.ledger.store import Store

_CHUNK = 500
_STALE: ColumnElement[bool] = literal_column("stale")  # as the partial index has it
DIRECT = "direct"  # the model by which touches count for nothing
_RULE, _MONTH = "attribution_rule", "attribution_month"
_PUT = text(
    "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_SAVE = text("""
    INSERT INTO credits (source, object, at_us, subject, evidence, model, shares, stale)
    VALUES (:source, :object, :at_us, :subject, :evidence, NULL, NULL, :stale)
    ON CONFLICT (source, object) DO UPDATE SET
        at_us = excluded.at_us, subject = excluded.subject, evidence = excluded.evidence, stale = excluded.stale
""")
_DIVIDED = text("UPDATE credits SET model = :m, shares = :sh, stale = 0 WHERE source = :s AND object = :o")


@dataclass(frozen=True, slots=True)
class Credit:
    """`evidence` is what the platform tells of it: tag, product, price, coupon, campaign, link, by these names.

    `shares` are millionths by worker, by `model`; None where it belongs to somebody whole. `stale`: to be looked at.
    """

    source: str
    object: str
    at: datetime
    subject: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    shares: Mapping[str, int] | None = None
    stale: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.object


def find(conn: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Credit]:
    """What is known of these payments, by (source, object)."""
    wanted = list(dict.fromkeys(keys))
    found: dict[tuple[str, str], Credit] = {}
    for start in range(0, len(wanted), _CHUNK):
        named = tuple_(credits.c.source, credits.c.object).in_(wanted[start : start + _CHUNK])
        found |= {(row.source, row.object): _credit(row) for row in conn.execute(select(credits).where(named))}
    return found


def learn(conn: Connection, told: Sequence[Credit]) -> int:
    """Adds what is told of payments to what is known; how many brought news.

    The first word of each kind stays; a payment is as old as the oldest that is told of it. What is news of a payment
    that was known makes it stale; of a new one the teller knows.
    """
    known = find(conn, [one.key for one in told])
    news: dict[tuple[str, str], Credit] = {}
    for one in told:
        before = news.get(one.key) or known.get(one.key)
        after = one if before is None else _joined(before, one)
        if before is None or (after.at, after.subject, after.evidence) != (before.at, before.subject, before.evidence):
            news[one.key] = after
    if news:
        conn.execute(_SAVE, [_values(one, stale=one.stale or key in known) for key, one in news.items()])
    return len(news)


def divided(conn: Connection, done: Iterable[Credit]) -> None:
    """These have been looked at with all that is known: their model and shares are as given."""
    rows = [{"s": one.source, "o": one.object, "m": one.model, "sh": _written(one.shares)} for one in done]
    if rows:
        conn.execute(_DIVIDED, rows)


def _written(shares: Mapping[str, int] | None) -> str | None:
    return None if shares is None else json.dumps(dict(sorted(shares.items())), ensure_ascii=False)


def undivided(conn: Connection, source: str, object: str) -> None:
    """It belongs to somebody whole, by a firm word."""
    where = (credits.c.source == source, credits.c.object == object)
    conn.execute(update(credits).where(*where).values(model=None, shares=None, stale=False))


def leave(conn: Connection, source: str, object: str) -> None:
    """It has been looked at, and stays as it is."""
    where = (credits.c.source == source, credits.c.object == object)
    conn.execute(update(credits).where(*where).values(stale=False))


def outdate(conn: Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Something about these payments is new: a refund, a claim."""
    wanted = list(keys)
    for start in range(0, len(wanted), _CHUNK):
        named = tuple_(credits.c.source, credits.c.object).in_(wanted[start : start + _CHUNK])
        conn.execute(update(credits).where(named).values(stale=True))


def look_again(conn: Connection, made: Mapping[tuple[str, str], datetime]) -> None:
    """As `outdate`, also at payments of which nothing is known but when they were made."""
    known = find(conn, made)
    learn(conn, [Credit(*key, at) for key, at in made.items() if key not in known])
    outdate(conn, made)


def outdate_divided(conn: Connection, source: str, objects: Iterable[str]) -> None:
    """Those of these payments that are divided have grown by an entry, which is to be divided, too."""
    wanted = sorted(objects)
    for start in range(0, len(wanted), _CHUNK):
        some = credits.c.object.in_(wanted[start : start + _CHUNK])
        conn.execute(
            update(credits).where(credits.c.source == source, some, credits.c.model.is_not(None)).values(stale=True)
        )


def outdate_subjects(conn: Connection, aliases: Sequence[str], since_us: int = 0) -> None:
    """A touch at `since_us` of who has these names may have led to what they paid later.

    Nothing where payments go by direct evidence alone: all are looked at when that changes.
    """
    if not touches_count(conn):
        return
    for start in range(0, len(aliases), _CHUNK):
        some = credits.c.subject.in_(aliases[start : start + _CHUNK])
        where = (some, credits.c.at_us >= since_us, credits.c.stale.is_(False))
        conn.execute(update(credits).where(*where).values(stale=True))


def outdate_evidence(conn: Connection, source: str, kind: str, object: str) -> None:
    """Whose sales with this evidence are has changed."""
    said = func.json_extract(credits.c.evidence, f"$.{kind}") == object
    conn.execute(update(credits).where(credits.c.source == source, said).values(stale=True))


def outdate_all(conn: Connection, since: datetime | None = None, until: datetime | None = None) -> int:
    """Those that another model may divide otherwise: how many. From `since` on, before `until`."""
    return conn.execute(update(credits).where(*_between(since, until)).values(stale=True)).rowcount


def with_evidence(conn: Connection, source: str, kind: str, object: str) -> list[tuple[str, str]]:
    """The payments that are known to be of this product, price, coupon or campaign."""
    said = func.json_extract(credits.c.evidence, f"$.{kind}") == object
    query = select(credits.c.object).where(credits.c.source == source, said).order_by(credits.c.at_us)
    return [(source, row.object) for row in conn.execute(query)]


def with_subject(
    conn: Connection, since: datetime | None, until: datetime | None, after: tuple[str, str] | None, limit: int
) -> list[tuple[str, str]]:
    """The next payments, by source and object, that some model may divide. From `since` on, before `until`."""
    where = _between(since, until)
    where += [tuple_(credits.c.source, credits.c.object) > after] if after else []
    query = select(credits.c.source, credits.c.object).where(*where)
    query = query.order_by(credits.c.source, credits.c.object).limit(limit)
    return [(row.source, row.object) for row in conn.execute(query)]


def _between(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    where = [or_(credits.c.subject.is_not(None), credits.c.model.is_not(None))]
    where += [credits.c.at_us >= to_us(since)] if since else []
    where += [credits.c.at_us < to_us(until)] if until else []
    return where


def rule(conn: Connection) -> str | None:
    """By which everything is divided that is not stale; None: never written."""
    return conn.execute(select(meta.c.value).where(meta.c.key == _RULE)).scalar()


def touches_count(conn: Connection) -> bool:
    """Whether a model is in force that looks at more than direct evidence."""
    return (rule(conn) or DIRECT).split()[0] != DIRECT


def set_rule(conn: Connection, written: str) -> None:
    conn.execute(_PUT, {"key": _RULE, "value": written})


def month_us(conn: Connection) -> int | None:
    """The month, by its first instant, that was the present one when the rule was last followed."""
    value = conn.execute(select(meta.c.value).where(meta.c.key == _MONTH)).scalar()
    return None if value is None else int(value)


def set_month_us(conn: Connection, begins: int) -> None:
    conn.execute(_PUT, {"key": _MONTH, "value": str(begins)})


def stale(conn: Connection, limit: int) -> list[tuple[str, str]]:
    """The next that are to be looked at, newest first."""
    query = select(credits.c.source, credits.c.object).where(_STALE)
    query = query.order_by(credits.c.at_us.desc(), credits.c.source, credits.c.object).limit(limit)
    return [(row.source, row.object) for row in conn.execute(query)]


def _joined(before: Credit, one: Credit) -> Credit:
    evidence = {**one.evidence, **before.evidence}
    at, subject = min(before.at, one.at), before.subject or one.subject
    stale = before.stale or one.stale
    return replace(before, at=at, subject=subject, evidence=evidence, stale=stale)


def _values(one: Credit, *, stale: bool) -> dict[str, Any]:
    evidence = json.dumps(dict(sorted(one.evidence.items())), ensure_ascii=False)
    named = {"source": one.source, "object": one.object, "at_us": to_us(one.at)}
    return {**named, "subject": one.subject, "evidence": evidence, "stale": stale}


def _credit(row: Row[Any]) -> Credit:
    shares = None if row.shares is None else json.loads(row.shares)
    evidence = json.loads(row.evidence)
    at = from_us(row.at_us)
    return Credit(row.source, row.object, at, row.subject, evidence, row.model, shares, bool(row.stale))


class Credits:
    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, source: str, object: str) -> Credit | None:
        with self._store.read() as conn:
            return find(conn, [(source, object)]).get((source, object))

    def learn(self, *told: Credit) -> int:
        return self._store.apply(lambda conn: learn(conn, told))

    def stale_count(self) -> int:
        with self._store.read() as conn:
            return conn.execute(select(func.count()).select_from(credits).where(_STALE)).scalar_one()
