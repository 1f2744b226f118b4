"""What must hold after the soak. Each check yields what does not, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import psutil
from soak_cast import TIGHT, journal, traders
from sqlalchemy import select

from nova.bootstrap import Nova
from nova.ledger.schema import entries, leases, managers, outbox, reservations, run_accounts, runs

# One that stopped keeps the lease of what it could not end, a thread that hangs, until the next one sees it gone.
_HELD = (
    select(leases.c.worker)
    .join(managers, managers.c.id == leases.c.manager)
    .where(managers.c.stopped_us.is_(None), managers.c.fenced_by.is_(None))
)


def broken(nova: Nova, home: Path, seen: dict[int, float], limit: float) -> Iterator[str]:
    """`seen` are all processes there ever were, with their birth; `limit` is the last budget of the tight ones."""
    yield from _ledger(nova)
    yield from _budgets(nova, limit)
    yield from _overlaps(nova, home)
    yield from _orphans(home, seen)
    for worker, _, kind, _ in traders():
        yield from _money(nova, home, worker)
        if kind != "shell":
            yield from _effects(nova, home, worker)


def _ledger(nova: Nova) -> Iterator[str]:
    verified = nova.ledger.verify()
    if not verified.ok:
        yield f"the ledger does not agree with itself: {verified.first_bad}"
    with nova.ledger.read() as conn:
        for what, query in (
            ("open runs", select(runs.c.id).where(runs.c.ended_us.is_(None))),
            ("accounts of runs", select(run_accounts.c.run)),
            ("open reservations", select(reservations.c.run).where(reservations.c.settled_micros.is_(None))),
            ("leases of managers that did not stop", _HELD),
        ):
            left = conn.execute(query).scalars().all()
            if left:
                yield f"{len(left)} {what} are left: {left[:5]}"


def _budgets(nova: Nova, limit: float) -> Iterator[str]:
    with nova.ledger.read() as conn:
        rows = conn.execute(select(entries.c.worker, entries.c.booked_micros).where(entries.c.side == "cost")).all()
    spent: dict[str, int] = defaultdict(int)
    for row in rows:
        spent["tight" if row.worker in TIGHT else row.worker] += row.booked_micros
    if spent["tight"] > round(limit * 1e6):
        yield f"the department tight has spent {spent['tight']} millionths of {round(limit * 1e6)}"
    if spent["tight"] < round(limit * 1e6) * 0.5:
        yield f"the department tight has spent only {spent['tight']} millionths of {round(limit * 1e6)}: no test of it"


def _overlaps(nova: Nova, home: Path) -> Iterator[str]:
    """By the ledger for all; by the locks that the workers hold themselves for those that can be ended for real."""
    with nova.ledger.read() as conn:
        rows = conn.execute(select(runs).order_by(runs.c.started_us)).all()
    by_instance: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for row in rows:
        by_instance[row.instance].append((row.started_us, row.ended_us or row.started_us, row.id))
    for instance, mine in by_instance.items():
        if instance.endswith("#0"):  # by hand: two people may start one at once
            continue
        for earlier, later in pairwise(mine):
            if later[0] + 1 < earlier[1]:
                yield f"{instance} ran twice at once: {earlier[2]} and {later[2]}, {earlier[1] - later[0]} us"
    for worker, _, kind, _ in traders():
        twice = [line for line in journal(home, worker) if line[0] == "twice" and not line[1].endswith("#0")]
        if twice and kind != "thread":  # a frozen thread holds its lock until it is woken, and then books nothing
            yield f"{worker} ran twice at once by its own lock, {len(twice)} times: {twice[:3]}"


def _orphans(home: Path, seen: dict[int, float]) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            known = seen.get(process.pid) == process.create_time()
            if known or str(home) in " ".join(process.cmdline()) or process.environ().get("NOVA_HOME") == str(home):
                yield f"process {process.pid} is left: {' '.join(process.cmdline())[:200]}"
        except psutil.Error:
            continue


def _money(nova: Nova, home: Path, worker: str) -> Iterator[str]:
    """Between what was confirmed to the worker and what it asked for, run by run; every sale once."""
    lines = journal(home, worker)
    if not any(kind == "paid" for kind, *_ in lines):
        yield f"{worker} has never paid anything"
    with nova.ledger.read() as conn:
        mine = conn.execute(select(entries).where(entries.c.worker == worker)).all()
    cost: dict[str, Decimal] = defaultdict(Decimal)
    for row in mine:
        if row.side == "cost":
            cost[row.run or ""] += Decimal(row.booked_micros) / 1_000_000
    asked: dict[str, dict[str, Decimal]] = defaultdict(dict)
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for kind, _, run, key, amount in lines:
        if kind == "asked":
            asked[run][key] = Decimal(amount)
        elif kind == "refused":
            asked[run].pop(key, None)
        elif kind == "paid":
            paid[run] += Decimal(amount)
            asked[run][key] = Decimal(amount)
    for run in cost.keys() | paid.keys():
        if not paid[run] <= cost[run] <= sum(asked[run].values(), Decimal(0)):
            yield f"{worker}, run {run}: the ledger has {cost[run]}, confirmed {paid[run]}, asked {asked[run]}"
    sold = [row.id for row in mine if row.side == "revenue"]
    earned, tried = ({line[3] for line in lines if line[0] == kind} for kind in ("earned", "earning"))
    if len(sold) != len(set(sold)):
        yield f"{worker}: a sale was booked twice"
    if not earned <= set(sold) <= tried:
        yield f"{worker}: sales lost {sorted(earned - set(sold))[:5]}, made up {sorted(set(sold) - tried)[:5]}"


def _effects(nova: Nova, home: Path, worker: str) -> Iterator[str]:
    """None is lost, none is sent under two keys, none is done without having been sent."""
    lines = journal(home, worker)
    with nova.ledger.read() as conn:
        states = {row.key: row.state for row in conn.execute(select(outbox).where(outbox.c.worker == worker))}
    sent: dict[str, set[str]] = defaultdict(set)
    for kind, _, _, key, idempotency_key in lines:
        if kind == "sent":
            sent[key].add(idempotency_key)
    lost = {key for kind, _, _, key, _ in lines if kind == "put"} - states.keys()
    if lost:
        yield f"{worker}: effects lost: {sorted(lost)[:5]}"
    if two := [key for key, keys in sent.items() if len(keys) > 1]:
        yield f"{worker}: sent under two keys: {two[:5]}"
    if unsent := [key for key, state in states.items() if state == "done" and key not in sent]:
        yield f"{worker}: marked as done, never sent: {unsent[:5]}"
