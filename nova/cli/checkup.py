"""The checks of `nova doctor`. Each looks at one thing and says what it found; none stops the others."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nova.cli import render
from nova.errors import ConfigInvalid, NovaError

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from nova.config import Settings

_LITTLE_SPACE = 200_000_000
_SOME_SPACE = 2_000_000_000
_SKEW = timedelta(minutes=1)
_OLDEST_YEAR = 2026
_RECENTLY = timedelta(hours=3)
_SOME_ERRORS, _HIGH_RATE = 3, 0.2  # of a platform's calls, to be worth a warning


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` is ok, warning or wrong."""

    check: str
    state: str
    found: str
    advice: str = ""


def checkup() -> list[Finding]:
    from nova.bootstrap import build
    from nova.config import load_settings

    try:
        settings = load_settings()
    except ConfigInvalid as problem:
        return [*_wrong_settings(problem), *_versions()]
    nova = build(settings)
    try:
        findings = [Finding("configuration", "ok", f"NOVA_HOME is {settings.nova_home}"), *_unknown(settings)]
        for check in (_keys, _disk, _permissions):
            findings += check(settings)
        for name, look in _LOOKS.items():
            findings += [one for one in _guarded(name, look, nova) if one.found not in {two.found for two in findings}]
        return [*findings, *_versions()]
    finally:
        nova.close()


def _wrong_settings(problem: ConfigInvalid) -> Iterator[Finding]:
    _, *wrong = problem.message.splitlines()
    for line in wrong or [problem.message]:
        yield Finding("configuration", "wrong", line.strip(), problem.hint or "")


def _unknown(settings: Settings) -> Iterator[Finding]:
    """A limit that is misspelt is no limit."""
    from nova.config import unknown_names

    for name, near in unknown_names(settings.nova_home).items():
        advice = f"did you mean {near}?" if near else "take it out"
        yield Finding(
            "configuration", "warning", f"{settings.nova_home / '.env'} sets {name}, no setting of nova", advice
        )


def _guarded(name: str, look: Callable[[Nova], Iterator[Finding]], nova: Nova) -> list[Finding]:
    try:
        return list(look(nova))
    except NovaError as problem:
        return [Finding(name, "wrong", problem.message, problem.hint or "")]
    except OSError as problem:
        return [Finding(name, "wrong", f"{problem.filename or ''}: {problem.strerror}", "look at the file")]


def _versions() -> Iterator[Finding]:
    from nova import __version__

    found = f"nova {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    yield Finding("versions", "ok", f"{found}, {platform.system()} {platform.machine()}")


def _keys(settings: Settings) -> Iterator[Finding]:
    from platforms.registry import known_platforms

    states = known_platforms(settings)
    have = [state.name for state in states if state.configured]
    lack = [state.name for state in states if not state.configured]
    found = f"set for {', '.join(have)}" if have else "none set"
    yield Finding("keys", "ok", f"{found}; not configured: {', '.join(lack)}" if lack else found)


