"""200 process instances: how soon they run, and what each costs. Bars: within 20 s, and 25 MB each beyond a bare
interpreter's own (proportional set size: what they share with their fork server is counted once among them).
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
from rig import a_manager, until

from nova.bootstrap import Nova
from nova.fleet.documents import Declaration

INSTANCES = 200
AGENT = """
from workers import BaseWorker

class Idler(BaseWorker):
    def run(self, ctx):
        ctx.state[ctx.instance] = 1
        ctx.sleep(3600)
"""


def prepare(nova: Nova) -> None:
    home = nova.settings.nova_home
    (home / "agents").mkdir()
    (home / "agents" / "idler.py").write_text(AGENT)
    for number in range(INSTANCES // 10):
        nova.fleet.deploy(
            Declaration(f"idler-{number}", "d", "idler", runtime="process", replicas=10, timeout_s=86_400)
        )


def pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def bare() -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.5)
        return psutil.Process(child.pid).memory_info().rss
    finally:
        child.kill()
        child.wait()


def main() -> int:
    own = bare()
    began = time.monotonic()
    with a_manager(prepare) as (nova, manager):
        until(lambda: sum(len(nova.ledger.state.all(f"idler-{n}")) for n in range(INSTANCES // 10)) == INSTANCES)
        started_s = time.monotonic() - began
        below = psutil.Process(manager).children(recursive=True)
        family = [one for one in below if any("nursery" in word for word in one.cmdline())]
        assert len(family) == 2 * INSTANCES + 1, len(family)  # each has a warden, and all one fork server
        shared = sum(pss(one.pid) for one in family)
        resident = sum(one.memory_info().rss for one in family)
        of_manager = psutil.Process(manager).memory_info().rss
    each = shared / INSTANCES
    beyond = each - own
    print(f"{INSTANCES} process instances, all running {started_s:.1f} s after the start of the manager (bar 20 s)")
    print(f"each, its warden and its part of the fork server included: {each / 1e6:.1f} MB (proportional);", end=" ")
    print(f"a bare interpreter is {own / 1e6:.1f} MB, so {max(0.0, beyond) / 1e6:.1f} MB beyond (bar 25 MB)")
    print(
        f"resident: {resident / INSTANCES / 1e6:.1f} MB each, counting what they share {2 * INSTANCES} times;", end=" "
    )
    print(f"the manager itself: {of_manager / 1e6:.1f} MB")
    return 0 if started_s <= 20 and beyond <= 25e6 else 1


if __name__ == "__main__":
    sys.exit(main())
