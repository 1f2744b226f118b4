"""How much of what was sold was given back: of what a period booked, and of the sales of a period, refunded since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nova.clock import iso, to_us
from nova.errors import UsageProblem
from nova.money import Money
from nova.revenue.analytics.mrr import percent
from nova.revenue.analytics.office import instant_of
from nova.revenue.office import Office
from nova.revenue.reports import unconverted

if TYPE_CHECKING:
    from sqlalchemy import Connection

BYS = ("worker", "source")
UNATTRIBUTED = "(unattributed)"
_KNOWN = "SELECT kind, corrects FROM entries WHERE source = ? AND id = ?"
_ROWS = """SELECT source, id, kind, corrects, worker, booked_micros, at_us, object FROM entries
    WHERE at_us >= ? AND at_us < ? AND side = 'revenue' AND kind IN ('revenue', 'refund', 'dispute', 'adjustment')
        AND booked_micros IS NOT NULL ORDER BY seq"""


class Part(NamedTuple):
    """What an entry or a correction of it gives a worker. `ref` is the entry's, `micros` its effect on net revenue."""

    ref: str
    kind: str
    worker: str | None
    source: str
    object: str | None
    at_us: int
    micros: int


@dataclass(frozen=True, slots=True)
class Given:
    """`sales`, `refunds` and `disputes` of a period, as (number, amount); `linked` and `back` are of its sales.

    `linked` are the sales whose payment is known, `back` those of them that were refunded since, whenever that was.
    """

    sales: tuple[int, Money]
    refunds: tuple[int, Money]
    disputes: tuple[int, Money]
    linked: tuple[int, Money]
    back: tuple[int, Money]

    def to_json(self) -> dict[str, Any]:
        pairs = (("sales", self.sales), ("refunds", self.refunds), ("disputes", self.disputes))
        return {
            **{name: {"count": number, "amount": str(amount)} for name, (number, amount) in pairs},
            "rate": _rates(self.refunds, self.sales),
            "of_these_sales": {
                "sales": self.linked[0], "refunded": self.back[0], "amount": str(self.back[1]),
                **_rates(self.back, self.linked),
            },
        }  # fmt: skip


def _rates(part: tuple[int, Money], whole: tuple[int, Money]) -> dict[str, float | None]:
    by_count = percent(Money(part[0], ""), Money(whole[0], ""))
    return {"count_percent": _number(by_count), "amount_percent": _number(percent(part[1], whole[1]))}


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def given_back(parts: Iterable[Part], until_us: int, currency: str) -> Given:
    """`parts` begin with the period and may go on after its end, `until_us`: for the refunds of its sales."""
    held: dict[str, dict[str, int]] = {kind: defaultdict(int) for kind in ("revenue", "refund", "dispute")}
    payments: dict[tuple[str, str], int] = defaultdict(int)
    returned: dict[tuple[str, str], int] = defaultdict(int)
    for part in parts:
        key = None if part.object is None else (part.source, part.object)
        if part.kind == "refund" and key is not None:
            returned[key] -= part.micros
        if part.at_us < until_us:
            held[part.kind][part.ref] += part.micros if part.kind == "revenue" else -part.micros
            if part.kind == "revenue" and key is not None:
                payments[key] += part.micros
    sold = {key for key, micros in payments.items() if micros > 0}
    back = {key: micros for key, micros in returned.items() if key in sold and micros > 0}
    return Given(
        _sum(held["revenue"], currency),
        _sum(held["refund"], currency),
        _sum(held["dispute"], currency),
        _sum({key: payments[key] for key in sold}, currency),
        _sum(back, currency),
    )


def _sum(held: Mapping[Any, int], currency: str) -> tuple[int, Money]:
    return sum(1 for micros in held.values() if micros), Money(sum(held.values()), currency)


def read_parts(conn: Connection, since: datetime, until: datetime) -> list[Part]:
    rows = list(conn.exec_driver_sql(_ROWS, (to_us(since), to_us(until))))
    known = {f"{row.source}/{row.id}": (row.kind, row.corrects) for row in rows}
    parts = []
    for row in rows:
        ref, kind = _origin(conn, known, f"{row.source}/{row.id}")
        sign = -1 if row.kind in ("refund", "dispute") else 1
        if kind in ("revenue", "refund", "dispute"):
            source = ref.partition("/")[0]
            parts.append(Part(ref, kind, row.worker, source, row.object, row.at_us, sign * row.booked_micros))
    return parts


def _origin(conn: Connection, known: dict[str, tuple[str, str | None]], ref: str) -> tuple[str, str]:
    """What an adjustment corrects or moves in the end, and its kind; anything else is its own."""
    seen = set()
    while ref not in seen:
        seen.add(ref)
        if ref not in known:
            row = conn.exec_driver_sql(_KNOWN, tuple(ref.split("/", 1))).first()
            known[ref] = ("unknown", None) if row is None else (row[0], row[1])
        kind, corrects = known[ref]
        if kind != "adjustment" or corrects is None:
            return ref, kind
        ref = corrects
    return ref, "unknown"


def refunds(
    nova: Office,
    *,
    by: str = "worker",
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """From `since` (30 days ago) until before `until` (now). Raises UsageProblem."""
    if by not in BYS:
        raise UsageProblem(f"not a key for refunds: {by!r}", hint=f"it is {' or '.join(BYS)}")
    at = instant_of(nova, now, since, until)
    end = min(until or at, at)
    begin = since or end - timedelta(days=30)
    if begin > end:
        raise UsageProblem("the refunds would end before they begin", hint="--since must be before --until and --now")
    with nova.ledger.read() as conn:
        parts = read_parts(conn, begin, at)
    currency, end_us = nova.ledger.store.currency, to_us(end)
    key_of: Callable[[Part], str] = (
        (lambda one: one.worker or UNATTRIBUTED) if by == "worker" else lambda one: one.source
    )
    grouped: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        grouped[key_of(part)].append(part)
    rows = {key: given_back(found, end_us, currency) for key, found in grouped.items()}
    shown = sorted(rows, key=lambda key: (-rows[key].refunds[1].micros, key))
    return {
        "currency": currency,
        "since": iso(begin),
        "until": iso(end),
        "by": by,
        "rows": [{"key": key, **rows[key].to_json()} for key in shown if rows[key].sales[0] or rows[key].refunds[0]],
        "total": given_back(parts, end_us, currency).to_json(),
        "unconverted": unconverted(nova, "revenue"),
    }
