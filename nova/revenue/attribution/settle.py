"""Brings payments to those they belong to by now: whatever came late, in whatever order, the end is the same.

Each payment is looked at in one transaction with all that is known of it then, so that it may be cut anywhere, done
again, and done by several processes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from nova.clock import from_us, to_us
from nova.errors import NovaError
from nova.ledger import audit, credits
from nova.ledger.entries import hand_over
from nova.revenue.attribution.effects import MonthlyEffects, month_of
from nova.revenue.attribution.models import MARKOV
from nova.revenue.attribution.payments import Payment, load
from nova.revenue.attribution.rule import Rule, rule_of
from nova.revenue.attribution.verdict import Verdict, decide, parts_of

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger
    from nova.revenue.office import Office

log = logging.getLogger(__name__)

_BATCH = 50  # payments a transaction: others wait to write, too
_BY = "attribution"
_RULE, _MONTH = "attribution_rule", "attribution_month"
_GET = "SELECT value FROM meta WHERE key = ?"
_PUT = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Settled:
    """How many payments were looked at, how many changed hands, and how many of their entries did."""

    payments: int = 0
    changed: int = 0
    moved: int = 0

    def __add__(self, other: Settled) -> Settled:
        return Settled(self.payments + other.payments, self.changed + other.changed, self.moved + other.moved)

    def to_json(self) -> dict[str, Any]:
        return {"payments": self.payments, "changed": self.changed, "moved": self.moved}


def settle_due(nova: Office) -> Settled:
    """Every payment of which something is new, and all of them after the operator chose another model."""
    rule = rule_of(nova.fleet.snapshot().policy)
    ledger = nova.ledger
    _follow(ledger, rule, nova.clock.now())
    settling = _Settling(ledger, rule)
    done = Settled()
    while keys := _next_stale(ledger):
        done += settling.settle(keys)
    return done


def settle_again(nova: Office) -> Settled:
    """Every payment that a model may divide, whether anything is new of it or not."""
    nova.ledger.apply(credits.outdate_all)
    return settle_due(nova)


def settle_these(nova: Office, keys: Sequence[Key], *, by: str = _BY, again: bool = False) -> Settled:
    """`again`: also where a person's word stands in the entries alone, because that is what was taken back."""
    settling = _Settling(nova.ledger, rule_of(nova.fleet.snapshot().policy), by, again=again)
    parts = (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
    return sum((settling.settle(part) for part in parts), Settled())


class _Settling:
    def __init__(self, ledger: Ledger, rule: Rule, by: str = _BY, *, again: bool = False) -> None:
        self._ledger, self._rule, self._by, self._again = ledger, rule, by, again
        self._effects = MonthlyEffects(ledger, rule.window)

    def settle(self, keys: Sequence[Key]) -> Settled:
        """One that cannot be settled holds up no other: it is logged, and looked at when something is new of it."""
        self._prepare(keys)
        try:
            return self._ledger.apply(lambda conn: self._all(conn, keys))
        except NovaError as problem:
            if len(keys) > 1:
                return sum((self.settle([key]) for key in keys), Settled())
            self._ledger.apply(lambda conn: credits.leave(conn, *keys[0]))
            detail = {"payment": "/".join(keys[0]), "error": problem.message}
            log.error("payment_not_settled", extra={"action": "payment_not_settled", **detail})
            return Settled(1)

    def _prepare(self, keys: Sequence[Key]) -> None:
        """A month's paths are read before the transaction begins, in which nobody else can write."""
        if self._rule.model == MARKOV:
            with self._ledger.read() as conn:
                found = credits.find(conn, keys)
            for at in {month_of(one.at) for one in found.values()}:
                self._effects(at)

    def _all(self, conn: Connection, keys: Iterable[Key]) -> Settled:
        wanted = list(keys)
        found = load(conn, self._ledger.store, wanted, self._rule.window)
        done = sum((self._one(conn, payment) for payment in found.values()), Settled())
        for key in wanted:
            if key not in found:
                credits.leave(conn, *key)
        return done

    def _one(self, conn: Connection, payment: Payment) -> Settled:
        source, object = payment.credit.key
        if payment.settled and not self._again:
            credits.leave(conn, source, object)
            return Settled(1)
        verdict = decide(payment, self._rule.model, self._effects)
        given = list(zip(payment.entries, parts_of(payment, verdict), strict=True))
        moved = hand_over(conn, self._ledger.store, given, model=verdict.model, evidence=verdict.evidence)
        credits.divided(conn, source, object, verdict.dividing, verdict.shares)
        if moved:
            detail = _detail(verdict)
            audit.append(
                conn, self._ledger.store.clock.now(), self._by, "payment_divided", f"{source}/{object}", detail
            )
        return Settled(1, int(moved > 0), moved)


def _detail(verdict: Verdict) -> dict[str, Any]:
    whose = {"to": verdict.worker} if verdict.shares is None else {"shares": dict(verdict.shares)}
    return {**whose, "model": verdict.model, "evidence": verdict.evidence}


def _next_stale(ledger: Ledger) -> list[Key]:
    with ledger.read() as conn:
        return credits.stale(conn, _BATCH)


def _follow(ledger: Ledger, rule: Rule, now: datetime) -> None:
    """After a change of the model everything is looked at again; by Markov's also a month that is over, because only
    then all of its paths are known.
    """
    month = month_of(now)
    with ledger.read() as conn:
        said = conn.exec_driver_sql(_GET, (_RULE,)).scalar() or str(Rule())
        begun = conn.exec_driver_sql(_GET, (_MONTH,)).scalar()
    last = None if begun is None else from_us(int(begun))
    if said == str(rule) and (rule.model != MARKOV or last == month):
        return

    def work(conn: Connection) -> None:
        if said != str(rule):
            credits.outdate_all(conn)
        elif last is not None and last < month:
            credits.outdate_all(conn, last, month)
        conn.exec_driver_sql(_PUT, (_RULE, str(rule)))
        conn.exec_driver_sql(_PUT, (_MONTH, str(to_us(month))))

    ledger.apply(work)
