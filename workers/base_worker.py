"""What the author of an agent writes: a class with `run(ctx)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    from workers.context import RunContext


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run says of itself. `ok=False` is a failure without a crash: no backoff, the next run when it is due."""

    ok: bool = True
    message: str | None = None


class BaseWorker:
    """An agent. One object serves one instance; its runs never overlap, but they may come in different threads.

    `Config` is a pydantic model for the deployment's `--set KEY=VALUE`; without one `ctx.config` is a plain mapping.
    `scalable = False` keeps it at one replica. `tunables` names the settings the engine may try other values of.
    `secrets` names the variables it cannot do without: they are declared with it, and its process is given them.
    `imputed_cost` is what a run costs besides what it meters, as "0.02/run" or "0.50/hour"; `--imputed` wins over it.
    `costs` tells operators in words what it meters.
    """

    Config: ClassVar[type[BaseModel] | None] = None
    scalable: ClassVar[bool] = True
    tunables: ClassVar[Mapping[str, Sequence[Any]]] = {}
    secrets: ClassVar[Sequence[str]] = ()
    imputed_cost: ClassVar[str | None] = None
    costs: ClassVar[str] = ""

    @classmethod
    def secrets_of(cls, config: Any) -> Sequence[str]:
        """The variables it cannot do without under this configuration, where that depends on it."""
        return cls.secrets

    @classmethod
    def tunables_of(cls, config: Any) -> Mapping[str, Sequence[Any]]:
        """What may be tried of a deployment, where that depends on its configuration."""
        return cls.tunables

    def setup(self, ctx: RunContext) -> None:
        """Called once, before the object's first run and in its thread."""

    def run(self, ctx: RunContext) -> RunResult | None:
        """One execution. Returning None is success; raising is a failure that counts as a crash."""
        raise TypeError(f"{type(self).__name__} has no run(ctx) method")

    def teardown(self) -> None:
        """Called once when the object is let go: its configuration changed, a run crashed or its instance ended."""
