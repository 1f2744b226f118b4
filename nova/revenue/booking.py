"""Books a page of a platform's events: what is new is recorded for whom it belongs to, what is known stays or moves.

Everything of one payment belongs to one worker, whichever of its events came first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from nova.ledger import claims, credits, mappings, subjects
from nova.ledger.claims import Claim
from nova.ledger.credits import Credit
from nova.ledger.entries import Entry, StoredEntry, find_entries, holders, move, record_entries, word_on
from nova.ledger.schema import entries
from nova.revenue import restated
from nova.revenue.attribution.models import DIVIDING
from nova.revenue.attribution.payments import links_of
from nova.revenue.resolve import (
    CLAIM,
    FOLLOWS,
    LINK,
    MANUAL,
    MAPPING,
    NOBODY,
    Attribution,
    Known,
    by_declaration,
    resolve,
)
from platforms.events import PlatformEvent, Tag

if TYPE_CHECKING:
    from nova.ledger.store import Store

_CHUNK = 500
_NOTE_CHARS = 500  # platforms let sellers write more than an entry keeps
_BY = "sync"


@dataclass(frozen=True, slots=True)
class Booked:
    """`new` entries by event; `moved` counts entries that changed hands, `conflicts` says what was refused."""

    new: Mapping[str, StoredEntry] = field(default_factory=dict)
    moved: int = 0
    conflicts: tuple[str, ...] = ()


@dataclass(slots=True)
class _Payment:
    """One payment's events on the page and its entries in the ledger."""

    events: list[PlatformEvent] = field(default_factory=list)
    stored: list[StoredEntry] = field(default_factory=list)


def book(
    conn: Connection,
    store: Store,
    source: str,
    events: Sequence[PlatformEvent],
    tags: Mapping[str, Tag],
    floor: datetime | None = None,
) -> Booked:
    """In the caller's transaction. `tags` are by event; older than `floor` nothing will come.

    What a model is to divide is left to `nova.revenue.attribution.settle`, which finds it marked as stale.
    """
    facts, totals = restated.parted(events)
    known = find_entries(conn, store, [(source, event.id) for event in facts])
    fresh = [event for event in facts if (source, event.id) not in known]
    conflicts = [wrong for event in facts if (wrong := _contradiction(event, known.get((source, event.id))))]
    settled = _settled(conn, store, fresh, floor)
    recorded: list[Entry] = []
    moved = 0
    declared = _declared(conn, source, events)
    contested: dict[tuple[str, str], datetime] = {}
    said = claims.of_objects(conn, source, {id for event in events for id in event.objects})
    changed = {event.id for event in facts if restated.differs(event, known.get((source, event.id)))}
    for object, payment in _payments(conn, store, source, events).items():
        parts = {one.id: restated.missing(one, payment.stored) for one in payment.events if one.id in totals}
        parts |= {
            one.id: restated.missing(one, _parts(conn, store, one)) for one in payment.events if one.id in changed
        }
        settled |= {id: part for id, part in parts.items() if part is not None}
        owner = _owner(conn, payment.stored)
        whose = _whose(said, source, payment, owner, tags, declared)
        grown = [_entry(settled[event.id], whose) for event in payment.events if event.id in settled]
        recorded += grown
        if (owner is not None and owner.worker != whose.worker) or (grown and _is_divided(conn, payment.stored)):
            contested[source, object] = min(one.entry.at for one in payment.stored)
        moved += _moved(conn, store, payment.stored, whose)
    result = record_entries(conn, store, recorded)
    _learn(conn, store, events, tags)
    credits.look_again(conn, contested)
    credits.outdate_divided(conn, source, {entry.object for entry in recorded if entry.object})
    conflicts += [conflict.message for conflict in result.conflicts]
    found = find_entries(conn, store, [(entry.source, entry.id) for entry in recorded])
    new = {told: found[source, event.id] for told, event in settled.items() if (source, event.id) in found}
    return Booked(new, moved, tuple(conflicts))


