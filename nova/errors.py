"""The one exception root: every error carries its exit code and, where there is one, what to do about it."""

from __future__ import annotations

from typing import ClassVar


class NovaError(Exception):
    """It failed."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "It failed.").splitlines()[0]
        self.hint = hint
        super().__init__(self.message)


class UsageProblem(NovaError):
    """What was asked for is not valid."""

    exit_code = 2


class NotFound(NovaError):
    """The named thing does not exist."""

    exit_code = 3


class Refused(NovaError):
    """Refused by policy, budget or approval."""

    exit_code = 4


class LedgerConflict(Refused):
    """The same key is in the ledger with another content."""


class RevisionConflict(Refused):
    """The document was changed by somebody else since it was read."""


class BudgetExceeded(Refused):
    """A budget does not allow this spending."""


class PlatformNotConfigured(NovaError):
    """The platform has no key."""

    exit_code = 5


class PlatformRefused(NovaError):
    """The platform refused the key."""

    exit_code = 5


class Unreachable(NovaError):
    """A platform or database cannot be reached."""

    exit_code = 69


class LockHeld(NovaError):
    """Another process holds the lock; try again."""

    exit_code = 75


class ConfigInvalid(NovaError):
    """The configuration is invalid."""

    exit_code = 78
