"""The durable mapping of a deployment, as its runs see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nova.ledger.state import State

_MISSING = object()


class DurableState(MutableMapping[str, Any]):
    """Each access goes to the ledger, each write is durable when it returns; a run that was ended is refused.

    What is read is a copy: change it and assign it back. Replicas share it, and the last write of a key wins.
    """

    def __init__(self, state: State, worker: str, passing: Callable[[], AbstractContextManager[None]]) -> None:
        self._state = state
        self._worker = worker
        self._passing = passing

    def __getitem__(self, key: str) -> Any:
        with self._passing():
            value = self._state.get(self._worker, key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        with self._passing():
            self._state.set(self._worker, key, value)

    def __delitem__(self, key: str) -> None:
        with self._passing():
            known = self._state.delete(self._worker, key)
        if not known:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        with self._passing():
            return iter(self._state.all(self._worker))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))
