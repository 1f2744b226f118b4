"""What a sync found, counted by the platform's own records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nova.clock import iso
from nova.ledger.entries import StoredEntry
from nova.money import Money
from nova.revenue.booking import Booked
from platforms.events import EventPage, Figure

_FIGURES = ("gross", "fees", "refunds", "disputes")


@dataclass(frozen=True, slots=True)
class SourceReport:
    """`fetched` = `new` + `duplicate` + `skipped`, in records of the platform; `attributed` + `unattributed` = `new`.

    Amounts are of what is new, in the reporting currency: net = gross − fees − refunds − disputes. What has no rate yet
    is in none of them, and counted as `unconverted`.
    """

    source: str
    fetched: int
    new: int
    duplicate: int
    skipped: int
    attributed: int
    unattributed: int
    reattributed: int
    unconverted: int
    figures: dict[str, Money]
    conflicts: tuple[str, ...]
    covered_at: datetime | None

    @property
    def net(self) -> Money:
        return self.figures["gross"] - self.figures["fees"] - self.figures["refunds"] - self.figures["disputes"]

    def to_json(self) -> dict[str, Any]:
        counts = ("fetched", "new", "duplicate", "skipped", "attributed", "unattributed", "reattributed", "unconverted")
        return {
            "source": self.source,
            **{name: getattr(self, name) for name in counts},
            **{name: str(self.figures[name]) for name in _FIGURES},
            "net": str(self.net),
            "conflicts": list(self.conflicts),
            "cursor": None if self.covered_at is None else iso(self.covered_at),
        }


@dataclass(slots=True)
class Tally:
    source: str
    currency: str
    fetched: int = 0
    new: int = 0
    skipped: int = 0
    attributed: int = 0
    moved: int = 0
    unconverted: int = 0
    figures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FIGURES, 0))
    conflicts: list[str] = field(default_factory=list)

    def add(self, page: EventPage, booked: Booked) -> None:
        self.fetched += page.transactions
        self.skipped += page.skipped
        self.moved += booked.moved
        self.conflicts += booked.conflicts
        fresh: dict[str, bool] = {}
        for event in page.events:
            stored = booked.new.get(event.id)
            if stored is None:
                continue
            fresh[event.transaction] = fresh.get(event.transaction, False) or stored.entry.worker is not None
            if stored.booked is None:
                self.unconverted += 1
            else:
                self.figures[event.figure] += _signed(event.figure, stored)
        self.new += len(fresh)
        self.attributed += sum(fresh.values())

    def report(self, covered_at: datetime | None) -> SourceReport:
        return SourceReport(
            self.source,
            self.fetched,
            self.new,
            self.fetched - self.new - self.skipped,
            self.skipped,
            self.attributed,
            self.new - self.attributed,
            self.moved,
            self.unconverted,
            {name: Money(micros, self.currency) for name, micros in self.figures.items()},
            tuple(self.conflicts),
            covered_at,
        )


def _signed(figure: Figure, stored: StoredEntry) -> int:
    """How it moves its figure: fees, refunds and disputes grow as the balance shrinks."""
    booked = stored.booked
    grows = (stored.effect.micros > 0) == (figure == "gross")
    return 0 if booked is None else abs(booked.micros) if grows else -abs(booked.micros)
