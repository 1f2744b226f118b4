"""Brings payments to those they belong to by now: whatever came late, in whatever order, the end is the same.

Each payment is looked at in one transaction with all that is known of it then, so that it may be cut anywhere, done
again, and done by several processes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from nova.clock import from_us, to_us
from nova.errors import NovaError
from nova.ledger import credits
from nova.ledger.entries import Handing, hand_over
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


def settle_these(nova: Office, keys: Sequence[Key]) -> Settled:
    settling = _Settling(nova.ledger, rule_of(nova.fleet.snapshot().policy))
    parts = (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
    return sum((settling.settle(part) for part in parts), Settled())


class _Settling:
    def __init__(self, ledger: Ledger, rule: Rule) -> None:
        self._ledger, self._rule = ledger, rule
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

    def _all(self, conn: Connection, keys: Sequence[Key]) -> Settled:
        found = load(conn, self._ledger.store, keys, self._rule.window)
        open_ = {key: one for key, one in found.items() if not one.settled}
        for key in keys:
            if key not in open_:
                credits.leave(conn, *key)
        verdicts = {key: decide(one, self._rule.model, self._effects) for key, one in open_.items()}
        given = [handing for key, one in open_.items() for handing in _handings(one, verdicts[key])]
        moves = {ref: made for one in open_.values() for ref, made in one.moves.items()}
        moved = hand_over(conn, self._ledger.store, given, moves)
        credits.divided(
            conn,
            [
                replace(one.credit, model=verdicts[key].dividing, shares=verdicts[key].shares)
                for key, one in open_.items()
            ],
        )
        changed = sum(any(entry.ref in moved for entry in one.entries) for one in open_.values())
        return Settled(len(found), changed, len(moved))


def _handings(payment: Payment, verdict: Verdict) -> list[Handing]:
    parts = zip(payment.entries, parts_of(payment, verdict), strict=True)
    return [Handing(one, held, verdict.model, verdict.evidence) for one, held in parts]


def _next_stale(ledger: Ledger) -> list[Key]:
    with ledger.read() as conn:
        return credits.stale(conn, _BATCH)


def _follow(ledger: Ledger, rule: Rule, now: datetime) -> None:
    """After a change of the model everything is looked at again; by Markov's also a month that is over, because only
    then all of its paths are known.
    """
    month = month_of(now)
    with ledger.read() as conn:
        said = credits.rule(conn) or str(Rule())
        begun = credits.month_us(conn)
    last = None if begun is None else from_us(begun)
    if said == str(rule) and (rule.model != MARKOV or last == month):
        return

    def work(conn: Connection) -> None:
        if said != str(rule):
            credits.outdate_all(conn)
        elif last is not None and last < month:
            credits.outdate_all(conn, last, month)
        credits.set_rule(conn, str(rule))
        credits.set_month_us(conn, to_us(month))

    ledger.apply(work)
