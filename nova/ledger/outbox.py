"""Effects that a deployment means to have, such as a mail sent: recorded before they are tried, marked after.

A run takes an effect, so that no other does it meanwhile; what a dead run had taken is free again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, and_, case, delete, func, insert, literal, or_, select, tuple_, update

from nova.clock import from_us, to_us
from nova.errors import LedgerConflict, NotFound, Refused
from nova.ledger import audit
from nova.ledger.effects import (
    LONGEST_WAIT_US,
    MOST_ATTEMPTS,
    PLATFORM,
    Effect,
    EffectFailed,
    EffectHeld,
    Mark,
    check_name,
    encode_payload,
    encode_result,
    wait_us,
)
from nova.ledger.schema import outbox, runs

if TYPE_CHECKING:
    from nova.ledger.store import Store

STATES = ("pending", "failed", "doubtful", "done")
DONE_DAYS, FAILED_DAYS = 30, 90
_ERROR_CHARS = 2_000
_PRUNE_ROWS = 5_000
_UNDONE = outbox.c.state != literal("done", literal_execute=True)  # as the index over these says it
_OPEN_RUN = select(runs.c.id).where(runs.c.id == outbox.c.run, runs.c.ended_us.is_(None)).exists()
OF_PLATFORM = func.substr(outbox.c.topic, 1, len(PLATFORM)) == PLATFORM
# What a platform's client had begun in a run that is over is in doubt; an agent's own effect is tried again.
STATE_NOW = case(
    (
        and_(outbox.c.state == "pending", OF_PLATFORM, outbox.c.run.is_not(None), ~_OPEN_RUN),
        "doubtful",
    ),
    else_=outbox.c.state,
).label("now")


def put(conn: Connection, at: datetime, worker: str, topic: str, key: str, payload: Any) -> bool:
    """True when it is new; the same again is no news, the same key with another payload a LedgerConflict."""
    check_name(topic, key)
    body = encode_payload(topic, key, payload)
    known = conn.execute(select(outbox.c.payload).where(*named(worker, topic, key))).scalar()
    if known is None:
        now = to_us(at)
        values = {"worker": worker, "topic": topic, "key": key, "payload": body, "state": "pending", "attempts": 0}
        conn.execute(insert(outbox), {**values, "at_us": now, "due_us": now})
    elif known != body:
        raise LedgerConflict(
            f"{topic} {key!r} was put before with another payload",
            hint="an effect never changes: give another effect another key",
        )
    return known is None


def take(conn: Connection, at: datetime, worker: str, run: str, topic: str | None, after: Mark | None) -> Effect | None:
    """The next effect that is due and that no open run is at, now this run's; `after` is where the last one stood.

    One whose runs died again and again in the middle is given up.
    """
    while (row := conn.execute(_due(to_us(at), worker, topic, after)).first()) is not None:
        effect = effect_of(row)
        if effect.attempts < MOST_ATTEMPTS:
            return _taken(conn, effect, run)
        _give_up(conn, effect)
    return None


def begin(conn: Connection, at: datetime, worker: str, run: str, topic: str, key: str, payload: Any) -> Effect:
    """One effect, put where it is new, and now this run's whenever it is due; or as it was done already.

    Also one that was given up, whose doer is to be told so. Raises EffectHeld where an open run is at it, and
    LedgerConflict as `put` does.
    """
    put(conn, at, worker, topic, key, payload)
    effect = _get(conn, worker, topic, key)
    if effect.state != "pending":
        return effect
    if effect.run is not None and is_open(conn, effect.run):
        raise EffectHeld(f"the run {effect.run} is at {topic} {key!r}")
    return _taken(conn, effect, run) if effect.attempts < MOST_ATTEMPTS else _give_up(conn, effect)


def done(conn: Connection, at: datetime, worker: str, run: str, topic: str, key: str, result: Any = None) -> bool:
    """False where it is not this run's any more. UsageProblem, with nothing written, for a result that is no JSON."""
    body = None if result is None else encode_result(topic, key, result)
    values = {"state": "done", "result": body, "error": None, "done_us": to_us(at)}
    return conn.execute(update(outbox).where(*held(worker, run, topic, key)).values(values)).rowcount > 0


