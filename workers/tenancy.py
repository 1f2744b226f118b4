"""Which deployments are this manager's to run: those whose lease it holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from nova.errors import NovaError
from nova.ledger.fence import Fenced

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger
    from workers.takeover import Takeover

log = logging.getLogger(__name__)

SOON_S = 0.1  # while leases are about to be freed
LOOK_S = 0.5  # how often it looks for leases that became free, and for managers that died

Starts = Mapping[str, datetime]


class Tenancy:
    """A thread of its own asks for leases and gives them back, so that a ledger that waits holds up no kill.

    What the manager may run is `held`; it grows only in `collect` and shrinks only in `let_go`, both the manager's own.
    """

    def __init__(self, ledger: Ledger, manager: str, takeover: Takeover, wake: Callable[[], object]) -> None:
        self._ledger = ledger
        self._manager = manager
        self._takeover = takeover
        self._wake = wake
        self.held: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self.wanted: frozenset[str] = frozenset()
        self._leased: set[str] = set()  # in the ledger, collected or not
        self._arrived: dict[str, Starts] = {}
        self._complete: frozenset[str] | None = None  # what is wanted, where all of it is leased
        self._leaving: set[str] = set()
        self._tried: set[str] = set()  # whose lease another manager had: it is asked for when it is free
        self._news = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="leases", daemon=True)

    def start(self) -> None:
        """Also asks for what is free, so that a manager begins at once."""
        self.step()
        self._thread.start()

    def stop(self) -> None:
        """What is asked for and not written by then is left to the end of the manager, which frees everything."""
        self._stop.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def want(self, names: frozenset[str]) -> None:
        with self._lock:
            if names == self.wanted:
                return
            self.wanted = names
            self._tried &= names
        self._news.set()

    @property
    def arriving(self) -> bool:
        """Whether there is something to collect."""
        return bool(self._arrived)

    def collect(self) -> dict[str, Starts]:
        """What became this manager's since the last call, with the last starts of its instances."""
        if not self._arrived:
            return {}
        with self._lock:
            arrived, self._arrived = self._arrived, {}
        self.held |= arrived.keys()
        return arrived

    def let_go(self, names: Collection[str]) -> None:
        """To be called when nothing of them runs here any more."""
        if not names:
            return
        self.held -= frozenset(names)
        with self._lock:
            self._leaving |= set(names)
            self._complete = None
        self._news.set()

    def step(self) -> None:
        """Whatever fails is logged, and tried again with the next one."""
        try:
            self._takeover.look()
            self._give_back()
            self._ask()
        except Fenced:
            return
        except NovaError as problem:
            log.warning("leases_failed", extra={"action": "leases_failed", "error": problem.message})
        except Exception:
            log.exception("leases_failed", extra={"action": "leases_failed"})

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._news.wait(SOON_S if self._takeover.pending else LOOK_S)
            self._news.clear()
            if not self._stop.is_set():
                self.step()

    def _give_back(self) -> None:
        with self._lock:
            leaving = set(self._leaving)
        if leaving:
            self._ledger.leases.release(self._manager, leaving)
            with self._lock:
                self._leaving -= leaving
                self._leased -= leaving
                self._tried -= leaving

    def _ask(self) -> None:
        with self._lock:
            if self._complete is self.wanted and not self._leaving:
                return
            missing = self.wanted - self._leased - self._leaving
            known = missing & self._tried
            self._complete = None if missing or self._leaving else self.wanted
        if not missing:
            return
        asked = missing - known
        if known:
            asked |= known & self._ledger.leases.vacant(self._manager)
        if not asked:
            return
        got = self._ledger.leases.acquire(self._manager, asked)
        with self._lock:
            self._tried |= asked - got.keys()
        if got:
            self._arrive(set(got))

    def _arrive(self, got: set[str]) -> None:
        starts: dict[str, dict[str, datetime]] = {name: {} for name in got}
        for instance, at in self._ledger.runs.last_starts(got).items():
            starts[instance.rpartition("#")[0]][instance] = at
        log.info("leases_acquired", extra={"action": "leases_acquired", "leases": len(got)})
        with self._lock:
            self._leased |= got
            self._arrived |= starts
        self._wake()
