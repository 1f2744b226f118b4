"""Who plays in the demo, and the policy they play under: a second stands for a quarter of an hour of business."""

from __future__ import annotations

from typing import Any

from nova.fleet.documents import BudgetLimit, Declaration

SELLER = "nova.demo.agents:Seller"
PACE = 1000  # so money per day, and with it every limit per day, is a thousandfold

# The policy, shortened and scaled to the pace. Thresholds of ROI, confidence and the success rate are the real ones.
POLICY = {
    "min_runs": "15",
    "warmup": "3s",
    "cooldown": "20s",
    "window": "1h",
    "max_actions_per_cycle": "100%",
    "require_approval_above": str(50 * PACE),
    "max_daily_budget": str(500 * PACE),
}
SETTINGS = {"WORKER_MAX_CRASHES": "2", "WORKER_CRASH_COOLDOWN": "2"}


def cast() -> tuple[Declaration, ...]:
    """A winner, a loser, a spender, a crasher, and one so large that a person must be asked."""
    return (
        _seller("newsletter", "marketing", cost="0.05", price="1.00", sells_every=2),
        _seller("ads", "marketing", cost="0.30", price="1.00", sells_every=12),
        _seller("research", "products", cost="1.20", price="12.00", sells_every=1),
        _shell(
            "summaries",
            "products",
            """echo '{"nova":"spend","amount":"0.07","reason":"tokens"}'""",
            budget=(BudgetLimit.parse("0.50/day", "USD"),),
        ),
        _shell("scraper", "products", "echo 'the site has changed again' >&2; exit 3"),
    )


def _seller(name: str, department: str, **config: Any) -> Declaration:
    return Declaration(name, department, SELLER, every_s=0.5, timeout_s=30, config=config)


def _shell(name: str, department: str, command: str, budget: tuple[BudgetLimit, ...] = ()) -> Declaration:
    return Declaration(name, department, "shell", every_s=1, timeout_s=30, budget=budget, config={"command": command})
