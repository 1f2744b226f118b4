"""What a Stripe balance transaction means: pure, from the transaction with its source expanded to events.

| balance transaction | event, of its gross `amount` | id |
|---|---|---|
| charge, payment | revenue | `txn_…` |
| refund, payment_refund, payment_reversal, payment_failure_refund | refund | `txn_…` |
| refund_failure (the money came back) | adjustment of that refund | `txn_…` |
| adjustment of a dispute, negative (money withdrawn) | dispute | `txn_…` |
| the same, positive (won, reinstated) | adjustment of that dispute | `txn_…` |
| payouts, transfers, top-ups, reserves, holds | none but their fee: own money on its way | |
| stripe_fee, taxes and everything else, negative | fee, its type in the note | `txn_…` |
| everything else, positive | revenue, its type in the note | `txn_…` |
| `fee` > 0 of any of them | fee | `txn_…:fee` |
| `fee` < 0 (a fee given back) | adjustment of the fee that was taken, where it is known | `txn_…:fee` |

What takes back something unknown is booked as revenue by itself, with a note, in the figure it belongs to. Amounts are
in the currency of the balance, so that all effects together are the change of the balance to the cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from nova.money import Money
from platforms.events import Figure, Kind, PlatformEvent, Tag, Transfer
from platforms.reading import readable
from platforms.stripe_evidence import evidence_in, subjects_in
from platforms.stripe_money import from_stripe

SOURCE = "stripe"
TAG = "nova_worker"
RUN = "nova_run"
FEE = ":fee"

_SALES = {"charge", "payment"}
_REFUNDS = {"refund", "payment_refund", "payment_reversal", "payment_failure_refund"}
_OWN_MONEY = {
    "payout", "payout_cancel", "payout_failure", "payout_minimum_balance_hold", "payout_minimum_balance_release",
    "transfer", "transfer_cancel", "transfer_failure", "transfer_refund", "topup", "topup_reversal",
    "inbound_transfer", "inbound_transfer_reversal", "connect_collection_transfer",
    "reserve_hold", "reserve_release", "reserve_transaction", "reserved_funds",
    "payment_network_reserve_hold", "payment_network_reserve_release",
    "issuing_authorization_hold", "issuing_authorization_release",
}  # fmt: skip

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Booking:
    kind: Kind
    figure: Figure
    corrects: str | None = None
    corrects_at: datetime | None = None
    note: str | None = None


@readable(SOURCE)
def events_of(transaction: Json) -> tuple[PlatformEvent, ...]:
    """The money facts of one balance transaction; of money that only changes its place, what that cost."""
    money = from_stripe(transaction["amount"], transaction["currency"])
    fee = from_stripe(transaction["fee"], transaction["currency"])
    found: list[PlatformEvent] = []
    if money and not moves_own_money(transaction):
        found.append(_event(transaction, transaction["id"], money, _booking(transaction)))
    if fee:
        found.append(_event(transaction, transaction["id"] + FEE, -fee, _fee_booking(transaction)))
    return tuple(found)


@readable(SOURCE)
def moves_own_money(transaction: Json) -> bool:
    return transaction["type"] in _OWN_MONEY


@readable(SOURCE)
def transfer_of(transaction: Json) -> Transfer:
    amount = from_stripe(transaction["amount"], transaction["currency"])
    return Transfer(transaction["id"], instant(transaction["created"]), amount)


def charge_of(transaction: Json) -> Json | None:
    """The charge behind a sale, refund or dispute, where it is expanded."""
    source = expanded(transaction.get("source"))
    if source is None:
        return None
    return source if source.get("object") == "charge" else expanded(source.get("charge"))


def tag_in(charge: Json | None) -> Tag | None:
    """The worker written on the charge, or on its payment intent where that is expanded."""
    if charge is None:
        return None
    return tag_of(charge, "charge") or tag_of(expanded(charge.get("payment_intent")), "payment_intent")


def tag_of(holder: Json | None, name: str) -> Tag | None:
    metadata = (holder or {}).get("metadata") or {}
    worker = metadata.get(TAG)
    return Tag(worker, f"{name}.metadata") if isinstance(worker, str) and worker.strip() else None


def expanded(value: Any) -> Json | None:
    return value if isinstance(value, Mapping) else None


def id_of(value: Any) -> str | None:
    """The id of what is a bare id or an expanded object."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def _booking(transaction: Json) -> _Booking:
    kind, amount, source = transaction["type"], transaction["amount"], expanded(transaction.get("source")) or {}
    if kind in _SALES and amount > 0:
        return _Booking("revenue", "gross", note=_presented_note(transaction))
    if kind in _REFUNDS and amount < 0:
        return _Booking("refund", "refunds", note=source.get("reason"))
    if kind in _REFUNDS or kind == "refund_failure":
        return _taken_back("refunds", source.get("balance_transaction"), "a refund that failed", transaction)
    if kind == "adjustment" and source.get("object") == "dispute":
        if amount < 0:
            return _Booking("dispute", "disputes", note=source.get("reason"))
        return _taken_back("disputes", _withdrawal(source, transaction), "a dispute won", transaction)
    said = transaction.get("description")
    note = f"{kind}: {said}" if said else str(kind)
    return _Booking("fee", "fees", note=note) if amount < 0 else _Booking("revenue", "gross", note=note)


