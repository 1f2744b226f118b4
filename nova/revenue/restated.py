"""Figures of which a platform tells only how much they are now: what the ledger lacks of each, as an entry of its own.

The parts of a figure are the entries of its payment whose id is the figure's name, alone or with a state behind an `@`.
They add up to what was told last, in whatever order and however often it was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.entries import StoredEntry
    from platforms.events import PlatformEvent

_GROWING = ("refund", "dispute")  # more of these are further ones; other figures are corrected


@dataclass(frozen=True, slots=True)
class Held:
    """What the ledger has of a figure."""

    parts: tuple[StoredEntry, ...]

    def effect(self, currency: str) -> Money:
        return Money.total((one.effect for one in self.parts if one.effect.currency == currency), currency)


def stem_of(id: str) -> str:
    """The figure that an entry is a part of: itself, where it is none."""
    return id.partition("@")[0]


def held_of(event: PlatformEvent, payment: Sequence[StoredEntry]) -> Held:
    """`payment` are the entries of the event's payment."""
    stem = event.total_of or event.id
    return Held(
        tuple(
            one
            for one in payment
            if one.entry.source == event.source and (one.entry.id == stem or one.entry.id.startswith(f"{stem}@"))
        )
    )


def differs(event: PlatformEvent, stored: StoredEntry | None) -> bool:
    """The platform tells another amount of a fact than it told before."""
    return stored is not None and stored.effect.currency == event.effect.currency and stored.effect != event.effect


def missing(event: PlatformEvent, payment: Sequence[StoredEntry]) -> PlatformEvent | None:
    """What has to be booked so that the ledger has all of the figure; None where it has."""
    held = held_of(event, payment)
    lacks = event.effect - held.effect(event.amount.currency)
    if not lacks:
        return None
    id = _free_id(event, {one.entry.id for one in held.parts})
    grows = (lacks.micros > 0) == (event.kind == "revenue")
    if not held.parts or (grows and event.kind in _GROWING):
        return replace(event, id=id, amount=lacks if event.kind == "revenue" else -lacks, total_of=None)
    first = min(held.parts, key=lambda one: one.seq)
    return replace(
        event,
        id=id,
        kind="adjustment",
        amount=lacks,
        total_of=None,
        corrects=first.entry.id,
        corrects_at=first.entry.at,
        note=f"{event.kind} restated",
    )


def _free_id(event: PlatformEvent, taken: set[str]) -> str:
    if event.id not in taken:
        return event.id
    stem = event.id if "@" in event.id else f"{event.id}@{event.amount}"
    numbered = (f"{stem}#{n}" for n in range(2, len(taken) + 3))
    return next(id for id in (stem, *numbered) if id not in taken)


def parted(events: Sequence[PlatformEvent]) -> tuple[list[PlatformEvent], Mapping[str, PlatformEvent]]:
    """Those that are facts by themselves, and those that are totals, by id."""
    return [one for one in events if one.total_of is None], {one.id: one for one in events if one.total_of is not None}