def _parts(conn: Connection, store: Store, event: PlatformEvent) -> list[StoredEntry]:
    """The entry of a fact, and those by which it was corrected before."""
    corrections = entries.c.id.between(f"{event.id}@", f"{event.id}A") & (entries.c.id != f"{event.id}A")
    query = select(entries.c.id).where(entries.c.source == event.source, (entries.c.id == event.id) | corrections)
    return list(find_entries(conn, store, [(event.source, row.id) for row in conn.execute(query)]).values())


def known_ids(conn: Connection, store: Store, source: str, events: Iterable[PlatformEvent]) -> set[str]:
    """The events that are in the ledger."""
    return {id for _, id in find_entries(conn, store, [(source, event.id) for event in events])}


def has_payment(conn: Connection, source: str, object: str) -> bool:
    """Whether the ledger holds anything of it."""
    held = (entries.c.source == source, entries.c.object == object, entries.c.object.is_not(None))
    return conn.execute(select(entries.c.seq).where(*held).limit(1)).first() is not None


def late_claims(conn: Connection, store: Store, source: str, said: Iterable[Claim]) -> int:
    """Moves what was booked before its claim was made. Returns how many entries moved.

    A payment given by an earlier claim, on another of its ids, or by a person stays where it is.
    """
    by_object: dict[str, list[Claim]] = defaultdict(list)
    for one in said:
        by_object[one.object].append(one)
    moved = 0
    for object, stored in of_objects(conn, store, source, by_object).items():
        whose = resolve(by_object[object], None, None)
        if whose.model == CLAIM and any(word_on(conn, one)[1] in (CLAIM, MANUAL) for one in stored):
            continue
        moved += _moved(conn, store, stored, whose)
        credits.outdate(conn, [(source, object)])
    return moved


def _payments(conn: Connection, store: Store, source: str, events: Sequence[PlatformEvent]) -> dict[str, _Payment]:
    payments: dict[str, _Payment] = defaultdict(_Payment)
    for event in events:
        payments[event.object or f"/{event.id}"].events.append(event)
    for object, stored in of_objects(conn, store, source, payments).items():
        payments[object].stored = stored
    return payments


def _declared(conn: Connection, source: str, events: Sequence[PlatformEvent]) -> Known | None:
    """What the evidence of these events may be looked up in; None where they have none."""
    if not any(event.evidence for event in events):
        return None
    slugs = sorted({event.evidence["link"] for event in events if "link" in event.evidence})
    return Known(mappings.in_force(conn, [source]), links_of(conn, slugs))


def _learn(
    conn: Connection,
    store: Store,
    events: Sequence[PlatformEvent],
    tags: Mapping[str, Tag],
) -> None:
    """Keeps what else the events tell: of the payments, and of who paid."""
    dividing = credits.touches_count(conn)
    told = [
        _told(event, event.object, tags.get(event.id), dividing)
        for event in events
        if event.object is not None and (event.evidence or event.subjects)
    ]
    if told:
        subjects.same(conn, store.now_us(), [event.subjects for event in events])
        credits.learn(conn, told)  # after it, or what is new would be looked at again for being of people just known


def _told(event: PlatformEvent, object: str, tag: Tag | None, dividing: bool) -> Credit:
    said = {} if tag is None else {"tag": tag.worker, "tag_found": tag.found}
    subject = event.subjects[0] if event.subjects else None
    return Credit(
        event.source,
        object,
        event.at,
        subject,
        {**event.evidence, **said},
        stale=dividing and subject is not None,
    )


def _whose(
    said: Mapping[str, Claim],
    source: str,
    payment: _Payment,
    owner: Attribution | None,
    tags: Mapping[str, Tag],
    declared: Known | None,
) -> Attribution:
    found = [said[id] for id in {id for event in payment.events for id in event.objects} if id in said]
    tag = next((tags[event.id] for event in payment.events if event.id in tags), None)
    derived = owner is not None and owner.model in (MAPPING, LINK)
    whose = resolve(found, None if derived else owner, tag)
    if whose is NOBODY and owner is not None:
        return owner
    if whose is NOBODY and declared is not None:
        evidence = {name: value for event in payment.events for name, value in event.evidence.items()}
        whose = by_declaration(source, evidence, declared)
    return whose