def _fee_booking(transaction: Json) -> _Booking:
    if transaction["fee"] > 0:
        return _Booking("fee", "fees")
    source = expanded(transaction.get("source")) or {}
    if source.get("object") == "dispute":
        taken = _withdrawal(source, transaction)
    else:
        taken = (charge_of(transaction) or {}).get("balance_transaction")
    booking = _taken_back("fees", taken, "a fee given back", transaction)
    if booking.corrects is None or (expanded(taken) or {"fee": 1}).get("fee", 1) <= 0:
        return _Booking("revenue", "fees", note="a fee given back")
    return _Booking("adjustment", "fees", booking.corrects + FEE, booking.corrects_at, booking.note)


def _taken_back(figure: Figure, taken: Any, note: str, transaction: Json) -> _Booking:
    corrects = id_of(taken)
    if transaction["amount"] < 0 and figure != "fees":
        return _Booking("refund", figure, note=note)
    if corrects is None or corrects == transaction["id"]:
        return _Booking("revenue", figure, note=note)
    created = (expanded(taken) or {}).get("created")
    return _Booking("adjustment", figure, corrects, None if created is None else instant(created), note)


def _withdrawal(dispute: Json, transaction: Json) -> Any:
    """The transaction by which a dispute took the money, that this one gives back."""
    taken = [
        t
        for t in dispute.get("balance_transactions") or ()
        if expanded(t) and t["amount"] < 0 and t["id"] != transaction["id"]
    ]
    return min(taken, key=lambda t: (t["created"], t["id"]), default=None)


def _event(transaction: Json, id: str, effect: Money, booking: _Booking) -> PlatformEvent:
    charge = charge_of(transaction)
    objects = _objects(transaction, charge)
    if not transaction["id"] or not "".join((id, *objects)).isprintable():
        raise ValueError("what is no text is no id")
    presented, rate = _presented(transaction)
    negative = booking.kind in ("refund", "fee", "dispute")
    return PlatformEvent(
        source=SOURCE,
        id=id,
        kind=booking.kind,
        figure=booking.figure,
        amount=-effect if negative else effect,
        at=instant(transaction["created"]),
        transaction=transaction["id"],
        object=objects[0] if objects else None,
        objects=objects,
        corrects=booking.corrects,
        corrects_at=booking.corrects_at,
        tag=tag_in(charge),
        note=booking.note,
        presented=presented,
        rate=rate,
        evidence=evidence_in(charge),
        subjects=subjects_in(charge),
    )


def _objects(transaction: Json, charge: Json | None) -> tuple[str, ...]:
    source = expanded(transaction.get("source")) or {}
    behind = charge or {}
    ids = (
        id_of(behind.get("payment_intent")) or id_of(source.get("payment_intent")),
        id_of(charge) or id_of(source.get("charge")),
        id_of(behind.get("invoice")),
        id_of(transaction.get("source")),
        transaction["id"],
    )
    return tuple(dict.fromkeys(id for id in ids if id)) if charge or source.get("charge") else ()


def _presented(transaction: Json) -> tuple[Money | None, Decimal | None]:
    source = expanded(transaction.get("source")) or {}
    rate, currency, amount = transaction.get("exchange_rate"), source.get("currency"), source.get("amount")
    if rate is None or currency is None or amount is None:
        return None, None
    told = Decimal(repr(rate))
    return (from_stripe(amount, currency), told) if told.is_finite() else (None, None)


def _presented_note(transaction: Json) -> str | None:
    presented, rate = _presented(transaction)
    return None if presented is None else f"paid {presented} {presented.currency} at {rate}"


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
