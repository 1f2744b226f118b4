"""Money facts before they are booked: what an entry holds, what is let in, and the digest that names its content."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from nova.clock import to_us
from nova.errors import UsageProblem
from nova.money import MAX_MICROS, Money

REVENUE_SIGNS = {"revenue": 1, "refund": -1, "fee": -1, "dispute": -1}
KINDS = (*REVENUE_SIGNS, "cost", "adjustment")
MOVES = "reattribution"  # the source of the adjustments that move an entry from one worker to another
_WEIGHTS = {":from": -1, ":less": 0, ":more": 0}  # by how the id of a move's half ends

EARLIEST_US = 946_684_800_000_000  # 2000-01-01
LATEST_US = 7_258_118_400_000_000  # 2200-01-01
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_LONGEST = {
    "worker": 64,
    "source": 100,
    "id": 255,
    "run": 255,
    "model": 64,
    "evidence": 1000,
    "object": 255,
    "note": 4000,
}
_NAMES = {
    "worker": re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,64}"),
    "source": re.compile(r"[^/\x00-\x1f\x7f-\x9f]{1,100}"),
    "id": re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,255}"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One money fact. `amount` is positive, but an adjustment's is its signed effect on net revenue or on cost.

    `rate` is the platform's own, in units of the reporting currency. `corrects` is SOURCE/ID, or the same source's ID.
    """

    id: str
    source: str
    kind: str
    amount: Money
    at: datetime
    worker: str | None = None
    run: str | None = None
    rate: Decimal | None = None
    model: str | None = None
    evidence: str | None = None
    corrects: str | None = None
    note: str | None = None
    object: str | None = None

    @property
    def ref(self) -> str:
        return f"{self.source}/{self.id}"


class Fact(NamedTuple):
    """An entry that was let in, in the form the ledger keeps."""

    source: str
    id: str
    kind: str
    worker: str | None
    run: str | None
    micros: int
    currency: str
    rate: str | None
    at_us: int
    model: str | None
    evidence: str | None
    corrects: str | None
    note: str | None
    object: str | None
    digest: bytes


def admit(entry: Entry, currency: str) -> Fact:
    """Raises UsageProblem saying what is wrong with it. `currency` is the reporting one."""
    if entry.at.tzinfo is None:
        raise UsageProblem("the time of an entry needs a time zone")
    rate = None if entry.rate is None else rate_text(entry.rate)
    return fact_of(
        entry.source,
        entry.id,
        entry.kind,
        entry.worker,
        entry.run,
        entry.amount.micros,
        entry.amount.currency,
        rate,
        to_us(entry.at),
        entry.model,
        entry.evidence,
        entry.corrects,
        entry.note,
        entry.object,
        currency,
    )


def fact_of(
    source: str,
    id: str,
    kind: str,
    worker: str | None,
    run: str | None,
    micros: int,
    currency: str,
    rate: str | None,
    at_us: int,
    model: str | None,
    evidence: str | None,
    corrects: str | None,
    note: str | None,
    object: str | None,
    reporting: str,
) -> Fact:
    """The same from plain values, for what comes by the hundred thousand. Raises UsageProblem."""
    try:
        head = _head(source, kind, worker, currency, model)
    except TypeError:  # a list or an object where text belongs
        head = _head.__wrapped__(source, kind, worker, currency, model)
    check_name("id", id)
    if not EARLIEST_US <= at_us < LATEST_US:
        raise UsageProblem("the time must lie between 2000 and 2200")
    if not 0 < micros <= MAX_MICROS and (kind != "adjustment" or abs(micros) > MAX_MICROS):
        raise UsageProblem(
            "the amount is larger than nova keeps (100 billion)"
            if abs(micros) > MAX_MICROS
            else f"the amount of a {kind} must be more than zero"
        )
    for name, text in (("run", run), ("evidence", evidence), ("object", object), ("note", note)):
        if text is not None:
            _check_optional(name, text)
    if kind == "adjustment":
        corrects = _corrected(source, id, micros, corrects)
    elif corrects is not None:
        corrects = _reference(source, corrects)
    if rate is not None and currency == reporting:
        if Decimal(rate) != 1:
            raise UsageProblem(f"an amount in {reporting} has no rate but 1, not {rate}")
        rate = None
    digest = _digest(head, id, micros, at_us, (run, evidence, corrects, note, object))
    return Fact(
        source, id, kind, worker, run, micros, currency, rate, at_us, model, evidence, corrects, note, object, digest
    )


