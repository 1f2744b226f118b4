"""Values as tables show them, beside those that reasons and errors share with them (nova.words)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from nova.money import Money
from nova.words import NOTHING as NOTHING
from nova.words import count as count
from nova.words import money as money
from nova.words import percent as percent
from nova.words import when as when


def money_text(amount: str | None, currency: str) -> str:
    """The same for an amount as JSON carries it."""
    return NOTHING if amount is None else money(Money.parse(amount, currency))


def bar(first: Decimal, second: Decimal, width: int = 20) -> str:
    """Two parts of a whole, which is 1: `#####++.............`. A little of a part is never shown as none of it."""
    left, marks = width, ""
    for part, mark in ((first, "#"), (second, "+")):
        filled = min(left, max(round(part * width), 1 if part > 0 else 0))
        left, marks = left - filled, marks + mark * filled
    return marks + "." * left


def duration(seconds: float | None) -> str:
    """The two largest units that matter: `4d 2h`, `3m 10s`, `0.4s`."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    parts: list[str] = []
    left = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in one unit; an instant to come reads `in 5m`."""
    if at is None:
        return NOTHING
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    shown = duration(abs(seconds)).split()[0] if abs(seconds) >= 10 else f"{abs(seconds):.0f}s"
    return f"{shown} ago" if seconds > 0 else f"in {shown}"


def size(number: float | None) -> str:
    """Bytes, as `12.3 MB`."""
    if number is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def short(text: str | None, width: int) -> str:
    """The last line that says something, cut to `width`: the end of an error tells more than its beginning."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[-1] if len(lines[-1]) <= width else lines[-1][: width - 3] + "..."
