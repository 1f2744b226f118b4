from __future__ import annotations

import pytest

from nova.clock import ManualClock
from nova.ledger.effects import EffectHeld
from nova.ledger.limits import RunRef
from nova.ledger.runs import Runs
from nova.ledger.store import Store
from nova.ledger.turns import Turns


def ref(run: str) -> RunRef:
    return RunRef(run, "mailer", f"mailer#{run[-1]}", "sales", "m-1")


def test_a_turn_is_one_open_runs_at_a_time_and_a_dead_ones_is_free(store: Store, clock: ManualClock) -> None:
    turns, runs = Turns(store), Runs(store)
    for run in ("r1", "r2"):
        runs.started(ref(run), clock.now())
    turns.begin("mailer", "r1", "list")
    turns.begin("mailer", "r1", "list")
    turns.begin("mailer", "r2", "other")
    turns.begin("scout", "r2", "list")
    with pytest.raises(EffectHeld, match="r1"):
        turns.begin("mailer", "r2", "list")
    turns.end("mailer", "r2", "list")  # it is not its to end
    with pytest.raises(EffectHeld):
        turns.begin("mailer", "r2", "list")
    turns.end("mailer", "r1", "list")
    turns.begin("mailer", "r2", "list")
    with pytest.raises(EffectHeld):
        turns.begin("mailer", "r1", "list")
    runs.ended(ref("r2"), clock.now(), "interrupted")
    turns.begin("mailer", "r1", "list")
