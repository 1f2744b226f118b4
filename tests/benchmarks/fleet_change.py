"""How long from a change of the fleet to the run in its thread. Bar: at most 1 s."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from rig import a_manager, until

from nova.fleet.documents import Declaration

AGENT = """
import time
from pathlib import Path
from workers import BaseWorker
class Stamp(BaseWorker):
    def run(self, ctx):
        Path(ctx.config["out"]).write_text(str(time.time()))
"""


def main(times: int = 10) -> None:
    taken = []
    with a_manager(lambda nova: None) as (nova, _):
        home = nova.settings.nova_home
        (home / "stamp.py").write_text(AGENT)
        for number in range(times):
            out = home / f"out{number}"
            config = {"target": f"{home}/stamp.py:Stamp", "out": str(out)}
            before = time.time()
            nova.fleet.deploy(Declaration(f"w{number}", "d", "python", config=config))
            text = until(lambda out=out: _read(out))
            taken.append(float(text) - before)
    print(
        f"fleet change to running thread: median {statistics.median(taken):.3f} s, worst {max(taken):.3f} s (bar 1 s)"
    )


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    main()
