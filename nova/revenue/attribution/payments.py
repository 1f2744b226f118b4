"""Payments with all that says whose they are, read for many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from nova.ledger import claims, credits, mappings, touches
from nova.ledger.claims import Claim
from nova.ledger.credits import Credit
from nova.ledger.entries import Entry, StoredEntry, moves_of, of_objects, with_corrections
from nova.ledger.schema_revenue import links
from nova.ledger.touches import COUNTED, Touch
from nova.revenue.attribution.models import DIVIDING, Part, Step
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
from platforms.events import Tag

if TYPE_CHECKING:
    from nova.ledger.store import Store

_DERIVED = frozenset({MAPPING, LINK, FOLLOWS, *DIVIDING})  # words that follow from others
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Payment:
    """`entries` are all of it in the order they happened, `moves` by entry. `direct` is whose it is without any model.

    `settled` by a person whose word stands in the entries alone. `touches` lie within the window before it.
    """

    credit: Credit
    entries: tuple[StoredEntry, ...]
    moves: Mapping[str, Sequence[Any]]
    direct: Attribution
    settled: bool
    touches: tuple[Touch, ...]

    @property
    def path(self) -> list[Step]:
        """The touches, and the direct evidence as the last of them; nothing where there was no touch.

        A tracked link on the payment is no touch of its own where its click is one.
        """
        if not self.touches:
            return []
        steps = [Step(one.worker, (self.credit.at - one.at).total_seconds()) for one in self.touches]
        if self.direct.worker is not None and not self._clicked:
            steps.append(Step(self.direct.worker, 0.0))
        return steps

    @property
    def _clicked(self) -> bool:
        link = self.credit.evidence.get("link")
        return self.direct.model == LINK and any(one.link == link for one in self.touches)

    @property
    def parts(self) -> list[Part]:
        """Money and fees are two streams: what corrects a fee belongs to these."""
        known = {one.ref: one.entry for one in self.entries}
        return [Part(_stream(one, known), one.effect.micros, one.effect.currency) for one in self.entries]


def _stream(one: StoredEntry, known: Mapping[str, Entry]) -> str:
    entry = one.entry
    while entry.kind == "adjustment" and entry.corrects is not None and entry.corrects in known:
        entry = known[entry.corrects]
    return "fees" if entry.kind == "fee" else "money"


def load(
    conn: Connection, store: Store, keys: Iterable[tuple[str, str]], window: timedelta
) -> dict[tuple[str, str], Payment]:
    """By (source, object); what the ledger has no entry of is left out."""
    wanted = list(dict.fromkeys(keys))
    known = credits.find(conn, wanted)
    entries = _entries(conn, store, wanted)
    moves = moves_of(conn, [one.ref for found in entries.values() for one in found])
    said = _claims(conn, entries)
    declared = Known(mappings.in_force(conn, {source for source, _ in wanted}), _links(conn, known.values()))
    met = touches.of_subjects(conn, {one.subject for one in known.values() if one.subject is not None})
    found = {}
    for key, stored in entries.items():
        credit = known.get(key) or Credit(*key, at=min(one.entry.at for one in stored))
        direct, settled = _direct(credit, stored, moves, said[key], declared)
        counted = _counted(met.get(credit.subject or "", ()), credit, window)
        found[key] = Payment(credit, tuple(stored), moves, direct, settled, counted)
    return found


def _entries(
    conn: Connection, store: Store, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[StoredEntry]]:
    """With what corrects them, in the order they happened, whatever order they arrived in."""
    found = of_objects(conn, store, keys)
    root = {one.ref: key for key, stored in found.items() for one in stored}
    for one in with_corrections(conn, store, [one for stored in found.values() for one in stored]):
        if one.ref not in root and one.entry.corrects in root:
            key = root[one.ref] = root[one.entry.corrects]
            found[key].append(one)
    return {key: sorted(stored, key=lambda one: (one.entry.at, one.ref)) for key, stored in found.items()}


def _claims(
    conn: Connection, entries: Mapping[tuple[str, str], list[StoredEntry]]
) -> dict[tuple[str, str], list[Claim]]:
    by_source: dict[str, list[str]] = defaultdict(list)
    for source, object in entries:
        by_source[source].append(object)
    found: dict[tuple[str, str], list[Claim]] = {key: [] for key in entries}
    for source, objects in by_source.items():
        for object, one in claims.of_objects(conn, source, objects).items():
            found[source, object].append(one)
    return found


def _links(conn: Connection, known: Iterable[Credit]) -> dict[str, str]:
    slugs = sorted({one.evidence["link"] for one in known if "link" in one.evidence})
    return links_of(conn, slugs)


def links_of(conn: Connection, slugs: Sequence[str]) -> dict[str, str]:
    """Whose these tracked links are."""
    found: dict[str, str] = {}
    for start in range(0, len(slugs), _CHUNK):
        query = select(links.c.slug, links.c.worker).where(links.c.slug.in_(slugs[start : start + _CHUNK]))
        found |= {row.slug: row.worker for row in conn.execute(query)}
    return found


def _counted(met: Sequence[Touch], credit: Credit, window: timedelta) -> tuple[Touch, ...]:
    since = credit.at - window
    return tuple(one for one in met if one.kind in COUNTED and since <= one.at <= credit.at)


def _direct(
    credit: Credit,
    stored: Sequence[StoredEntry],
    moves: Mapping[str, Sequence[Any]],
    said: Sequence[Claim],
    declared: Known,
) -> tuple[Attribution, bool]:
    told = [one for one in stored if one.entry.source == credit.source]  # a person's adjustment follows what it adjusts
    last = [moves[one.ref][-1].model if moves[one.ref] else one.entry.model for one in told]
    words = list(_words(stored, moves))
    claim = next((word for word in words if word.model == CLAIM), None)
    if claim is not None and not any(one.by != "claim" for one in said):
        return replace(claim, firm=True), False
    first = next((word for word in words if word.model not in _DERIVED and word.model != MANUAL), None)
    tag = credit.evidence.get("tag")
    found = resolve(said, first, None if tag is None else Tag(tag, credit.evidence.get("tag_found", "metadata")))
    if found is NOBODY:
        found = by_declaration(credit.source, credit.evidence, declared)
    if found is NOBODY:  # of what it followed nothing is here
        found = next((word for word in words if word.model == FOLLOWS), NOBODY)
    return found, MANUAL in last and found.model != MANUAL


def _words(stored: Sequence[StoredEntry], moves: Mapping[str, Sequence[Any]]) -> Iterator[Attribution]:
    """What was said of the payment's entries, the sale's first, in the order it was said."""
    for one in sorted(stored, key=lambda one: one.entry.kind != "revenue"):
        entry = one.entry
        said = [(entry.worker, entry.model, entry.evidence)]
        said += [(row.worker, row.model, row.evidence) for row in moves[one.ref] if row.id.endswith((":to", ":more"))]
        for worker, model, evidence in said:
            if worker is not None:
                yield Attribution(worker, model, evidence, entry.run)
