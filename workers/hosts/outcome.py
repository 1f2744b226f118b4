"""How a run ended, and in what words that is told."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from nova.errors import NovaError, PlatformNotConfigured, PlatformRefused, Unreachable
from nova.ledger.effects import EffectHeld
from platforms.base import InDoubt
from workers.hosts.environment import MissingSecret
from workers.hosts.remote import Raised
from workers.outbox import EffectsFailed

_ERROR_CHARS = 8_000  # more than is shown, so that a secret is found before it is cut in two
# Tried again in their own time, or mended by a person. A platform that is down is no fault of the agent's: its breaker
# sees that the runs fail. Where the ledger is what could not be reached, the run was interrupted, before it comes here.
_NO_CRASH = (
    EffectHeld, EffectsFailed, MissingSecret, InDoubt, Unreachable, PlatformRefused, PlatformNotConfigured,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str  # succeeded, failed, interrupted
    crash: bool = False
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether a single run is made with it; one that crashed or was interrupted is to be made again."""
        return self.status != "interrupted" and not self.crash


def failure(problem: BaseException) -> tuple[Outcome, str]:
    """Of what an agent raised; and what its log is told."""
    told, shown = _words(problem)
    return Outcome("failed", crash=not isinstance(problem, _NO_CRASH), error=told[-_ERROR_CHARS:]), shown


def _words(problem: BaseException) -> tuple[str, str]:
    """What is recorded of it, and what its log is told."""
    if isinstance(problem, NovaError):
        told = problem.message if problem.hint is None else f"{problem.message} ({problem.hint})"
        return told if isinstance(problem, MissingSecret) else problem.message, told
    if isinstance(problem, Raised):
        return problem.told, "\n".join(problem.trace)
    last = "".join(traceback.format_exception_only(problem)).strip()
    return last, traceback.format_exc().strip()
