"""How far back a platform is read again that changes old records without a trace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def recheck_of(client: object, covered_at: datetime, now: datetime) -> timedelta:
    """As far as the client says by `recheck`, in the first reading of a day of UTC; else not at all."""
    again: timedelta = getattr(client, "recheck", timedelta())
    return timedelta() if covered_at.astimezone(UTC).date() == now.astimezone(UTC).date() else again