def failed(conn: Connection, at: datetime, worker: str, run: str, topic: str, key: str, error: str) -> Effect:
    """Due again after a while, twice as long each time; after the last attempt it is failed for good."""
    effect = _get(conn, worker, topic, key)
    if effect.run != run or effect.state != "pending":
        return effect
    state = "pending" if effect.attempts < MOST_ATTEMPTS else "failed"
    values = {
        "state": state,
        "run": None,
        "error": error[-_ERROR_CHARS:],
        "due_us": to_us(at) + wait_us(effect.attempts),
    }
    conn.execute(update(outbox).where(*named(worker, topic, key)).values(values))
    return _get(conn, worker, topic, key)


def release(conn: Connection, worker: str, run: str, topic: str, key: str) -> None:
    """As if the run had not taken it."""
    values = {"run": None, "attempts": outbox.c.attempts - 1}
    conn.execute(update(outbox).where(*held(worker, run, topic, key)).values(values))


class Outbox:
    """Writes are durable when they return."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, worker: str, topic: str, key: str, payload: Any) -> bool:
        return self._store.apply(lambda conn: put(conn, self._now(), worker, topic, key, payload))

    def take(self, worker: str, run: str, topic: str | None = None, after: Mark | None = None) -> Effect | None:
        return self._store.apply(lambda conn: take(conn, self._now(), worker, run, topic, after))

    def begin(self, worker: str, run: str, topic: str, key: str, payload: Any) -> Effect:
        """Raises EffectFailed for what was given up."""
        effect = self._store.apply(lambda conn: begin(conn, self._now(), worker, run, topic, key, payload))
        if effect.state == "failed":
            hint = f"`nova workers outbox {worker} --retry {key}` lets it be tried again"
            raise EffectFailed(f"{topic} {key!r} was given up: {effect.error}", hint=hint)
        return effect

    def done(self, worker: str, run: str, topic: str, key: str, result: Any = None) -> bool:
        return self._store.apply(lambda conn: done(conn, self._now(), worker, run, topic, key, result))

    def failed(self, worker: str, run: str, topic: str, key: str, error: str) -> Effect:
        return self._store.apply(lambda conn: failed(conn, self._now(), worker, run, topic, key, error))

    def release(self, worker: str, run: str, topic: str, key: str) -> None:
        self._store.apply(lambda conn: release(conn, worker, run, topic, key))

    def of(self, worker: str, states: Sequence[str] = STATES, limit: int | None = None) -> list[Effect]:
        """Those that wait, in the order in which they are due, before the others, the newest first."""
        waits = outbox.c.state == "pending"
        query = select(outbox, STATE_NOW).where(outbox.c.worker == worker, STATE_NOW.in_(states)).limit(limit)
        due = case((waits, outbox.c.due_us), else_=-outbox.c.at_us)
        order = (case((waits, 0), else_=1), due, outbox.c.topic, outbox.c.key)
        with self._store.read() as conn:
            return [replace(effect_of(row), state=row.now) for row in conn.execute(query.order_by(*order))]

    def counts(self, worker: str) -> dict[str, int]:
        """By state."""
        query = select(STATE_NOW, func.count()).where(outbox.c.worker == worker).group_by(STATE_NOW)
        with self._store.read() as conn:
            return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in conn.execute(query)}

    def given_up(self) -> dict[str, int]:
        """How many effects failed for good, by worker."""
        return self._by_worker("failed")

    def doubtful(self) -> dict[str, int]:
        """How many effects wait for a person to say whether they were done, by worker."""
        return self._by_worker("doubtful")

    def _by_worker(self, state: str) -> dict[str, int]:
        query = select(outbox.c.worker, func.count()).where(_UNDONE, STATE_NOW.in_((state,)))
        with self._store.read() as conn:
            return {row[0]: row[1] for row in conn.execute(query.group_by(outbox.c.worker))}

    def retry(self, worker: str, key: str, topic: str | None = None, *, by: str) -> list[Effect]:
        """Makes what was given up or is in doubt under the key due again, with all its attempts. Raises NotFound where
        there is no such effect, Refused where it is neither.
        """
        return self._store.apply(lambda conn: _retry(conn, self._now(), worker, key, topic, by))

    def prune(self, now: datetime, done_days: int = DONE_DAYS, failed_days: int = FAILED_DAYS) -> int:
        """Forgets what was done or given up so long ago, in small transactions; then the same key is a new effect."""
        return sum(self._prune(now - timedelta(days=done_days), now - timedelta(days=failed_days)))

    def _prune(self, done_before: datetime, failed_before: datetime) -> Iterator[int]:
        old = or_(
            and_(outbox.c.state == "done", outbox.c.done_us < to_us(done_before)),
            and_(outbox.c.state.in_(("failed", "doubtful")), outbox.c.due_us < to_us(failed_before)),
            and_(STATE_NOW == "doubtful", outbox.c.at_us < to_us(failed_before)),
        )
        name = tuple_(outbox.c.worker, outbox.c.topic, outbox.c.key)
        some = select(outbox.c.worker, outbox.c.topic, outbox.c.key).where(old).limit(_PRUNE_ROWS)
        gone = _PRUNE_ROWS
        while gone == _PRUNE_ROWS:
            gone = self._store.apply(lambda conn: conn.execute(delete(outbox).where(name.in_(some))).rowcount)
            yield gone

    def _now(self) -> datetime:
        return self._store.clock.now()


def named(worker: str, topic: str, key: str) -> tuple[Any, ...]:
    return outbox.c.worker == worker, outbox.c.topic == topic, outbox.c.key == key


def held(worker: str, run: str, topic: str, key: str) -> tuple[Any, ...]:
    return *named(worker, topic, key), outbox.c.state == "pending", outbox.c.run == run


def _due(now: int, worker: str, topic: str | None, after: Mark | None) -> Select[Any]:
    """A new effect is due whatever the clock says, and no wait is longer than the longest: clocks are set back."""
    due = or_(outbox.c.due_us <= now, outbox.c.attempts == 0, outbox.c.due_us > now + LONGEST_WAIT_US)
    query = select(outbox).where(
        outbox.c.worker == worker, _UNDONE, outbox.c.state == "pending", due, ~_OPEN_RUN, ~OF_PLATFORM
    )
    order = (outbox.c.due_us, outbox.c.topic, outbox.c.key)
    if topic is not None:
        query = query.where(outbox.c.topic == topic)
    if after is not None:
        query = query.where(tuple_(*order) > tuple(after))
    return query.order_by(*order).limit(1)


def is_open(conn: Connection, run: str) -> bool:
    return conn.execute(select(runs.c.id).where(runs.c.id == run, runs.c.ended_us.is_(None))).first() is not None


def _taken(conn: Connection, effect: Effect, run: str) -> Effect:
    attempts = effect.attempts + 1
    changed = update(outbox).where(*named(effect.worker, effect.topic, effect.key))
    conn.execute(changed.values(run=run, attempts=attempts))
    return replace(effect, run=run, attempts=attempts)


def _give_up(conn: Connection, effect: Effect) -> Effect:
    why = f"{effect.attempts} runs died while they were at it"
    changed = update(outbox).where(*named(effect.worker, effect.topic, effect.key))
    conn.execute(changed.values(state="failed", error=why))
    return replace(effect, state="failed", error=why)


def _retry(conn: Connection, at: datetime, worker: str, key: str, topic: str | None, by: str) -> list[Effect]:
    query = select(outbox, STATE_NOW).where(outbox.c.worker == worker, outbox.c.key == key)
    known = [replace(effect_of(row), state=row.now) for row in conn.execute(query) if topic in (None, row.topic)]
    chosen = [one for one in known if one.state in ("failed", "doubtful")]
    if not known:
        raise unknown(worker, key, topic)
    if not chosen:
        raise Refused(f"{known[0].topic} {key!r} was not given up: it is {known[0].state}")
    for one in chosen:
        again = update(outbox).where(*named(worker, one.topic, key))
        conn.execute(again.values(state="pending", run=None, attempts=0, due_us=to_us(at)))
        detail = {"effect": f"{one.topic} {key}", "attempts": one.attempts, "error": one.error}
        audit.append(conn, at, by, "effect_retried", worker, detail)
    return [_get(conn, worker, one.topic, key) for one in chosen]


def unknown(worker: str, key: str, topic: str | None) -> NotFound:
    of = f"the outbox of {worker} has no" + (f" {topic}" if topic else "")
    return NotFound(f"{of} effect {key!r}", hint=f"`nova workers outbox {worker}` lists them")


def _get(conn: Connection, worker: str, topic: str, key: str) -> Effect:
    return effect_of(conn.execute(select(outbox).where(*named(worker, topic, key))).one())


def effect_of(row: Row[Any]) -> Effect:
    return Effect(
        row.worker, row.topic, row.key, json.loads(row.payload), row.state, row.attempts, row.run,
        None if row.result is None else json.loads(row.result), row.error,
        from_us(row.at_us), from_us(row.due_us), None if row.done_us is None else from_us(row.done_us),
    )  # fmt: skip
