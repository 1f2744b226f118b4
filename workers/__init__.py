"""What runs: the contract an agent's author sees, and the supervision of it (floor 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.base_worker import BaseWorker, RunResult
    from workers.context import RunContext

__all__ = ["BaseWorker", "RunContext", "RunResult"]

_HOMES = {
    "BaseWorker": "workers.base_worker",
    "RunResult": "workers.base_worker",
    "RunContext": "workers.context",
}


def __getattr__(name: str) -> object:
    """Imports on first use, so that importing a module of this package costs only that module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'workers' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
