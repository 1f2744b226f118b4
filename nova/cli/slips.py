"""Slips of the pen that are no errors, because what is booked may come before what is declared: told on stderr."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from nova.cli.render import when
from nova.cli.terminal import note

if TYPE_CHECKING:
    from nova.bootstrap import Nova


def tell_unknown_worker(nova: Nova, worker: str | None) -> None:
    """Money of a worker that is not deployed is kept and reported under its name."""
    import difflib

    known = nova.fleet.snapshot().deployments
    if worker is None or worker in known:
        return
    near = difflib.get_close_matches(worker, known, n=1)
    note(f"nothing is deployed as {worker}" + (f"; did you mean {near[0]}?" if near else ""))


def tell_no_rate(nova: Nova, currency: str) -> None:
    """Money in a currency without a rate is kept, and counts nowhere."""
    if currency != nova.ledger.store.currency and all(rate.currency != currency for rate in nova.ledger.rates.all()):
        note(f"{currency} has no rate: none of it counts until you set one: nova revenue rates set {currency}=RATE")


def tell_slips(nova: Nova, worker: str, currency: str, at: datetime | None) -> None:
    """All that may be wrong with what was just booked."""
    tell_unknown_worker(nova, worker)
    tell_no_rate(nova, currency)
    if at is not None and at > nova.clock.now():
        note(f"{when(at)} is still to come: until then no report of today counts it")
