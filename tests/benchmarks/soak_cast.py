"""Who works in the soak: traders that keep a journal of their own, and rogues that do what no worker should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova.bootstrap import Nova
from nova.fleet.documents import BudgetLimit, Declaration
from nova.fleet.terms import HealthRules, Resources
from nova.money import Money

# What a call is about to do is written before it, and that it was confirmed after it: whatever dies in between, the
# ledger must have at least what was confirmed and at most what was asked for.
_AGENTS = """
import fcntl, json, os, random, sys, threading, time
from contextlib import contextmanager
from pathlib import Path
from nova.errors import BudgetExceeded
from workers import BaseWorker

HOME = Path({home!r})

def note(ctx, kind, key, amount="0"):
    line = json.dumps([kind, ctx.instance, ctx.run_id, key, amount]) + "\\n"
    fd = os.open(HOME / "journal" / (ctx.worker + ".jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode())
    os.close(fd)

@contextmanager
def alone(ctx):
    fd = os.open(HOME / "locks" / ctx.instance, os.O_WRONLY | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(ctx, "twice", ctx.instance)
    try:
        yield
    finally:
        os.close(fd)

def paying(ctx, key, amount, act):
    note(ctx, "asked", key, amount)
    try:
        act()
    except BudgetExceeded:
        note(ctx, "refused", key, amount)
        raise
    note(ctx, "paid", key, amount)

class Trader(BaseWorker):
    def run(self, ctx):
        with alone(ctx):
            for _ in range(3):
                number = ctx.state.get(ctx.instance, 0)
                ctx.state[ctx.instance] = number + 1
                key = f"{{ctx.instance}}-{{number}}"
                paying(ctx, key, "0.000300", lambda: ctx.spend("0.000300", "step"))
                note(ctx, "earning", key, "0.01")
                ctx.earn("0.01", key)
                note(ctx, "earned", key, "0.01")
                self.reserve(ctx, key)
            ctx.outbox.put("mail", key, {{"to": key}})
            note(ctx, "put", key)
            for effect in ctx.outbox.due("mail"):
                with effect:
                    note(ctx, "sent", effect.key, effect.idempotency_key)
            ctx.sleep(random.uniform(0, 0.4))

    def reserve(self, ctx, key):
        note(ctx, "asked", key + "r", "0.002")
        try:
            with ctx.spending("0.002") as spending:
                spending.settle("0.0007")
        except BudgetExceeded:
            note(ctx, "refused", key + "r", "0.002")
            raise
        note(ctx, "paid", key + "r", "0.0007")

class Crasher(BaseWorker):
    def run(self, ctx):
        if random.random() < 0.3:
            raise ValueError("bad luck")

class Sleeper(BaseWorker):
    def run(self, ctx):
        time.sleep(12)

class Eater(BaseWorker):
    def run(self, ctx):
        held = [bytearray(1 << 20) for _ in range(250)]

class Breeder(BaseWorker):
    def run(self, ctx):
        for _ in range(4):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(600)
                os._exit(0)

class Abrupt(BaseWorker):
    def run(self, ctx):
        os._exit(0)
"""

# A run in a terminal, beside the instances, is that of NAME#0, as it is for the others.
_COMMAND = """
me="$NOVA_WORKER#$NOVA_INDEX"; case $NOVA_MANAGER in f-*) me="$NOVA_WORKER#0";; esac
exec 9>"{home}/locks/$me"
say() {{ printf '["%s","%s","%s","%s","%s"]\\n' "$1" "$me" "$NOVA_RUN" "$2" "$3" \\
  >> "{home}/journal/$NOVA_WORKER.jsonl"; }}
flock -n 9 || say twice "$me" 0
sleep 300 9>&- & setsid sleep 300 9>&- &
n=$(cat "{home}/count.$me" 2>/dev/null || echo 0)
echo $((n + 1)) > "{home}/count.$me"
key="$me-$n"
say asked "$key" 0.000300
echo '{{"nova":"spend","amount":"0.000300"}}'; read -r answer <&$NOVA_REPLY_FD
case $answer in *true*) say paid "$key" 0.000300;; *) say refused "$key" 0.000300; exit 0;; esac
say earning "$key" 0.01
echo '{{"nova":"earn","amount":"0.01","id":"'"$key"'"}}'; read -r answer <&$NOVA_REPLY_FD
case $answer in *true*) say earned "$key" 0.01;; esac
sleep 0.2
"""

TIGHT = ("tight-thread", "tight-process", "tight-shell")
STEADY, MOVED = "steady", "d"
_CALM = HealthRules(progress_runs=0, velocity=0, error_percent=0)


def traders() -> Iterator[tuple[str, str, str, int]]:
    """Name, department, kind of runtime and replicas."""
    for department in (STEADY, MOVED):
        yield f"{department}-thread", department, "thread", 4
        yield f"{department}-process", department, "process", 3
        yield f"{department}-shell", department, "shell", 2
    for name in TIGHT:
        yield name, "tight", name.removeprefix("tight-"), 2


def deploy(nova: Nova, home: Path) -> None:
    """Everybody, and the folders of their journals and locks."""
    for folder in ("agents", "journal", "locks"):
        (home / folder).mkdir(exist_ok=True)
    path = home / "agents" / "soak.py"
    path.write_text(_AGENTS.format(home=str(home)))
    for name, department, kind, replicas in traders():
        target = {"command": _COMMAND.format(home=home)} if kind == "shell" else {"target": f"{path}:Trader"}
        _deploy(nova, name, department, kind, target, replicas=replicas, every_s=0.5, budget="50")
    for name, kind, terms in (
        ("crasher", "thread", {"health": HealthRules()}),
        ("sleeper", "thread", {"timeout_s": 2.0, "every_s": 20.0}),
        ("eater", "process", {"resources": Resources(memory_bytes=150_000_000), "every_s": 10.0}),
        ("breeder", "process", {"resources": Resources(processes=30), "every_s": 3.0}),
        ("abrupt", "process", {"every_s": 5.0}),
    ):
        _deploy(nova, name, MOVED, kind, {"target": f"{path}:{name.title()}"}, **terms)
    deaf = "trap '' TERM; setsid sleep 300 & while :; do sleep 0.2; done"
    _deploy(nova, "deaf", MOVED, "shell", {"command": deaf}, timeout_s=1.0, every_s=5.0)


def _deploy(nova: Nova, name: str, department: str, kind: str, config: dict[str, Any], **terms: Any) -> None:
    limit = terms.pop("budget", None)
    budget = (BudgetLimit("day", Money.parse(limit, "USD")),) if limit else ()
    values = {"every_s": 1.0, "timeout_s": 30.0, "health": _CALM, "budget": budget, "max_replicas": 50, **terms}
    agent, runtime = ("shell", "thread") if kind == "shell" else ("python", kind)
    nova.fleet.deploy(Declaration(name, department, agent, runtime, config=config, **values))


def journal(home: Path, worker: str) -> list[tuple[str, str, str, str, str]]:
    """What a worker wrote of itself: kind, instance, run, key, amount."""
    path = home / "journal" / f"{worker}.jsonl"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
