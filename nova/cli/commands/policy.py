"""nova autonomous policy: the thresholds and guardrails in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, person
from nova.cli.session import session

if TYPE_CHECKING:
    from nova.autonomous.policy import Policy
    from nova.bootstrap import Nova


def _document(nova: Nova) -> dict[str, Any]:
    snapshot = nova.fleet.snapshot()
    policy = nova.policy(snapshot)
    return {
        "policy_version": policy.version,
        "currency": policy.currency,
        "policy": policy.to_json(),
        "set": sorted(snapshot.policy),
    }


def show(json: AsJson = False) -> None:
    """Show the thresholds and guardrails in force.

    Example:
      nova autonomous policy show
    """
    with session() as nova:
        document = _document(nova)
        policy = nova.policy()
    if json:
        emit(document)
    else:
        _print(policy, document["set"])


def _print(policy: Policy, overridden: list[str]) -> None:
    columns = (Column("key"), Column("value"), Column("set by"))
    rows = [
        (key, text or "-", "operator" if key in overridden else "default") for key, text in policy.as_text().items()
    ]
    table(columns, rows)
    line(f"policy version {policy.version}")


def set_policy(
    settings: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Such as min_roi=120 window=14d.")],
    by: By = None,
    json: AsJson = False,
) -> None:
    """Change thresholds and guardrails.

    Example:
      nova autonomous policy set min_roi=120 max_daily_budget=250
    """
    from nova.autonomous.controls import set_policy as change

    with session() as nova:
        change(nova, settings, person(by))
        _answer(nova, json)


def reset(by: By = None, json: AsJson = False) -> None:
    """Go back to the initial policy.

    Example:
      nova autonomous policy reset
    """
    from nova.autonomous.controls import reset_policy

    with session() as nova:
        reset_policy(nova, person(by))
        _answer(nova, json)


def _answer(nova: Nova, json: bool) -> None:
    document = _document(nova)
    if json:
        emit(document)
    else:
        _print(nova.policy(), document["set"])
