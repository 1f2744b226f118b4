"""A first agent of the operator's own: a file that works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from nova.errors import Refused, UsageProblem

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_FILE = '''"""An agent for nova. Deploy it with: nova deploy DEPARTMENT {name} --every 10m"""

from decimal import Decimal

from pydantic import BaseModel

from workers import BaseWorker, RunContext, RunResult


class {class_name}(BaseWorker):
    """One line that says what it does."""

    class Config(BaseModel):
        """What --set KEY=VALUE may set."""

        cost: Decimal = Decimal("0.02")
        price: Decimal = Decimal("0.10")

    def run(self, ctx: RunContext) -> RunResult | None:
        """One piece of work. nova calls it again and again, never twice at once for one instance."""
        with ctx.spending(ctx.config.cost * 2, "a paid call") as call:  # set the most it may cost aside ...
            ctx.log.info("run %s of %s", ctx.state.get("runs", 0) + 1, ctx.instance)
            call.settle(ctx.config.cost)  # ... and book what it did cost

        ctx.state["runs"] = ctx.state.get("runs", 0) + 1  # kept when nova restarts
        ctx.earn(ctx.config.price, external_id=f"sale-{{ctx.run_id}}")  # the same id counts once
        return RunResult(ok=True)
'''


def scaffold(home: Path, name: str) -> Path:
    """Writes NOVA_HOME/agents/NAME.py. Raises UsageProblem for a name that is none, Refused where there is a file."""
    from workers.agents.registry import names

    if not _NAME.fullmatch(name):
        raise UsageProblem(
            f"not a name for an agent: {name!r}", hint="use small letters, digits and underscores: price_watch"
        )
    if name in names(home):
        raise Refused(f"there is an agent {name} already", hint="choose another name, or edit it")
    path = home / "agents" / f"{name}.py"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    class_name = "".join(part.capitalize() for part in name.split("_"))
    with path.open("x", encoding="utf-8") as file:
        file.write(_FILE.format(name=name, class_name=class_name))
    return path
