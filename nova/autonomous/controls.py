"""What the operator sets: the switch and the policy."""

from __future__ import annotations

from nova.autonomous.office import Office, policy_of
from nova.autonomous.policy import Policy, parse_pairs


def switch(nova: Office, on: bool, by: str) -> None:
    nova.fleet.set_autonomous(on)
    nova.ledger.audit.append(by, "autonomous_enabled" if on else "autonomous_disabled", "fleet")


def set_policy(nova: Office, pairs: list[str], by: str) -> Policy:
    """Takes `KEY=VALUE` pairs, all or none. Raises UsageProblem naming what is wrong."""
    given, defaults = parse_pairs(pairs), Policy.from_settings(nova.settings)
    nova.fleet.set_policy(given, check=lambda all_set: Policy.from_overrides(defaults, all_set))
    nova.ledger.audit.append(by, "policy_set", "fleet", given)
    return policy_of(nova, nova.fleet.snapshot())


def reset_policy(nova: Office, by: str) -> Policy:
    """Back to the settings' values."""
    nova.fleet.reset_policy()
    nova.ledger.audit.append(by, "policy_reset", "fleet")
    return policy_of(nova, nova.fleet.snapshot())
