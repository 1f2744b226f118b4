"""nova status: one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nova.cli import render
from nova.cli.output import emit, facts, line
from nova.cli.params import AsJson
from nova.cli.session import session

if TYPE_CHECKING:
    from nova.bootstrap import Nova


def status(json: AsJson = False) -> None:
    """Show on one screen what runs, earns and waits for you.

    Example:
      nova status
    """
    with session() as nova:
        document = _document(nova)
    if json:
        emit(document)
    else:
        _show(document)


def _document(nova: Nova) -> dict[str, Any]:
    from nova.autonomous.approvals import approvals
    from nova.autonomous.office import is_enabled
    from nova.revenue.reports import report
    from workers.health import health_document
    from workers.status import status_document

    fleet = status_document(nova)
    midnight = nova.clock.now().astimezone(nova.settings.tz).replace(hour=0, minute=0, second=0, microsecond=0)
    today = report(nova, since=midnight)
    return {
        "at": fleet["at"],
        "currency": fleet["currency"],
        "manager": fleet["manager"],
        "totals": fleet["totals"],
        "today": today["total"],
        "all_time": report(nova)["total"],
        "unattributed": today["unattributed"],
        "budget": _budget(nova),
        "autonomous": {"enabled": is_enabled(nova, nova.fleet.snapshot()), **approvals(nova)},
        **health_document(nova),
    }


def _budget(nova: Nova) -> dict[str, str]:
    """The fleet's day."""
    used = nova.ledger.budgets.usage("fleet", "day", nova.clock.now())
    return {"limit": str(nova.policy().max_daily_budget), "spent": str(used.spent), "reserved": str(used.reserved)}


def _show(document: dict[str, Any]) -> None:
    currency, totals, today = document["currency"], document["totals"], document["today"]
    manager, autonomous = document["manager"], document["autonomous"]
    running = f"running, process id {manager['pid']}, up {render.duration(manager['uptime_s'])}"
    facts(
        [
            ("manager", running if manager["running"] else "not running (nova workers start)"),
            ("fleet", _fleet(totals)),
            ("today", _sums(today, currency)),
            ("all time", _sums(document["all_time"], currency)),
            ("budget today", _spent(document["budget"], currency)),
            ("autonomy", "on" if autonomous["enabled"] else "off (nova autonomous enable)"),
            ("waits for you", _waiting(document)),
        ]
    )
    for problem in document["problems"]:
        line(f"  {problem['worker'] or 'nova'}: {problem['problem']} ({problem['advice']})")


def _fleet(totals: dict[str, Any]) -> str:
    if not totals["deployments"]:
        return "nothing is deployed yet (nova deploy --help)"
    declared = render.count(totals["deployments"], "deployment")
    words = f"{declared}, {totals['running']} of {totals['instances']} instances running"
    stopped = [f"{totals[state]} {state}" for state in ("paused", "parked") if totals[state]]
    return ", ".join([words, *stopped])


def _spent(budget: dict[str, str], currency: str) -> str:
    spent, limit = render.money_text(budget["spent"], currency), render.money_text(budget["limit"], currency)
    return f"{spent} of {limit} spent"


def _sums(sums: dict[str, Any], currency: str) -> str:
    revenue, cost, profit = (render.money_text(sums[name], currency) for name in ("revenue", "cost", "profit"))
    return f"revenue {revenue}, cost {cost}, profit {profit}, ROI {render.percent(sums['roi_percent'])}"


def _waiting(document: dict[str, Any]) -> str:
    number = len(document["autonomous"]["approvals"])
    waits = [f"{render.count(number, 'decision')} (nova autonomous approvals)"] if number else []
    if document["problems"]:
        waits.append(render.count(len(document["problems"]), "problem"))
    return ", ".join(waits) or "nothing"
