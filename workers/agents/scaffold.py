"""A first agent of the operator's own: a file that works as it stands."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from nova.errors import Refused, UsageProblem

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_TAKEN = frozenset({"BaseWorker", "RunContext", "RunResult", "BaseModel", "Field", "Decimal"})  # what the file imports
_FILE = '''"""An agent for nova.

Deploy it:     nova deploy DEPARTMENT {name} --every 10m --budget 1/day
Look after it: nova workers status; nova workers logs {name}
After editing: nova workers restart
"""

from decimal import Decimal

from pydantic import BaseModel, Field

from workers import BaseWorker, RunContext, RunResult


class {worker}(BaseWorker):
    """One line that says what it does."""

    class Config(BaseModel):
        """What --set KEY=VALUE may set. It is checked when the agent is deployed."""

        price: Decimal = Field(Decimal("0.10"), ge=0, description="What a sale brings.")
        cost: Decimal = Field(Decimal("0.02"), ge=0, description="What the work behind it costs.")

    # scalable = False                    # it must never run twice at once
    # imputed_cost = "0.02/run"           # what it costs besides what it meters; or "0.50/hour"
    # tunables = {{"price": ("0.10", "0.20")}}  # what nova may try before it pauses an agent that earns too little

    def run(self, ctx: RunContext) -> RunResult | None:
        """One piece of work. nova calls it every so often, and never twice at once for one instance."""
        number = ctx.state.get("runs", 0) + 1  # the state is durable: it is kept when nova restarts
        ctx.log.info("run %d of %s", number, ctx.instance)

        # Set the most it may cost aside before the money goes. Where a budget does not allow that, the run ends here.
        with ctx.spending(ctx.config.cost, "the work") as call:
            call.settle(ctx.config.cost)  # ... and book what it really cost. A known price: ctx.spend("0.02")

        # Book what it earned; the same id counts once. A sale that Stripe reports: ctx.claim("stripe", "pi_1")
        ctx.earn(ctx.config.price, external_id=f"sale-{{ctx.run_id}}")

        ctx.state["runs"] = number
        return RunResult(ok=True)  # ok=False is a failure; an exception is a crash
'''


def scaffold(home: Path, name: str) -> Path:
    """Writes NOVA_HOME/agents/NAME.py. Raises UsageProblem for a name that is none, Refused where there is a file."""
    from workers.agents.registry import ALIASES, BUILT_IN

    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageProblem(
            f"not a name for an agent: {name!r}", hint="use small letters, digits and underscores: price_watch"
        )
    if name in BUILT_IN or name in ALIASES or name in sys.stdlib_module_names:
        raise UsageProblem(f"the name {name} is taken", hint="choose another one, such as my_" + name)
    path = home / "agents" / f"{name}.py"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            path.chmod(0o600)
            file.write(_FILE.format(name=name, worker=_class_name(name)))
    except FileExistsError:
        raise Refused(f"{path} is there already", hint="edit it, or choose another name") from None
    return path


def _class_name(name: str) -> str:
    camel = "".join(part.capitalize() for part in name.split("_"))
    return f"{camel}Agent" if camel in _TAKEN else camel
