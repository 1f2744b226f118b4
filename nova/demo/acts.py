"""What the demo has to show, and how it is recognised in what nova itself has recorded. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nova.fleet.documents import Deployment
from nova.ledger.decisions import DecisionRecord

Seen = Callable[[Mapping[str, Deployment], Sequence[DecisionRecord]], bool]


@dataclass(frozen=True, slots=True)
class Act:
    """`seen` looks at the fleet and at the history of decisions."""

    title: str
    seen: Seen


def acts() -> tuple[Act, ...]:
    return (
        Act(
            "a winner scaled",
            lambda fleet, history: _did(history, "newsletter", "scale_up") and _replicas(fleet, "newsletter") > 1,
        ),
        Act("a loser killed", lambda fleet, history: _did(history, "ads", "kill") and _state(fleet, "ads") == "killed"),
        Act("a spender stopped at its budget", lambda fleet, _: _paused_for(fleet, "summaries") == "budget"),
        Act("a crasher parked", lambda fleet, _: _state(fleet, "scraper") == "parked"),
        Act("a big decision waiting for approval", lambda _, history: _did(history, "research", "scale_up", "pending")),
    )


def _did(history: Sequence[DecisionRecord], worker: str, kind: str, state: str = "executed") -> bool:
    return any((one.worker, one.kind, one.state) == (worker, kind, state) for one in history)


def _replicas(fleet: Mapping[str, Deployment], name: str) -> int:
    return fleet[name].replicas if name in fleet else 0


def _state(fleet: Mapping[str, Deployment], name: str) -> str | None:
    return fleet[name].state if name in fleet else None


def _paused_for(fleet: Mapping[str, Deployment], name: str) -> str | None:
    return fleet[name].pause_reason if name in fleet else None
