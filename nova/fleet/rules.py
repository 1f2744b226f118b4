"""What is declared of the fleet as a whole, kept in TinyDB: policy, switch, warnings, shared bills and
targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova.clock import Clock
from nova.errors import NotFound, UsageProblem
from nova.fleet.decoding import snapshot_of
from nova.fleet.documents import Deployment, FleetSnapshot, valid_tiers
from nova.fleet.file import FleetFile, Token
from nova.fleet.goals import Target
from nova.fleet.shared import SharedCost
from nova.fleet.webhooks import WebhookSender
from nova.money import Money

if TYPE_CHECKING:
    from nova.fleet.storage import FleetDB

Values = dict[str, str]


class Rules:
    """Many processes may hold one; each change is a read, a decision and a write under one lock."""

    def __init__(self, path: Path, clock: Clock, currency: str) -> None:
        self.path = path
        self.currency = currency
        self._clock = clock
        self._file = FleetFile(path)
        self._known: dict[str, tuple[Mapping[str, Any], Deployment]] = {}
        self._seen: FleetSnapshot | None = None

    def token(self) -> Token:
        """Changes whenever the file does; costs one look at it."""
        return self._file.token()

    def snapshot(self) -> FleetSnapshot:
        """All that is declared. Raises NovaError where the file is damaged."""
        token, tables = self._file.read()
        if self._seen is None or self._seen.version != token:
            self._seen = snapshot_of(tables, self.currency, token, self._known)
        return self._seen

    def set_tiers(self, percents: Iterable[int]) -> tuple[int, ...]:
        """At which percentages of a budget people are warned. Raises UsageProblem."""
        tiers = valid_tiers(percents)
        with self._changing() as db:
            db.documents("settings").put("tiers", {"percents": list(tiers)})
        return tiers

    def share(self, cost: SharedCost) -> bool:
        """Declares a bill under its name. Whether that changed anything. Raises UsageProblem."""
        cost.checked()
        with self._changing() as db:
            return db.documents("shared_costs").put(cost.name, cost.to_document())

    def unshare(self, name: str) -> None:
        """Raises NotFound."""
        with self._changing() as db:
            table = db.documents("shared_costs")
            if table.find(name) is None:
                raise NotFound(f"no shared cost is called {name!r}", hint="nova costs shared lists them")
            table.drop([name])

    def aim(self, target: Target) -> bool:
        """In the place of the one its scope had for the period. Whether that changed anything. Raises UsageProblem."""
        target.checked(self.currency)
        with self._changing() as db:
            return db.documents("targets").put(target.key, target.to_document())

    def unaim(self, key: str) -> None:
        """Raises NotFound."""
        with self._changing() as db:
            table = db.documents("targets")
            if table.find(key) is None:
                scope, _, per = key.rpartition("/")
                raise NotFound(f"{scope} has no target a {per}", hint="nova revenue target list shows them")
            table.drop([key])

    def open_with(self, amount: Money) -> bool:
        """Declares the money that was there before the first entry. Whether that changed anything."""
        if amount.currency != self.currency:
            raise UsageProblem(f"the balance is in {self.currency}, the reporting currency, not in {amount.currency}")
        with self._changing() as db:
            return db.documents("settings").put("opening", {"amount": f"{amount} {amount.currency}"})

    def add_webhook(self, sender: WebhookSender) -> bool:
        """Declares it under its name, in the place of one that has it. Whether that changed anything."""
        sender.checked()
        with self._changing() as db:
            table = db.documents("webhooks")
            twin = next((one for one in table.names() if one.casefold() == sender.name.casefold()), sender.name)
            if twin != sender.name:
                raise UsageProblem(f"{sender.name} and {twin} differ only in upper and lower case")
            return table.put(sender.name, sender.to_document())

    def remove_webhook(self, name: str) -> None:
        """Raises NotFound."""
        with self._changing() as db:
            table = db.documents("webhooks")
            if table.find(name) is None:
                raise NotFound(f"no webhook is called {name!r}", hint="nova webhooks list shows them")
            table.drop([name])

    def set_policy(self, values: Mapping[str, str], check: Callable[[Values], object] | None = None) -> int:
        """Adds to what was set; the version rises where something changed.

        `check` sees all that would then be set, before it is, and raises where it makes no sense.
        """

        def added(old: Values) -> Values:
            new = {**old, **values}
            if check is not None:
                check(new)
            return new

        return self._write_policy(added)

    def reset_policy(self) -> int:
        """Back to the settings' own values."""
        return self._write_policy(lambda old: {})

    def set_autonomous(self, enabled: bool) -> bool:
        """Whether it changed."""
        with self._changing() as db:
            return db.documents("settings").put("autonomous", {"enabled": enabled})

    def _drop_policy(self, key: str) -> bool:
        if key not in self.snapshot().policy:
            return False
        self._write_policy(lambda old: {name: value for name, value in old.items() if name != key})
        return True

    def _write_policy(self, change: Callable[[Values], Values]) -> int:
        with self._changing() as db:
            table = db.documents("settings")
            found = table.find("policy")
            old: Values = dict(found["values"]) if found else {}
            version: int = found["version"] if found else 0
            new = change(old)
            if new != old:
                version += 1
                table.put("policy", {"values": new, "version": version})
            return version

    @contextmanager
    def _changing(self) -> Iterator[FleetDB]:
        from nova.fleet.storage import FleetDB  # here, because reading the fleet needs no TinyDB

        with self._file.locked():
            yield FleetDB(self._file)
