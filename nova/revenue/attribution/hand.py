"""Attribution by a person: of one payment, or of all of a product, price, coupon or campaign; and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from nova.clock import iso
from nova.errors import NotFound, UsageProblem
from nova.ledger import audit, claims, credits
from nova.ledger.entries import (
    MOVES,
    StoredEntry,
    held,
    holders,
    move,
    moves_of,
    of_objects,
    with_corrections,
    word_on,
)
from nova.ledger.mappings import Mapping
from nova.revenue.attribution.settle import settle_these
from nova.revenue.resolve import CLAIM, MANUAL

if TYPE_CHECKING:
    from nova.revenue.office import Office

UNDONE = "undone"  # the model of what a person took back


def attribute(nova: Office, ref: str, worker: str, *, by: str = "operator") -> dict[str, Any]:
    """Gives an entry, and everything of the same payment now and later, to `worker`.

    Returns the `entry`, the `worker` and how many entries `moved`. Raises NotFound or UsageProblem.
    """
    ledger = nova.ledger
    found = _find(nova, ref)
    source, object = found.entry.source, found.entry.object

    def work(conn: Connection) -> int:
        payment = [found]
        if object is not None:
            payment = of_objects(conn, ledger.store, [(source, object)])[source, object]
            said = claims.get(conn, source, object)
            if said is not None and said.by == CLAIM:  # the claim stays on record, and comes back when this is undone
                move(conn, ledger.store, payment, said.worker, model=CLAIM, evidence=f"claim of {object}", by=said.by)
            claims.assign(conn, nova.clock.now(), source, object, worker, by)
        moved = move(conn, ledger.store, payment, worker, model=MANUAL, evidence=f"by {by}", by=by)
        if object is not None:
            credits.undivided(conn, source, object)
        return moved

    return {"entry": found.ref, "worker": worker, "moved": ledger.apply(work)}


def take_back(nova: Office, ref: str, *, by: str = "operator") -> dict[str, Any]:
    """Takes back what persons said of an entry's payment: it goes to whom it belongs without, by new entries.

    Returns the `entry`, whose it is now (`worker`, None where several share it or nobody has it) and how many entries
    `moved`. Raises NotFound, also where nobody said anything.
    """
    ledger = nova.ledger
    found = _find(nova, ref)
    source, object = found.entry.source, found.entry.object
    with ledger.read() as conn:
        said = None if object is None else claims.get(conn, source, object)
        spoken = word_on(conn, found)[1] == MANUAL or (said is not None and said.by != CLAIM)
    if not spoken:
        raise NotFound(f"no person said whose {found.ref} is", hint="only what was said by hand can be undone")
    if object is None:
        moved = ledger.apply(lambda conn: _back(conn, nova, found, by))
    else:
        before = _held(nova, source, object)
        ledger.apply(lambda conn: _withdraw(conn, nova, source, object, by))
        settle_these(nova, [(source, object)])
        after = _held(nova, source, object)
        moved = sum(holding != before.get(ref) for ref, holding in after.items())
    with ledger.read() as conn:
        now = holders(conn, found)
    return {"entry": found.ref, "worker": next(iter(now)) if len(now) == 1 else None, "moved": moved}


def _withdraw(conn: Connection, nova: Office, source: str, object: str, by: str) -> None:
    """Nobody's, until it is settled: a word that stayed in an entry would be taken for one that still holds."""
    store, at = nova.ledger.store, nova.clock.now()
    claims.withdraw(conn, source, object)
    payment = of_objects(conn, store, [(source, object)])[source, object]
    spoken = [one for one in payment if word_on(conn, one)[1] == MANUAL]
    move(conn, store, spoken, None, model=UNDONE, evidence=f"by {by}", by=by)
    made = min(one.entry.at for one in payment)
    credits.look_again(conn, {(source, object): made})  # it is settled also where this process ends here
    audit.append(conn, at, by, "attribution_undone", f"{source}/{object}")


def _held(nova: Office, source: str, object: str) -> dict[str, dict[str | None, int]]:
    """Who holds how much of each of its entries."""
    store = nova.ledger.store
    with nova.ledger.read() as conn:
        entries = with_corrections(conn, store, of_objects(conn, store, [(source, object)])[source, object])
        moves = moves_of(conn, [one.ref for one in entries])
    return {one.ref: held(one, moves[one.ref]) for one in entries}


def declare(nova: Office, kind: str, object: str, worker: str, *, source: str, by: str) -> dict[str, Any]:
    """Says whose all sales of a product, price, coupon or campaign are, past and future. Raises UsageProblem.

    Returns the mapping, whether it is `new`, and how many past `payments` with how many entries `moved`.
    """
    new = nova.ledger.mappings.declare(source, kind, object, worker, by)
    return {**_named(source, kind, object, worker), "new": new, **_followed(nova, source, kind, object)}


def end(nova: Office, kind: str, object: str, *, source: str, by: str) -> dict[str, Any]:
    """Takes such a word back, also of the past. Raises NotFound."""
    ended = nova.ledger.mappings.end(source, kind, object, by)
    return {**_named(source, kind, object, ended.worker), **_followed(nova, source, kind, object)}


def declared(nova: Office, *, ended: bool = False) -> dict[str, Any]:
    return {"mappings": [_row(one) for one in nova.ledger.mappings.all(ended=ended)]}


def _row(one: Mapping) -> dict[str, Any]:
    until = None if one.until is None else iso(one.until)
    return {**_named(one.source, one.kind, one.object, one.worker), "by": one.by, "at": iso(one.at), "until": until}


def _named(source: str, kind: str, object: str, worker: str) -> dict[str, Any]:
    return {"source": source, "kind": kind, "object": object, "worker": worker}


def _followed(nova: Office, source: str, kind: str, object: str) -> dict[str, Any]:
    with nova.ledger.read() as conn:
        keys = credits.with_evidence(conn, source, kind, object)
    done = settle_these(nova, keys)
    return {"known": done.payments, "payments": done.changed, "moved": done.moved}


def _find(nova: Office, ref: str) -> StoredEntry:
    found = nova.ledger.entries.find(ref)
    if found.entry.source == MOVES:
        raise UsageProblem(
            f"{found.ref} moves an entry from one worker to another", hint=f"attribute {found.entry.corrects} instead"
        )
    return found


def _back(conn: Connection, nova: Office, found: StoredEntry, by: str) -> int:
    """What belongs to no payment goes to whom it was recorded for."""
    return move(conn, nova.ledger.store, [found], found.entry.worker, model=UNDONE, evidence=f"by {by}", by=by)
