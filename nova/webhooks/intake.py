"""Takes what senders send: verified over the raw bytes, then durable, and only then acknowledged.

It belongs to one event loop. What arrives while a commit is under way goes into the next one together, so that many
senders share one fsync and none has a thread of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from nova.clock import Clock, to_us
from nova.ledger import deliveries
from nova.ledger.deliveries import Arrived
from platforms.signatures import Forged, Headers

if TYPE_CHECKING:
    from nova.ledger.store import Store
    from nova.webhooks.endpoints import Endpoint

log = logging.getLogger(__name__)

TOLERANCE_S = 300.0
_MOST_AT_ONCE = 500
_TELL_EVERY_S = 10.0
_MANY_STALE = 5
_UNWELL_S = 30.0

Alert = Callable[[str, str, str], object]


class Stale(Forged):
    """The signature is good, and was made too long ago or in the future."""


class Refusals:
    """Tells of what is refused, by count and not one by one: whoever sends it must not fill the disk.

    Good signatures that are all of another time mean that this machine's clock is wrong: that is told once.
    """

    def __init__(self, clock: Clock, alert: Alert) -> None:
        self._clock = clock
        self._alert = alert
        self._counts: Counter[tuple[str, str]] = Counter()
        self._told = float("-inf")
        self._stale: set[int] = set()
        self._alerted = False

    def refused(self, endpoint: str, why: str) -> None:
        self._counts[endpoint, why] += 1
        now = self._clock.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self.tell()

    def tell(self) -> None:
        """Writes down what was counted since it was last told."""
        for (endpoint, why), count in self._counts.items():
            fields = {"action": "webhook_refused", "endpoint": endpoint, "why": why, "count": count}
            log.warning("webhook_refused", extra=fields)
        self._counts.clear()

    def fresh(self) -> None:
        self._alerted = False
        self._stale.clear()

    def stale(self, endpoint: str, age_s: float, sent: int) -> None:
        """The same once more, by what was `sent`, says nothing: somebody caught it and sends it again."""
        if self._alerted:
            return
        self._stale.add(sent)
        if len(self._stale) >= _MANY_STALE:
            self._alerted = True
            self._stale.clear()
            off = f"{abs(age_s) / 60:.0f} minutes {'old' if age_s > 0 else 'ahead'}"
            log.error("clock_is_off", extra={"action": "clock_is_off", "endpoint": endpoint, "age_s": round(age_s)})
            self._alert(
                "clock_is_off",
                "webhooks are refused: this machine's clock seems to be wrong",
                f"Webhooks of {endpoint} are signed well, but {off} by this machine's clock.\n"
                "Senders try again for some days: set the clock, and nothing is lost.",
            )


class Intake:
    def __init__(self, store: Store, clock: Clock, alert: Alert) -> None:
        self._store = store
        self._clock = clock
        self.refusals = Refusals(clock, alert)
        self._waiting: list[tuple[Arrived, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self.taken = 0
        self._failed_at = float("-inf")

    @property
    def writable(self) -> bool:
        """Not for a while after a failure: a proxy that sends nothing here meanwhile has to try again some time."""
        return self._clock.monotonic() - self._failed_at >= _UNWELL_S

    async def take(self, endpoint: Endpoint, body: bytes, headers: Headers, rest: str = "") -> None:
        """Returns when it is durable; what came before under its id is taken as well. Raises Forged and Stale, and
        NovaError where it cannot be kept: then the sender has to send it again.
        """
        one = self._verified(endpoint, body, headers, rest)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        await future

    async def drained(self) -> None:
        """Returns when nothing waits to be written."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    def _verified(self, endpoint: Endpoint, body: bytes, headers: Headers, rest: str) -> Arrived:
        now = self._clock.now()
        signed_at = endpoint.check(body, headers, rest)
        if signed_at is not None:
            age_s = now.timestamp() - signed_at
            if abs(age_s) > TOLERANCE_S:
                self.refusals.stale(endpoint.name, age_s, hash((signed_at, body)))
                raise Stale(f"signed {abs(age_s):.0f} s {'ago' if age_s > 0 else 'in the future'}")
            self.refusals.fresh()
        id, kind = endpoint.identify(body, headers)
        return Arrived(endpoint.name, id, to_us(now), kind, body)

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: list[tuple[Arrived, asyncio.Future[None]]]) -> None:
        rows = [one for one, _ in batch]
        problem: BaseException | None = None
        try:
            await asyncio.wrap_future(self._store.post(lambda conn: deliveries.keep(conn, rows)))
            self.taken += len(rows)
        except Exception as found:  # noqa: BLE001 - whatever it was, each sender is told that it was not kept
            problem = found
        self._failed_at = float("-inf") if problem is None else self._clock.monotonic()
        for _, future in batch:
            if future.done():  # who waited for it has gone; it is kept all the same
                continue
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem)
