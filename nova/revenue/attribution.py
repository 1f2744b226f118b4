"""Attribution by hand: a person says whose a payment is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from nova.errors import UsageProblem
from nova.ledger import claims
from nova.ledger.entries import MOVES, move

if TYPE_CHECKING:
    from nova.revenue.office import Office


def attribute(nova: Office, ref: str, worker: str, *, by: str = "operator") -> dict[str, Any]:
    """Gives an entry, and everything of the same payment now and later, to `worker`.

    Returns the `entry`, the `worker` and how many entries `moved`. Raises NotFound or UsageProblem.
    """
    ledger = nova.ledger
    found = ledger.entries.find(ref)
    entry = found.entry
    if entry.source == MOVES:
        raise UsageProblem(
            f"{found.ref} moves an entry from one worker to another", hint=f"attribute {entry.corrects} instead"
        )
    payment = ledger.entries.of_object(entry.source, entry.object) if entry.object is not None else [found]

    def work(conn: Connection) -> int:
        if entry.object is not None:
            claims.assign(conn, nova.clock.now(), entry.source, entry.object, worker, by)
        return move(conn, ledger.store, payment, worker, model="manual", evidence=f"by {by}", by=by)

    return {"entry": found.ref, "worker": worker, "moved": ledger.apply(work)}
