"""The seam between a run and its manager: everything that a run may ask for, whichever process it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.effects import Mark, Taken
    from workers.hosts.shell_run import CommandEnded


LONGEST_S = 1e9  # that anybody waits


@dataclass(frozen=True, slots=True)
class About:
    """Who the run is. `currency` is that of amounts which name none."""

    worker: str
    instance: str
    index: int
    run: str
    manager: str
    currency: str


class Desk(Protocol):
    """Once the run was ended from outside, every call on money or state raises LateRun."""

    @property
    def about(self) -> About: ...
    @property
    def replicas(self) -> int:
        """How many are declared now."""
        ...

    @property
    def stopping(self) -> bool: ...
    @property
    def environment(self) -> Mapping[str, str]:
        """What a command of this run is given."""
        ...

    @property
    def platforms(self) -> Any:
        """The clients, made for this run."""
        ...

    def wait(self, seconds: float) -> bool:
        """Returns early, with True, when the run is asked to end."""
        ...

    def now(self) -> datetime: ...
    def beat(self, for_s: float = 0.0) -> None:
        """A sign of life; `for_s`: so long it is well without another one."""
        ...

    def write_log(self, lines: Sequence[str], stream: str = "stdout") -> None:
        """What was printed, on stdout or stderr."""
        ...

    def log(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        """What was logged; `fields` are as JSON has them."""
        ...

    def command(self, text: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        """Raises OSError when it cannot be started."""
        ...

    def pace(self, lane: str, every_s: float) -> float:
        """Seconds to wait before a platform may be called; 0: now, it was counted, and the next `every_s` later."""
        ...

    def hold(self, lane: str, seconds: float) -> None:
        """Nobody of this manager goes that way for so long."""
        ...

    def seen(self, platform: str, seconds: float, limited: bool, error: str | None) -> None:
        """How a call of a platform went."""
        ...

    def lineage(self) -> str:
        """The same for a run and for those that make it again after it failed."""
        ...

    def spend(self, price: Money, reason: str) -> None:
        """Raises BudgetExceeded, and the run ends."""
        ...

    def spent(self, price: Money, reason: str) -> None: ...
    def reserve(self, ceiling: Money, release_on_death: bool) -> str:
        """The reservation's key. Raises BudgetExceeded, and the run ends."""
        ...

    def settle(self, reservation: str, actual: Money, reason: str) -> None: ...
    def earn(self, revenue: Money, external_id: str, note: str | None) -> bool:
        """False where it was earned before; LedgerConflict where that was another amount."""
        ...

    def claim(self, source: str, object_id: str) -> None: ...
    def map(self, source: str, kind: str, object_id: str) -> None:
        """LedgerConflict where it is mapped to another worker."""
        ...

    def state_get(self, key: str) -> tuple[bool, Any]:
        """Whether there is such a key, and its value."""
        ...

    def state_set(self, key: str, value: Any) -> None: ...
    def state_delete(self, key: str) -> bool:
        """Whether there was such a key."""
        ...

    def state_keys(self) -> Sequence[str]: ...
    def outbox_put(self, topic: str, key: str, payload: Any) -> bool:
        """Whether it is new; LedgerConflict where it is there with another payload."""
        ...

    def outbox_take(self, topic: str | None, after: Mark | None) -> Taken | None:
        """The next effect that is due and stands after `after`, which is then this run's."""
        ...

    def outbox_begin(self, topic: str, key: str, payload: Any) -> Taken:
        """This very effect, or what came of it. Raises EffectHeld and EffectFailed."""
        ...

    def outbox_done(self, topic: str, key: str, result: Any) -> None: ...
    def outbox_failed(self, topic: str, key: str, error: str) -> bool:
        """Whether it will be tried again."""
        ...

    def outbox_release(self, topic: str, key: str) -> None:
        """As if it had not been taken."""
        ...

    def link(
        self, url: str, campaign: str | None, channel: str | None, content: str | None, subject: str | None
    ) -> str:
        """The address of a tracked link. Raises UsageProblem for what nobody should be led to."""
        ...

    def way_out(self, subject: str) -> str:
        """The address that takes its reader off every list."""
        ...

    def turn_begin(self, name: str) -> None:
        """No other open run of this deployment has the turn until `turn_end`. Raises EffectHeld."""
        ...

    def turn_end(self, name: str) -> None: ...
    def suppressed(self, subjects: Sequence[str]) -> Mapping[str, str]:
        """Why they are not to be written to, for those of them that are not."""
        ...

    def suppress(self, subjects: Sequence[str], reason: str) -> int:
        """How many were not suppressed for this reason before."""
        ...

    def once_begin(self, what: str, key: str, payload: Any) -> Taken:
        """An effect on a platform, or what came of it. Raises EffectHeld. `outbox_done` marks it."""
        ...

    def once_doubt(self, topic: str, key: str, error: str) -> None:
        """Nobody knows whether it was done."""
        ...

    def once_forget(self, topic: str, key: str) -> None:
        """It was not done."""
        ...
