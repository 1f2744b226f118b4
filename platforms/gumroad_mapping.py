"""What a Gumroad sale means: pure, from the sale as it is now to events.

| of the sale | event, in dollars | figure | id |
|---|---|---|---|
| `price` | revenue | gross | the sale's id |
| `gumroad_fee` | fee | fees | `ID:fee` |
| what the affiliate gets | fee | fees | `ID:affiliate` |
| refunded so far | refund | refunds | `ID:refund@CENTS` |
| disputed and not won: what was not refunded | dispute | disputes | `ID:dispute@CENTS` |

A sale tells how much of it was refunded and whether it is disputed, but neither when nor how often. So each figure is
told as its total, from which the ledger books what it lacks, and all of them at the instant of the sale: whoever reads
the same sale gets the same. A refund that failed, or a dispute won, takes the total back.

Free sales, trials that begin, preorders and tests move no money. The fee stays as the sale tells it: what of it Gumroad
gives back with a refund is told nowhere before the payout.
"""

from __future__ import annotations

from collections.abc import Iterator

from nova.money import Money
from nova.people import subject_of, subject_of_click, subject_of_email
from platforms.events import Figure, Kind, PlatformEvent
from platforms.gumroad_money import USD
from platforms.gumroad_objects import Sale

SOURCE = "gumroad"


def events_of(sale: Sale) -> tuple[PlatformEvent, ...]:
    return tuple(_events(sale)) if earns(sale) else ()


def earns(sale: Sale) -> bool:
    return sale.charged and not sale.test


def _events(sale: Sale) -> Iterator[PlatformEvent]:
    yield _event(sale, "revenue", "gross", sale.price, "", sale.id)
    yield _event(sale, "fee", "fees", sale.fee, ":fee")
    if sale.affiliate:
        yield _event(sale, "fee", "fees", sale.affiliate, ":affiliate")
    yield _event(sale, "refund", "refunds", sale.refunded, ":refund")
    lost = sale.price - sale.refunded if sale.disputed and not sale.dispute_won else Money.zero(USD)
    yield _event(sale, "dispute", "disputes", lost, ":dispute")


def _event(sale: Sale, kind: Kind, figure: Figure, amount: Money, part: str, id: str | None = None) -> PlatformEvent:
    stem = f"{sale.id}{part}"
    state = stem if part in (":fee", ":affiliate") else f"{stem}@{amount.micros // 10_000}"
    presented = sale.listed if kind == "revenue" and sale.rate is not None else None
    return PlatformEvent(
        source=SOURCE,
        id=id or state,
        kind=kind,
        figure=figure,
        amount=amount,
        at=sale.at,
        transaction=sale.id,
        object=sale.id,
        objects=tuple(dict.fromkeys(one for one in (sale.id, sale.order, sale.subscription) if one)),
        tag=sale.tag,
        note=_note(sale) if kind == "revenue" else "the affiliate's part" if part == ":affiliate" else None,
        presented=presented,
        rate=sale.rate if presented is not None else None,
        evidence=_evidence(sale),
        subjects=_subjects(sale),
        total_of=stem,
    )


def _note(sale: Sale) -> str:
    paid = "" if sale.rate is None else f", paid {sale.listed} {sale.listed.currency} at {sale.rate}"
    return f"{sale.product_name}{paid}"


def _evidence(sale: Sale) -> dict[str, str]:
    said = {"product": sale.product, "coupon": sale.offer_code, "campaign": sale.campaign, "link": sale.link}
    return {name: value for name, value in said.items() if value}


def _subjects(sale: Sale) -> tuple[str, ...]:
    named = (
        None if sale.email is None else subject_of_email(sale.email),
        None if sale.purchaser is None else subject_of(SOURCE, sale.purchaser),
        None if sale.click is None else subject_of_click(sale.click),
    )
    return tuple(name for name in named if name)
