"""Reads an account's sales newest first as events: whole days of UTC, ten sales a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

from platforms.events import EventPage, PlatformEvent, Tag
from platforms.gumroad_mapping import earns, events_of
from platforms.gumroad_objects import Sale

SalePages = Callable[..., Iterator[tuple[list[Sale], str | None]]]


class Reader:
    """One reading. A sale that a page repeats is told once."""

    def __init__(self, sale_pages: SalePages) -> None:
        self._sale_pages = sale_pages

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        """Gumroad filters by days, so that sales of the first day before `since` come too and are left out."""
        floor = None if since is None else since.replace(microsecond=0)
        first: date | None = None if floor is None else floor.astimezone(UTC).date()
        seen: set[str] = set()
        for sales, following in self._sale_pages(first, None, None, page_key=after):
            fresh = {sale.id: sale for sale in sales if sale.id not in seen and (floor is None or sale.at >= floor)}
            seen = {sale.id for sale in sales}
            yield _told(list(fresh.values()), following)

    def tag(self, event: PlatformEvent) -> Tag | None:
        """All that a sale tells is in its event."""
        return event.tag

    def payment_of(self, object: str) -> str | None:
        """An order's number names its sale. A subscription pays by many, which are found as they are read again."""
        if not object.isdecimal():
            return object
        found = (sale.id for sales, _ in self._sale_pages(None, None, {"order_id": object}) for sale in sales)
        return next(found, object)


def _told(sales: list[Sale], following: str | None) -> EventPage:
    events = tuple(event for sale in sales for event in events_of(sale))
    return EventPage(events, len(sales), sum(not earns(sale) for sale in sales), (), following)
