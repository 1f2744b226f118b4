"""The rig of the workers, for the agents that ship."""

from tests.integration.workers.conftest import agents, ledger, rig

__all__ = ["agents", "ledger", "rig"]