def digest_of(row: Any) -> bytes:
    """The digest of what a row of the table holds, whatever digest it carries."""
    head = _prefixed((row.source, row.kind, row.worker, row.currency, row.model))
    rest = (row.run, row.evidence, row.corrects, row.note, row.object)
    return _digest(head, row.id, row.micros, row.at_us, rest)


@lru_cache(maxsize=4096)
def _head(source: str, kind: str, worker: str | None, currency: str, model: str | None) -> str:
    """Checks what many entries have in common, and gives its part of the canonical text."""
    if kind not in KINDS:
        raise UsageProblem(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    check_name("source", source)
    if worker is not None:
        check_name("worker", worker)
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise UsageProblem(f"currency must be three capital letters such as USD, not {currency!r}")
    if model is not None:
        _check_optional("model", model)
    return _prefixed((source, kind, worker, currency, model))


def _digest(head: str, id: str, micros: int, at_us: int, rest: tuple[str | None, ...]) -> bytes:
    canonical = f"{head}{len(id)}:{id}{micros},{at_us},{_prefixed(rest)}"
    try:
        return hashlib.sha256(canonical.encode()).digest()
    except UnicodeEncodeError:
        raise UsageProblem("the text holds half a character (a lone surrogate)") from None


def _prefixed(texts: tuple[str | None, ...]) -> str:
    """Each text after its length, so that no two sequences of texts read the same."""
    return "".join(["-" if text is None else f"{len(text)}:{text}" for text in texts])


def rate_text(rate: Decimal | str) -> str:
    """The one way a rate is written. Raises UsageProblem for what is none."""
    try:
        value = Decimal(rate)
        usable = (
            value.is_finite() and Decimal("1e-12") <= value <= Decimal("1e12") and len(value.as_tuple().digits) <= 28
        )
    except (InvalidOperation, ValueError, TypeError):
        usable = False
    if not usable:
        raise UsageProblem(f"not an exchange rate: {rate!s:.40}", hint="write it as EUR=1.08")
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def weight(source: str, id: str, kind: str) -> int:
    """How an entry counts as one, so that who holds of an entry counts it once.

    The half of a move that takes all that a worker holds of one counts as minus one; that takes or adds a part, as 0.
    """
    return _WEIGHTS.get(id[-5:], 1) if source == MOVES and kind == "adjustment" else 1


def weight_sql(source: str, id: str, kind: str) -> str:
    """The same for SQLite, of these columns."""
    cases = " ".join(f"WHEN '{end}' THEN {count}" for end, count in _WEIGHTS.items())
    is_move = f"{source} = '{MOVES}' AND {kind} = 'adjustment'"
    return f"CASE WHEN {is_move} THEN CASE substr({id}, -5) {cases} ELSE 1 END ELSE 1 END"


def check_name(field: str, text: str) -> None:
    """`field` is worker, source or id. Raises UsageProblem for what cannot name one."""
    if isinstance(text, str) and _NAMES[field].fullmatch(text):
        return
    _check_text(field, text)
    slash = "" if field == "id" else "'/' or "
    raise UsageProblem(f"{field} must not hold {slash}control characters: {text!r}")


def _check_text(field: str, text: str) -> None:
    if not isinstance(text, str):
        raise UsageProblem(
            f"{field} is missing" if text is None else f"{field} must be text, not {type(text).__name__}"
        )
    if not text or len(text) > _LONGEST[field]:
        raise UsageProblem(f"{field} must have 1 to {_LONGEST[field]} characters")


def _check_optional(field: str, text: str) -> None:
    if not isinstance(text, str) or len(text) > _LONGEST[field]:
        raise UsageProblem(f"{field} must be text of at most {_LONGEST[field]} characters")


def _corrected(source: str, id: str, micros: int, corrects: str | None) -> str:
    if micros == 0:
        raise UsageProblem("an adjustment of zero changes nothing")
    if corrects is None:
        raise UsageProblem("an adjustment must name the entry it corrects, as SOURCE/ID")
    target = _reference(source, corrects)
    if target == f"{source}/{id}":
        raise UsageProblem("an adjustment cannot correct itself")
    return target


def _reference(source: str, ref: str) -> str:
    if not isinstance(ref, str) or not ref or len(ref) > _LONGEST["source"] + 1 + _LONGEST["id"]:
        raise UsageProblem("corrects must be SOURCE/ID")
    return ref if "/" in ref else f"{source}/{ref}"
