"""Effects on a platform that knows no idempotency key: had at most once, and never again while it is in doubt.

They stand in the outbox, under topics of their own that no agent names.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, update

from nova.clock import to_us
from nova.errors import Refused
from nova.ledger import audit
from nova.ledger.effects import PLATFORM, Effect, EffectHeld, Taken, encode_payload
from nova.ledger.outbox import OF_PLATFORM, STATE_NOW, effect_of, held, is_open, named, unknown
from nova.ledger.schema import outbox

if TYPE_CHECKING:
    from nova.ledger.store import Store


DIED = "the run that was at it ended before it heard what came of it"


def begin(conn: Connection, at: datetime, worker: str, run: str, what: str, key: str, payload: Any) -> Taken:
    """Takes the effect for the run, or tells what came of it.

    Doubtful: a run that is over began it, and how that ended is not known. The payload is for people to see; the first
    one stands. Raises EffectHeld where an open run is at it.
    """
    topic = f"{PLATFORM}{what}"
    row = conn.execute(select(outbox).where(*named(worker, topic, key))).first()
    if row is None:
        now = to_us(at)
        values = {
            "worker": worker, "topic": topic, "key": key, "payload": encode_payload(topic, key, payload),
            "state": "pending", "attempts": 1, "run": run, "at_us": now, "due_us": now,
        }  # fmt: skip
        conn.execute(insert(outbox), values)
        return _get(conn, worker, topic, key).taken()
    effect = effect_of(row)
    if effect.state == "done":
        return effect.taken()
    if effect.state == "pending" and effect.run is not None and is_open(conn, effect.run):
        raise EffectHeld(f"the run {effect.run} is at {topic} {key!r}")
    doubtful = effect.state == "doubtful" or effect.run is not None
    attempts = effect.attempts if doubtful else effect.attempts + 1  # who asks what came of it attempts nothing
    values = {"state": "pending", "run": run, "attempts": attempts}
    conn.execute(update(outbox).where(*named(worker, topic, key)).values(values))
    age_s = (at - effect.at).total_seconds()
    return replace(effect, run=run, attempts=attempts).taken(doubtful=doubtful, age_s=age_s)


def doubt(conn: Connection, at: datetime, worker: str, run: str, topic: str, key: str, error: str) -> None:
    """Without words of its own the error stays what it was."""
    words = error or func.coalesce(outbox.c.error, DIED)
    values = {"state": "doubtful", "error": words, "due_us": to_us(at)}
    conn.execute(update(outbox).where(*held(worker, run, topic, key)).values(values))


def forget(conn: Connection, worker: str, run: str, topic: str, key: str) -> None:
    """Nothing of it was done: as if it had never been begun."""
    conn.execute(delete(outbox).where(*held(worker, run, topic, key), OF_PLATFORM))


def settle(conn: Connection, at: datetime, worker: str, key: str, topic: str | None, by: str) -> list[Effect]:
    """A person saw that it was done. Raises NotFound, and Refused for what is not in doubt."""
    query = select(outbox, STATE_NOW).where(outbox.c.worker == worker, outbox.c.key == key)
    rows = [row for row in conn.execute(query) if topic in (None, row.topic)]
    if not rows:
        raise unknown(worker, key, topic)
    chosen = [row for row in rows if row.now in ("doubtful", "failed")]
    if not chosen:
        raise Refused(f"{rows[0].topic} {key!r} is not in doubt: it is {rows[0].now}")
    for row in chosen:
        done = update(outbox).where(*named(worker, row.topic, key))
        conn.execute(done.values(state="done", done_us=to_us(at)))
        audit.append(conn, at, by, "effect_settled", worker, {"effect": f"{row.topic} {key}", "error": row.error})
    return [_get(conn, worker, row.topic, key) for row in chosen]


def _get(conn: Connection, worker: str, topic: str, key: str) -> Effect:
    return effect_of(conn.execute(select(outbox).where(*named(worker, topic, key))).one())


class Once:
    """Writes are durable when they return."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, worker: str, run: str, what: str, key: str, payload: Any) -> Taken:
        return self._store.apply(lambda conn: begin(conn, self._now(), worker, run, what, key, payload))

    def doubt(self, worker: str, run: str, topic: str, key: str, error: str) -> None:
        self._store.apply(lambda conn: doubt(conn, self._now(), worker, run, topic, key, error))

    def forget(self, worker: str, run: str, topic: str, key: str) -> None:
        self._store.apply(lambda conn: forget(conn, worker, run, topic, key))

    def settle(self, worker: str, key: str, topic: str | None = None, *, by: str) -> list[Effect]:
        return self._store.apply(lambda conn: settle(conn, self._now(), worker, key, topic, by))

    def _now(self) -> datetime:
        return self._store.clock.now()