def _disk(settings: Settings) -> Iterator[Finding]:
    place = next(path for path in (settings.nova_home, *settings.nova_home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    state = "wrong" if free < _LITTLE_SPACE else "warning" if free < _SOME_SPACE else "ok"
    yield Finding("disk", state, f"{render.size(free)} free at {place}", "" if state == "ok" else "free some space")


def _permissions(settings: Settings) -> Iterator[Finding]:
    home = settings.nova_home
    if not home.exists():
        yield Finding("permissions", "ok", f"{home} does not exist yet")
        return
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("permissions", "wrong", f"{home} cannot be written", "run nova as its owner, or set NOVA_HOME")
        return
    open_ones = [path for path in _private(home) if _mode(path) & 0o077]
    if not open_ones:
        yield Finding("permissions", "ok", f"{home} and what is in it are yours only")
        return
    for path in open_ones:
        wanted = "700" if path.is_dir() else "600"
        yield Finding("permissions", "wrong", f"{path} has mode {_mode(path):o}", f"chmod {wanted} {path}")


def _private(home: Path) -> Iterator[Path]:
    yield home
    for pattern in (".env", "fleet.json*", "*.db", "*.db-wal", "*.db-shm", "logs", "run", "logs/workers"):
        yield from sorted(home.glob(pattern))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _clock(nova: Nova) -> Iterator[Finding]:
    """A machine whose clock was set back would book into the past and start nothing until it catches up."""
    now = nova.clock.now()
    if now.year < _OLDEST_YEAR:
        yield Finding("clock", "wrong", f"it says {render.when(now)}", "set the machine's clock")
        return
    newest = [path.stat().st_mtime for path in _private(nova.settings.nova_home) if path.is_file()]
    ahead = max(newest, default=0) - time.time()
    recorded = _newest_record(nova)
    if recorded is not None:
        ahead = max(ahead, (recorded - now).total_seconds())
    if ahead > _SKEW.total_seconds():
        words = f"the newest record is {render.duration(ahead)} ahead of it"
        yield Finding("clock", "wrong", words, "set the machine's clock, or wait until it has caught up")
    else:
        yield Finding("clock", "ok", f"{render.when(now)}, days as in {nova.settings.nova_timezone}")


def _newest_record(nova: Nova) -> datetime | None:
    if not nova.settings.ledger_path.exists():
        return None
    from nova.ledger.vitals import vitals

    return vitals(nova.ledger.store).newest


def _fleet(nova: Nova) -> Iterator[Finding]:
    number = len(nova.fleet.snapshot().deployments)
    yield Finding("fleet", "ok", f"{render.count(number, 'deployment')}")


def _ledger(nova: Nova) -> Iterator[Finding]:
    if not nova.settings.ledger_path.exists():
        yield Finding("ledger", "ok", "nothing is recorded yet")
        return
    from nova.ledger.vitals import vitals

    found = vitals(nova.ledger.store)
    if found.damage is None:
        size = render.size(nova.settings.ledger_path.stat().st_size)
        yield Finding("ledger", "ok", f"schema {found.schema}, {size}; `nova ledger verify` recounts it")
    else:
        yield Finding("ledger", "wrong", found.damage, "restore a backup with `nova ledger restore FILE`")


def _policy(nova: Nova) -> Iterator[Finding]:
    snapshot = nova.fleet.snapshot()
    policy = nova.policy(snapshot)
    switch = nova.settings.autonomous_enabled if snapshot.autonomous is None else snapshot.autonomous
    yield Finding("policy", "ok", f"version {policy.version}, autonomy {'on' if switch else 'off'}")


def _manager(nova: Nova) -> Iterator[Finding]:
    from workers.control import running_managers

    managers = running_managers(nova.settings)
    for manager in managers:
        yield Finding("manager", "ok", f"running with process id {manager.pid}")
    if not managers:
        idle = not nova.fleet.snapshot().deployments
        yield Finding("manager", "ok" if idle else "warning", "not running", "" if idle else "nova workers start")


def _platforms(nova: Nova) -> Iterator[Finding]:
    """One that fails now and then is the rule; one that fails often holds up what lives on it."""
    if not nova.settings.ledger_path.exists():
        return
    now = nova.clock.now()
    for name, sums in sorted(nova.ledger.platform_calls.sums(now - _RECENTLY, now).items()):
        told = f"{name}: {render.count(sums.calls, 'call')} lately, {sums.errors} failed"
        often = sums.errors >= _SOME_ERRORS and sums.error_rate >= _HIGH_RATE
        if often:
            yield Finding("platforms", "warning", f"{told}, last: {sums.last_error}", f"nova platforms health {name}")
        else:
            yield Finding("platforms", "ok", told)


def _webhooks(nova: Nova) -> Iterator[Finding]:
    from nova.config import variables

    known = variables()
    for sender in nova.fleet.snapshot().webhooks:
        if not known.get(sender.secret, "").strip():
            missing = f"{sender.name} is not taken: {sender.secret} is not set"
            yield Finding("webhooks", "warning", missing, f"put {sender.secret} into .env")
    if not nova.settings.ledger_path.exists():
        return
    counts: dict[str, int] = {}
    for one in nova.ledger.deliveries.counts():
        counts[one.state] = counts.get(one.state, 0) + one.deliveries
    if counts.get("dead"):
        dead = f"{render.count(counts['dead'], 'delivery', 'deliveries')} could not be used"
        yield Finding("webhooks", "warning", dead, "nova webhooks dead")
    elif counts:
        yield Finding("webhooks", "ok", f"{counts.get('done', 0)} used lately, {counts.get('waiting', 0)} waiting")


_LOOKS: dict[str, Callable[[Nova], Iterator[Finding]]] = {
    "fleet": _fleet,
    "policy": _policy,
    "ledger": _ledger,
    "clock": _clock,
    "manager": _manager,
    "platforms": _platforms,
    "webhooks": _webhooks,
}
