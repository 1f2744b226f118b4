"""The same person under several names: an address, a platform's customer, who clicked a link. Hashes, all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select, update

from nova.ledger import credits
from nova.ledger.schema_revenue import subjects
from nova.people import subject_of, subject_of_email

if TYPE_CHECKING:
    from nova.ledger.store import Store

__all__ = ["Subjects", "names", "same", "subject_of", "subject_of_email"]

_CHUNK = 500
_CLICK = "click:"
_MOST_NAMES = 10  # of one person, at all the platforms


def same(conn: Connection, now_us: int, groups: Iterable[Sequence[str]]) -> int:
    """The names in each group are one person's. Returns how many groups brought people together.

    The order does not matter, nor how often it is said: of all the names the least stands for the person. Payments of
    who was brought together are divided again. A click that many came with, who handed its address around, brings no
    more of them together.
    """
    given = [set(names) for names in groups]
    known = _roots(conn, {name for group in given if len(group) > 1 for name in group})
    shared = _shared(conn, known)
    known = {name: root for name, root in known.items() if name not in shared}
    wanted = [group for group in (sorted(names - shared) for names in given) if len(group) > 1]
    root, joined = dict(known), 0
    for group in wanted:
        roots = {_root(root, name) for name in group}
        joined += len(roots) > 1 or any(name not in root for name in group)
        root |= dict.fromkeys([*group, *roots], min(roots))
    _rename(conn, {name: _root(root, name) for name in set(known.values())})
    new = [name for name in root if name not in known and name not in known.values()]
    if new:
        conn.execute(insert(subjects), [{"alias": name, "subject": _root(root, name), "at_us": now_us} for name in new])
    if joined:
        met = _of(conn, {_root(root, name) for name in root})
        credits.outdate_subjects(conn, [name for names in met.values() for name in names])
    return joined


def _shared(conn: Connection, known: Mapping[str, str]) -> set[str]:
    """The clicks among them that stand for too many names to be one person."""
    clicks = {name: root for name, root in known.items() if name.startswith(_CLICK)}
    met = _of(conn, clicks.values())
    crowds = {root for root, names in met.items() if sum(not one.startswith(_CLICK) for one in names) >= _MOST_NAMES}
    return {name for name, root in clicks.items() if root in crowds}


def _rename(conn: Connection, least: Mapping[str, str]) -> None:
    for before, after in least.items():
        if before != after:
            conn.execute(update(subjects).where(subjects.c.subject == before).values(subject=after))


def names(conn: Connection, wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every name of who is called so, this one among them."""
    asked = list(dict.fromkeys(wanted))
    roots = _roots(conn, asked)
    members = _of(conn, roots.values())
    return {name: tuple(members[roots[name]]) if name in roots else (name,) for name in asked}


def _root(known: Mapping[str, str], name: str) -> str:
    """`known` may hold what was brought together again since it was read."""
    while known.get(name, name) != name:
        name = known[name]
    return name


def _roots(conn: Connection, wanted: Iterable[str]) -> dict[str, str]:
    asked = list(wanted)
    found: dict[str, str] = {}
    for start in range(0, len(asked), _CHUNK):
        query = select(subjects).where(subjects.c.alias.in_(asked[start : start + _CHUNK]))
        found |= {row.alias: row.subject for row in conn.execute(query)}
    return found


def _of(conn: Connection, roots: Iterable[str]) -> dict[str, list[str]]:
    asked = list(dict.fromkeys(roots))
    found: dict[str, list[str]] = {root: [] for root in asked}
    for start in range(0, len(asked), _CHUNK):
        query = select(subjects).where(subjects.c.subject.in_(asked[start : start + _CHUNK]))
        for row in conn.execute(query.order_by(subjects.c.alias)):
            found[row.subject].append(row.alias)
    return found


class Subjects:
    def __init__(self, store: Store) -> None:
        self._store = store

    def same(self, *aliases: str) -> bool:
        """These are one person's names. False where that was known."""
        return self.all_same([aliases]) > 0

    def all_same(self, groups: Iterable[Sequence[str]]) -> int:
        """Several at once; how many of them were news."""
        given = list(groups)
        return self._store.apply(lambda conn: same(conn, self._store.now_us(), given))

    def names(self, subject: str) -> tuple[str, ...]:
        with self._store.read() as conn:
            return names(conn, [subject])[subject]
