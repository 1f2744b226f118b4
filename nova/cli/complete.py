"""Names for the shell's completion. Whatever is wrong with the configuration, completing says nothing."""

from __future__ import annotations


def worker_names(incomplete: str) -> list[str]:
    try:
        from nova.cli.session import session

        with session() as nova:
            return [name for name in nova.fleet.snapshot().deployments if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - the shell would print an error into the line that is being typed
        return []


def agent_names(incomplete: str) -> list[str]:
    try:
        from nova.cli.session import session
        from workers.agents import registry

        with session() as nova:
            return [name for name in registry.names(nova.settings) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - as above
        return []
