"""Reads an account's balance transactions page by page, with what stands behind each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from platforms.base import PlatformFailed
from platforms.events import EventPage, PlatformEvent, Tag
from platforms.reading import unreadable
from platforms.stripe_behind import Behind, Sessions, behind_invoice
from platforms.stripe_mapping import SOURCE, charge_of, events_of, expanded, id_of, moves_own_money, transfer_of
from platforms.stripe_requests import Requests
from platforms.stripe_tags import Lookup, find_tag, invoice_of

_PAGE = 100
_EXPAND = ["data.source", "data.source.charge", "data.source.payment_intent"]


class Reader:
    """One reading of an account: what it looks up behind a charge, it looks up once."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._lookup = Lookup(requests)
        self._sessions = Sessions(requests)
        self._charges: dict[str, Mapping[str, Any]] = {}
        self._plain = False  # a server that knows neither deep expansion nor the filter

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        """Newest first, nothing older than `since`. An object that a page repeats is told once."""
        floor = None if since is None else int(since.timestamp())
        seen: set[str] = set()
        while True:
            body = self._page(floor, after)
            found = [t for t in body["data"] if floor is None or _created(t) >= floor]
            ended = len(found) < len(body["data"]) or not body["has_more"] or not found
            last = found[-1]["id"] if found else None
            yield self._told([t for t in found if t["id"] not in seen], None if ended else last)
            if ended or last == after:
                return
            seen = {t["id"] for t in found}
            after = last

    def tag(self, event: PlatformEvent) -> Tag | None:
        """Of an event of the page that was read last."""
        charge = self._charge_of(event)
        if event.tag is not None or charge is None:
            return event.tag
        found = find_tag(charge, self._lookup)
        session = None if found is not None else self._session_of(charge)
        return found if session is None else session.tag

    def with_evidence(self, event: PlatformEvent) -> PlatformEvent:
        """Of an event of the page that was read last: what else says whose it is, also where that needs requests."""
        charge = self._charge_of(event)
        if charge is None or event.kind != "revenue" or event.tag is not None:
            return event
        invoice = invoice_of(charge, self._lookup)
        found = behind_invoice(invoice) if invoice is not None else self._session_of(charge) or Behind()
        subjects = tuple(dict.fromkeys((*event.subjects, *found.subjects)))
        return replace(event, evidence={**found.evidence, **event.evidence}, subjects=subjects)

    def payment_of(self, object: str) -> str | None:
        """The payment intent behind a charge; an intent is its own."""
        if not object.startswith(("ch_", "py_")):
            return object
        charge = self._lookup.charge(object)
        return None if charge is None else id_of(charge.get("payment_intent")) or object

    def _page(self, floor: int | None, after: str | None) -> dict[str, Any]:
        if not self._plain:
            try:
                return self._list(floor, after, _EXPAND)
            except PlatformFailed:
                self._plain = True
        return self._list(None, after, _EXPAND[:1])

    def _list(self, floor: int | None, after: str | None, expand: list[str]) -> dict[str, Any]:
        params: dict[str, Any] = {"limit": _PAGE, "expand": expand}
        if floor is not None:
            params["created"] = {"gte": floor}
        if after is not None:
            params["starting_after"] = after
        return self._requests.page("/v1/balance_transactions", params, "transactions")

    def _told(self, transactions: list[dict[str, Any]], after: str | None) -> EventPage:
        unique = list({t["id"]: t for t in transactions}.values())
        own = [t for t in unique if moves_own_money(t)]
        self._charges.clear()
        told = [events_of(self._completed(t)) for t in unique]
        events = tuple(event for some in told for event in some)
        return EventPage(events, len(unique), sum(not some for some in told), tuple(map(transfer_of, own)), after)

    def _charge_of(self, event: PlatformEvent) -> Mapping[str, Any] | None:
        return next((self._charges[id] for id in event.objects if id in self._charges), None)

    def _session_of(self, charge: Mapping[str, Any]) -> Behind | None:
        payment = id_of(charge.get("payment_intent"))
        return None if payment is None else self._sessions.of(payment, charge["created"])

    def _completed(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """With the charge behind a refund or a dispute, also where the server did not expand it."""
        source = expanded(transaction.get("source"))
        if source is None:
            return transaction
        charge = charge_of(transaction)
        charge_id = id_of(source.get("charge"))
        if charge is None and charge_id is not None:
            charge = self._lookup.charge(charge_id)
            if charge is not None:
                transaction = {**transaction, "source": {**source, "charge": charge}}
        if charge is not None:
            self._charges[charge["id"]] = charge
        return transaction


def _created(transaction: Mapping[str, Any]) -> int:
    created = transaction.get("created")
    if type(created) is not int:
        raise unreadable(SOURCE, transaction)
    return created