def _owner(conn: Connection, stored: Sequence[StoredEntry]) -> Attribution | None:
    """Whose the payment's entries are, the sale's first."""
    for one in sorted(stored, key=lambda one: (one.entry.kind != "revenue", one.seq)):
        worker, model = word_on(conn, one)
        entry = one.entry
        if model in DIVIDING:  # what is new is divided like the rest, later; a person's word would not be, had it held
            worker, model = (None, None) if entry.model == MANUAL else (entry.worker, entry.model)
        if worker is not None:
            if worker == entry.worker:
                return Attribution(worker, entry.model, entry.evidence)
            return Attribution(worker, model if model in (MAPPING, LINK, MANUAL) else FOLLOWS, one.ref)
    return None


def _is_divided(conn: Connection, stored: Sequence[StoredEntry]) -> bool:
    """As its entries say, also in another home than where it was done: what comes of it is to be divided, too."""
    return any(word_on(conn, one)[1] in DIVIDING for one in stored)


def _moved(conn: Connection, store: Store, stored: Sequence[StoredEntry], whose: Attribution) -> int:
    """Entries of nobody follow whoever the payment belongs to; those of another worker only a firm word."""
    if whose.worker is None:
        return 0
    wrong = []
    for one in stored:
        owners = holders(conn, one)
        if set(owners) != {whose.worker} and (set(owners) == {None} or whose.firm):
            wrong.append(one)
    if not wrong:
        return 0
    return move(conn, store, wrong, whose.worker, model=whose.model or "follows", evidence=whose.evidence, by=_BY)


def _settled(
    conn: Connection, store: Store, fresh: Sequence[PlatformEvent], floor: datetime | None
) -> dict[str, PlatformEvent]:
    """By id; what takes back an event that will never be in the ledger stands as revenue by itself."""
    targets = {(event.source, event.corrects) for event in fresh if event.corrects is not None}
    here = {id for _, id in find_entries(conn, store, [(source, id) for source, id in targets if id is not None])}
    here |= {event.id for event in fresh}
    return {event.id: event if _will_be_there(event, here, floor) else event.alone() for event in fresh}


def _will_be_there(event: PlatformEvent, here: set[str], floor: datetime | None) -> bool:
    if event.corrects is None or event.corrects in here or floor is None:
        return True
    return event.corrects_at is not None and event.corrects_at >= floor


def _entry(event: PlatformEvent, whose: Attribution) -> Entry:
    return Entry(
        id=event.id,
        source=event.source,
        kind=event.kind,
        amount=event.amount,
        at=event.at,
        worker=whose.worker,
        run=whose.run,
        model=whose.model,
        evidence=whose.evidence,
        corrects=None if event.corrects is None else f"{event.source}/{event.corrects}",
        note=None if event.note is None else event.note[:_NOTE_CHARS],
        object=event.object,
    )


def _contradiction(event: PlatformEvent, stored: StoredEntry | None) -> str | None:
    """What no new entry can mend: another currency, or another time."""
    if stored is None or restated.differs(event, stored):
        return None
    if stored.effect.currency == event.effect.currency and stored.entry.at == event.at:
        return None
    there = f"{stored.effect} {stored.effect.currency} at {stored.entry.at:%Y-%m-%d}"
    told = f"{event.effect} {event.effect.currency} at {event.at:%Y-%m-%d}"
    return f"{stored.ref} is in the ledger as {there}, not {told}"


def of_objects(conn: Connection, store: Store, source: str, objects: Iterable[str]) -> dict[str, list[StoredEntry]]:
    """The entries of these payments."""
    wanted = [object for object in objects if not object.startswith("/")]
    keys: list[tuple[str, str]] = []
    for start in range(0, len(wanted), _CHUNK):
        query = select(entries.c.id).where(
            entries.c.source == source,
            entries.c.object.in_(wanted[start : start + _CHUNK]),
            entries.c.object.is_not(None),
        )
        keys += [(source, row.id) for row in conn.execute(query)]
    found: dict[str, list[StoredEntry]] = defaultdict(list)
    for stored in find_entries(conn, store, keys).values():
        if stored.entry.object is not None:
            found[stored.entry.object].append(stored)
    return found
