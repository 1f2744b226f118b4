"""The durable mapping of a deployment, as its runs see it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.hosts.desk import Desk


class DurableState(MutableMapping[str, Any]):
    """Each access goes to the ledger, each write is durable when it returns; a run that was ended is refused.

    What is read is a copy: change it and assign it back. Replicas share it, and the last write of a key wins.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __getitem__(self, key: str) -> Any:
        known, value = self._desk.state_get(key)
        if not known:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._desk.state_set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self._desk.state_delete(key):
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._desk.state_keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))
