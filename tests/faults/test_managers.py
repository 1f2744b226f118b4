"""Two managers that may run the same deployments: one is killed, or frozen and woken, or both cannot write."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing

from sqlalchemy import select

from nova.ledger.schema import entries, runs

from .rig import Rig, lives, until, usd

PRICE = "0.000100"
TAKEOVER_S = 10.0
SILENCE_S = 13.0  # the same from a manager that still holds its lock: 8 s of silence, and a busy machine
FENCED_S = 8.0  # by then nothing that can be killed runs on under a frozen manager

# Pays until it is stopped; what it has paid is in its journal when the ledger has it.
PAYER = f"""
tell(f"{{ctx.worker}}-pids")
sold = 0
while not ctx.sleep(0.1):
    sold += 1
    ctx.earn("0.01", f"{{ctx.run_id}}-{{sold}}")
    ctx.spend("{PRICE}", "step")
    tell(ctx.worker, ctx.run_id)
"""
COMMAND = f"""
echo $$ >> command-pids
while :; do
    echo '{{"nova":"spend","amount":"{PRICE}"}}'
    read -r answer <&$NOVA_REPLY_FD && case $answer in *true*) echo $NOVA_RUN >> command;; esac
    sleep 0.1
done
"""
WORKERS = ("thread", "process", "command")


def deploy(rig: Rig) -> None:
    for runtime in ("thread", "process"):
        rig.python(runtime, PAYER, runtime=runtime, every_s=0.1)
    rig.shell("command", COMMAND, every_s=0.1)


def wait_for_payments(rig: Rig, *, but: frozenset[str] = frozenset()) -> None:
    """Every worker pays, in a run that is not one of `but`."""
    until(lambda: all(set(rig.lines(worker)) - but for worker in WORKERS), "all pay", SILENCE_S + 2)


def all_go_on(rig: Rig) -> None:
    paid = {worker: len(rig.lines(worker)) for worker in WORKERS}
    until(lambda: all(len(rig.lines(worker)) > count for worker, count in paid.items()), "all go on paying")


def run_ids(rig: Rig, manager: str) -> frozenset[str]:
    with rig.ledger.read() as conn:
        return frozenset(conn.execute(select(runs.c.id).where(runs.c.manager == manager)).scalars())


def booked_by(rig: Rig, those: frozenset[str]) -> list[tuple[str, str]]:
    """Every entry of these runs."""
    with rig.ledger.read() as conn:
        found = conn.execute(select(entries.c.source, entries.c.id).where(entries.c.run.in_(those)))
        return [(row.source, row.id) for row in found]


def managers_of_runs(rig: Rig) -> set[str]:
    with rig.ledger.read() as conn:
        return set(conn.execute(select(runs.c.manager).distinct()).scalars())


def freeze(rig: Rig, manager: int) -> None:
    """Not in the middle of a write: then its lock makes all others wait, until one of them wakes it."""
    for _ in range(20):
        os.kill(manager, signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(rig.settings.ledger_path, 1.0, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
                return
        except sqlite3.OperationalError:
            os.kill(manager, signal.SIGCONT)
    raise AssertionError("it writes all the time")


def all_is_booked(rig: Rig) -> None:
    """What the ledger has is what the workers were told, but for one payment whose answer met a killed worker."""
    for worker in WORKERS:
        told = len(rig.lines(worker))
        assert usd(PRICE) * told <= rig.booked(worker, "cost") <= usd(PRICE) * (told + 1), worker


def test_a_living_manager_takes_over_from_a_killed_one_within_ten_seconds(rig: Rig) -> None:
    deploy(rig)
    first = rig.start()
    wait_for_payments(rig)
    second = rig.start("d")
    (old,) = managers_of_runs(rig)
    pids = [pid for worker in ("process", "command") for pid in rig.pids(f"{worker}-pids")]
    began = time.monotonic()
    rig.kill(first)
    wait_for_payments(rig, but=run_ids(rig, old))
    assert time.monotonic() - began < TAKEOVER_S
    assert not any(map(lives, pids))
    assert rig.managers() == [second]
    assert rig.stop() == ()
    all_is_booked(rig)
    rig.check()


def test_a_frozen_manager_is_taken_over_from_and_books_nothing_when_it_wakes(rig: Rig) -> None:
    deploy(rig)
    first = rig.start()
    wait_for_payments(rig)
    rig.start("d")
    (old,) = managers_of_runs(rig)
    pids = [pid for worker in ("process", "command") for pid in rig.pids(f"{worker}-pids")]
    os.kill(first, signal.SIGSTOP)
    threading.Event().wait(2.0)
    os.kill(first, signal.SIGCONT)
    all_go_on(rig)
    assert managers_of_runs(rig) == {old}, "a nap makes nobody take over"
    assert all(map(lives, pids))
    began = time.monotonic()
    freeze(rig, first)
    until(lambda: not any(map(lives, pids)), "what it ran is ended", FENCED_S)
    wait_for_payments(rig, but=run_ids(rig, old))
    assert time.monotonic() - began < SILENCE_S
    fenced = run_ids(rig, old)
    booked = booked_by(rig, fenced)
    os.kill(first, signal.SIGCONT)
    until(lambda: rig.manager_ids().get(first, old) != old, "it begins anew, in the same process")
    assert f"manager_fenced manager={old}" in rig.manager_log()
    all_go_on(rig)
    assert run_ids(rig, old) == fenced, "it began a run without a lease"
    assert booked_by(rig, fenced) == booked, "what was fenced has booked something"
    assert rig.stop() == ()
    all_is_booked(rig)
    rig.check()


def test_a_locked_ledger_makes_all_wait_and_nobody_look_dead(rig: Rig) -> None:
    deploy(rig)
    rig.shell("long", "sleep 6; exit 0")
    managers = [rig.start(), rig.start("d")]
    wait_for_payments(rig)
    (holder,) = managers_of_runs(rig)
    with closing(sqlite3.connect(rig.settings.ledger_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Event().wait(10.0)  # longer than a manager may be silent
        other.execute("ROLLBACK")
    all_go_on(rig)
    assert rig.ended("long").status == "succeeded"
    assert set(rig.managers()) == set(managers)
    assert managers_of_runs(rig) == {holder}
    assert not [run for worker in WORKERS for run in rig.runs(worker)], "no run was ended by it"
    assert rig.stop() == ()
    all_is_booked(rig)
    rig.check()


def test_a_manager_whose_threads_hang_begins_anew_and_says_why(rig: Rig) -> None:
    rig.python("hanging", 'tell("hanging"); time.sleep(60); ctx.spend("1.00")', replicas=3, every_s=0.5, timeout_s=0.3)
    rig.bystander()
    pid = rig.start(WORKER_MAX_HUNG="2", WORKER_MAX_CRASHES="100")
    (before,) = rig.manager_ids().values()
    until(lambda: rig.manager_ids().get(pid, before) != before, "it begins anew, in the same process")
    (told,) = [row for row in rig.ledger.audit.log() if row.action == "manager_restarting"]
    assert "hanging#1" in str(told.detail)
    rig.still_works()
    until(lambda: rig.state("hanging") == "parked", "what hangs again soon is parked instead")
    assert rig.stop() == ()
    assert {(run.status, run.crash) for run in rig.runs("hanging")} == {("failed", True)}
    assert rig.booked("hanging", "cost") == usd("0")
    rig.check()
