"""One line of an export: how an entry or a run is written as JSON and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from nova.clock import from_us, iso, to_us
from nova.errors import UsageProblem
from nova.ledger.facts import Fact, fact_of, rate_text
from nova.ledger.run_records import RunRecord
from nova.money import MICROS, Money

_AMOUNT = re.compile(r"([+-]?)(\d{1,18})(?:\.(\d{1,6}))?", re.ASCII)
_ENDED = ("succeeded", "failed", "interrupted")
_NONE: dict[str, Any] = {}
_decode = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def read_line(text: str, currency: str) -> Fact | RunRecord:
    """`text` has no space around it. Raises UsageProblem saying what is wrong with the line."""
    try:
        document, end = _decode(text)
        if end != len(text):
            raise ValueError("more than one object")
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"not a whole JSON object: {error}"[:200]) from None
    if not isinstance(document, dict):
        raise UsageProblem("not a JSON object")
    kind = document.get("type")
    if kind == "entry":
        return _entry(document, currency)
    if kind == "run":
        return _run(document)
    raise UsageProblem(f"type must be entry or run, not {kind!r}"[:200])


def _entry(document: Mapping[str, Any], currency: str) -> Fact:
    get: Callable[[str], Any] = document.get
    attribution = get("attribution") or _NONE
    if not isinstance(attribution, dict):
        raise UsageProblem("attribution must be an object with model and evidence")
    rate = get("rate")
    return fact_of(
        get("source"),
        get("id"),
        get("kind"),
        get("worker"),
        get("run"),
        _micros(get("amount")),
        get("currency"),
        None if rate is None else rate_text(_required(rate, "rate")),
        _instant(get("at"), "at"),
        attribution.get("model"),
        attribution.get("evidence"),
        get("corrects"),
        get("note"),
        get("object"),
        currency,
    )


def _run(document: Mapping[str, Any]) -> RunRecord:
    text = {name: _required(document.get(name), name) for name in ("id", "worker", "instance", "status")}
    if text["status"] not in _ENDED:
        raise UsageProblem(f"status must be one of {', '.join(_ENDED)}")
    if len(text["worker"]) > 64 or "/" in text["worker"] or not text["worker"].isprintable():
        raise UsageProblem("worker must have at most 64 characters, none of them '/' or a control character")
    if max(len(text["id"]), len(text["instance"])) > 255:
        raise UsageProblem("id and instance must have at most 255 characters")
    started, ended = (_instant(document.get(name), name) for name in ("started_at", "ended_at"))
    error = document.get("error")
    if error is not None and not isinstance(error, str):
        raise UsageProblem("error must be text")
    _encodable("".join(text.values()) + (error or ""))
    return RunRecord(
        started_at=from_us(started), ended_at=from_us(ended), error=error, crash=document.get("crash") is True, **text
    )


def _required(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise UsageProblem(f"{name} is missing" if value is None else f"{name} must be text, not {type(value).__name__}")


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageProblem("the text holds half a character (a lone surrogate)") from None


def _micros(amount: Any) -> int:
    match = _AMOUNT.fullmatch(_required(amount, "amount"))
    if match is None:
        raise UsageProblem(f"not an amount: {amount[:40]!r}", hint='write it as "12.34", with at most six decimals')
    sign, whole, fraction = match.groups()
    micros = int(whole) * MICROS + (int(fraction.ljust(6, "0")) if fraction else 0)
    return -micros if sign == "-" else micros


def _instant(text: Any, name: str) -> int:
    try:
        at = datetime.fromisoformat(_required(text, name))
        return to_us(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise UsageProblem(f"{name} is not a time: {text[:40]!r}") from None


def write_entry(row: Any) -> str:
    """`row` has the columns of the table."""
    known = row.model is not None or row.evidence is not None
    document: dict[str, Any] = {
        "type": "entry",
        "id": row.id,
        "source": row.source,
        "kind": row.kind,
        "worker": row.worker,
        "run": row.run,
        "amount": str(Money(row.micros, row.currency)),
        "currency": row.currency,
        "rate": row.rate,
        "at": iso(from_us(row.at_us)),
        "attribution": {"model": row.model, "evidence": row.evidence} if known else None,
        "corrects": row.corrects,
        "note": row.note,
    }
    if row.object is not None:
        document["object"] = row.object
    return _encode(document)


def write_run(run: RunRecord) -> str:
    """`run` has ended."""
    document: dict[str, Any] = {
        "type": "run",
        "id": run.id,
        "worker": run.worker,
        "instance": run.instance,
        "started_at": iso(run.started_at),
        "ended_at": None if run.ended_at is None else iso(run.ended_at),
        "status": run.status,
        "error": run.error,
    }
    if run.crash:
        document["crash"] = True
    return _encode(document)
