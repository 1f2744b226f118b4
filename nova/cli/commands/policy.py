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


MEANING = {
    "min_roi": "ROI in percent: credibly below it, a setting is tried or it is paused",
    "scale_roi": "ROI in percent: credibly above it, there will be more replicas",
    "kill_roi": "ROI in percent: credibly below it, it is killed",
    "require_approval_above": "a decision that adds more a day waits for you",
    "max_daily_budget": "the most that the whole fleet may spend in a day",
    "min_runs": "with fewer runs in the window nothing is decided",
    "min_success_rate": "percent of runs that succeed: below it nothing is scaled up",
    "confidence": "how sure each bound of the ROI must be",
    "window": "how far back the evidence goes",
    "attribution_lag": "how late revenue comes: the window ends so long ago",
    "attribution_model": "how a payment is divided among those its customer met",
    "attribution_window": "how long before a payment they count",
    "warmup": "how long nothing is decided after the first run",
    "cooldown": "how long nothing is decided after a step",
    "scale_factor": "a scale-up multiplies the replicas by it",
    "max_actions_per_cycle": "the part of the fleet that one cycle may change, at least one",
    "approval_expiry": "how long a decision waits for you; silence means no",
    "approval_headroom": "percent by which its cost may have grown when you approve it",
    "rejection_silence": "how long what you rejected is not proposed again",
    "probe_interval": "how long after a pause for its ROI it is tried again",
    "probe_window": "how long such a try lasts",
    "sync_interval": "how often the platforms are asked; revenue twice as old holds everything",
    "protected": "names that the engine may only advise on",
    "reinvest_share": "percent of a closed period's profit that goes back as budget",
    "reinvest_period": "whose profit that is, each time it is over: day or month",
}


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
    columns = (Column("key"), Column("value"), Column("set by"), Column("meaning", wrap=True))
    rows = [
        (key, text or "-", "operator" if key in overridden else "default", MEANING.get(key, ""))
        for key, text in policy.as_text().items()
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
