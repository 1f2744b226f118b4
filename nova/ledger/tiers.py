"""Which warnings of which budgets people were given: each tier of a window once, whoever reached it and however."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, select, update

from nova.ledger import audit
from nova.ledger.limits import Breach, Key
from nova.ledger.schema import budget_usage

if TYPE_CHECKING:
    from nova.ledger.store import Store

_WARN = (
    update(budget_usage)
    .where(
        budget_usage.c.scope == bindparam("its_scope"),
        budget_usage.c.window == bindparam("its_window"),
        budget_usage.c.warned_micros < bindparam("threshold"),
    )
    .values(warned_micros=bindparam("threshold"))
)
_WARNED = select(budget_usage.c.scope, budget_usage.c.window, budget_usage.c.warned_micros).where(
    budget_usage.c.warned_micros > 0,
    budget_usage.c.scope.in_(bindparam("scopes", expanding=True)),
    budget_usage.c.window.in_(bindparam("windows", expanding=True)),
)


def threshold(tier: int, most: int) -> int:
    """The millionths at which a tier of a limit is reached. Kept in the place of the tier, so that a limit that was
    raised warns anew."""
    return -(-most * tier // 100)


def note(conn: Connection, store: Store, breach: Breach, most: int) -> bool:
    """False where people were told of this much in this window before."""
    limit, tier = breach.limit, breach.tier or 0
    values = {"its_scope": limit.scope, "its_window": breach.window, "threshold": threshold(tier, most)}
    if not conn.execute(_WARN, values).rowcount:
        return False
    detail = {"per": limit.per, "tier": tier, "spent": str(breach.spent), "limit": str(limit.amount)}
    audit.append(conn, store.clock.now(), "manager", "budget_warned", limit.scope, detail)
    return True


def read_warned(conn: Connection, keys: Iterable[Key]) -> dict[Key, int]:
    """The highest threshold told of, by (scope, window); 0 where none was."""
    found = dict.fromkeys(keys, 0)
    scopes, windows = ({key[part] for key in found} for part in (0, 1))
    for scope, window, micros in conn.execute(_WARNED, {"scopes": list(scopes), "windows": list(windows)}):
        if (scope, window) in found:
            found[scope, window] = micros
    return found
