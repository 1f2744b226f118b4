"""Money that is set aside before it is spent, as an agent's author handles it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from nova.errors import UsageProblem
from nova.money import Money


class Spending:
    """`with ctx.spending("0.50") as s: …; s.settle(actual)`.

    Left without `settle`, by an exception or not, the ceiling is charged in full: the vendor may have been paid. After
    an exception it is released instead where `release_on_error` declares that nothing was bought.
    """

    def __init__(self, ceiling: Money, settle: Callable[[Money], None], *, release_on_error: bool) -> None:
        self.ceiling = ceiling
        self._settle = settle
        self._release_on_error = release_on_error
        self._settled = False

    def settle(self, actual: Money | None = None) -> None:
        """Says what it cost in the end (None: the ceiling); more than the ceiling is booked too. Once only."""
        if self._settled:
            raise UsageProblem("this spending is settled already")
        self._settle(self.ceiling if actual is None else actual)
        self._settled = True

    def __enter__(self) -> Spending:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._settled:
            return
        failed = kind is not None
        self._settle(Money.zero(self.ceiling.currency) if failed and self._release_on_error else self.ceiling)
        self._settled = True
