"""The manager's process, `python -m nova.daemon`: hands the manager the sync and the cycle, and says when it is up."""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

from nova.clock import parse_duration
from nova.deployment.notify import Notifier
from nova.errors import NovaError, Unreachable
from workers.image import Image, hold_signals, let_signals_in, reap
from workers.lock import HANDED

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from nova.webhooks.processing import Processor
    from workers.housekeeping import PeriodicTask
    from workers.manager import ManagerSettings, Restart, WorkerManager

log = logging.getLogger("nova.daemon")

SYNC_EVERY_S = 900.0
WEBHOOKS_EVERY_S = 30.0
ATTRIBUTE_EVERY_S = 60.0  # payments of which something new is known
SHARE_EVERY_S = 600.0  # shared costs of a day that has ended
_OPEN_AGAIN_S = 1.0
_ROUNDS = 50


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="nova.daemon")
    parser.add_argument("--department", default="")
    parser.add_argument("--with-autonomous", metavar="DURATION")
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--ready-fd", type=int, default=-1)
    options = parser.parse_args(argv)
    return serve(
        department=options.department,
        autonomous_s=parse_duration(options.with_autonomous) if options.with_autonomous else None,
        foreground=options.foreground,
        ready_fd=options.ready_fd,
    )


def serve(
    *, department: str = "", autonomous_s: float | None = None, foreground: bool = False, ready_fd: int = -1
) -> int:
    """Runs a manager until it is signalled; the exit code. In the foreground it logs to standard error."""
    image = Image.of_this_process()
    reap()
    notifier = Notifier.from_environment(os.environ)
    report = _Readiness(ready_fd, notifier)
    os.umask(0o077)
    if notifier.listening:
        faulthandler.enable()  # the watchdog ends it by SIGABRT: then the journal shows where every thread stood
    nova: Nova | None = None
    manager: WorkerManager | None = None
    restart: Restart | None = None
    try:
        from nova.bootstrap import build
        from nova.config import ensure_home, load_settings
        from workers.control import managed_department
        from workers.printed import captured

        settings = load_settings()
        nova = build(settings, grouped=True)
        ensure_home(settings)
        configure_logging(nova, foreground=foreground)
        if HANDED in os.environ:
            _await_ledger(nova)
        manager = build_manager(nova, managed_department(settings, department), autonomous_s)
        _raise_file_limit()
        _obey_signals(manager)
        with captured():
            restart = manager.run(report.ready, notifier)
    except NovaError as problem:
        log.error("manager_failed", extra={"action": "manager_failed", "error": problem.message})
        if not report.failed(problem):
            print(f"nova: {problem.message}", *([problem.hint] if problem.hint else []), sep="\n", file=sys.stderr)
        return problem.exit_code
    except Exception as problem:
        log.exception("manager_failed", extra={"action": "manager_failed"})
        report.failed(NovaError(f"the manager could not start: {type(problem).__name__}: {problem}"))
        return 1
    finally:
        if nova is not None:
            _close(nova, restart)
        logging.shutdown()
    return 0 if manager is None or restart is None else _again(image, manager, restart, notifier)


def _await_ledger(nova: Nova) -> None:
    """One that starts itself again waits until its ledger can be opened, or until it is asked to stop: nobody else
    would start it once the disk has space again.
    """
    while True:
        try:
            with nova.ledger.read():
                return
        except NovaError as problem:
            if type(problem) not in (NovaError, Unreachable) or signal.sigpending():
                raise
            log.error("manager_waits", extra={"action": "manager_waits", "error": problem.message})
            time.sleep(_OPEN_AGAIN_S)


def _close(nova: Nova, restart: Restart | None) -> None:
    """One that was fenced has threads that must not go on a moment longer: only money that is gone is still written."""
    if restart is not None and restart.fenced:
        nova.ledger.close(1.0)
    else:
        nova.close()


def _again(image: Image, manager: WorkerManager, restart: Restart, notifier: Notifier) -> int:
    """Does not return, unless it was asked to stop meanwhile or there is nothing to become."""
    hold_signals()
    code = 0
    if not manager.asked_to_stop:
        notifier.restarting(restart.why)
        try:
            image.again(restart.environ)
        except OSError as problem:
            print(f"nova: the manager could not start itself again: {problem.strerror}", file=sys.stderr)
            code = 1
    manager.stay()
    return code


def build_manager(nova: Nova, department: str, autonomous_s: float | None) -> WorkerManager:
    """A manager over the parts of `nova`, with its chores."""
    from workers.manager import WorkerManager

    return WorkerManager(
        nova.fleet,
        nova.ledger,
        manager_settings(nova, department),
        nova.clock,
        alerts=nova.alerts,
        exchange=nova.exchange,
        tasks=periodic_tasks(nova, autonomous_s),
    )


def manager_settings(nova: Nova, department: str = "") -> ManagerSettings:
    from nova.config import secret_values, variables
    from nova.money import Money
    from nova.secrecy import Scrubber
    from workers.agents.registry import resolver
    from workers.enforcement import CrashPolicy
    from workers.manager import ManagerSettings

    settings = nova.settings
    return ManagerSettings(
        home=settings.nova_home,
        run_dir=settings.run_dir,
        logs_dir=settings.logs_dir,
        agents=resolver(settings.nova_home),
        default_daily=Money.of(settings.max_daily_budget, settings.nova_currency),
        department=department,
        variables=variables,
        public_url=settings.nova_public_url,
        max_hung=settings.worker_max_hung,
        crash_policy=CrashPolicy(
            max_crashes=settings.worker_max_crashes,
            cooldown=timedelta(seconds=settings.worker_crash_cooldown),
            auto_restart=settings.worker_auto_restart,
        ),
        scrubber=Scrubber(secret_values(settings)),
    )


def periodic_tasks(nova: Nova, autonomous_s: float | None) -> list[PeriodicTask]:
    """The sync of the platforms that have a key, the autonomous cycle where it was asked for, the shared costs of ended
    days, payments to be divided again, webhooks that wait, and bounds on output.
    """
    from nova.revenue.attribution.settle import settle_due
    from nova.revenue.shared import book_due
    from platforms.registry import configured_revenue
    from workers.control import OUTPUT
    from workers.housekeeping import PeriodicTask
    from workers.logging_setup import trim

    output = nova.settings.logs_dir / OUTPUT
    tasks = [
        PeriodicTask("output", 60.0, lambda: trim(output)),
        PeriodicTask("platform_calls", 60.0, nova.note_platform_calls, first_s=60.0),
        PeriodicTask("shared_costs", SHARE_EVERY_S, lambda: book_due(nova)),
        PeriodicTask("attribution", ATTRIBUTE_EVERY_S, lambda: settle_due(nova)),
    ]
    tasks.append(PeriodicTask("webhooks", WEBHOOKS_EVERY_S, WaitingWebhooks(nova)))
    if configured_revenue(nova.settings):
        tasks.append(PeriodicTask("sync", SYNC_EVERY_S, RevenueSync(nova), first_s=2.0))
    if autonomous_s is not None:
        tasks.append(PeriodicTask("cycle", autonomous_s, lambda: _cycle(nova), first_s=min(5.0, autonomous_s)))
    return tasks


class WaitingWebhooks:
    """Looks into what `nova serve` received and could not look into itself any more, or was asked to again."""

    def __init__(self, nova: Nova) -> None:
        self._nova = nova
        self._processor: Processor | None = None

    def __call__(self) -> None:
        if not self._nova.ledger.deliveries.endpoints_due(self._nova.clock.now()):
            return
        from nova.webhooks.processing import Processor

        self._processor = self._processor or Processor(self._nova)
        for _ in range(_ROUNDS):
            if not self._processor.step():
                return


class RevenueSync:
    """A sync, and a word to people when what is known of revenue becomes stale, whether or not a cycle looks at it."""

    def __init__(self, nova: Nova) -> None:
        self._nova = nova
        self._stale: tuple[str, ...] = ()

    def __call__(self) -> None:
        from nova.revenue.sync import sync_all

        why = "its platform has not answered for a while"
        try:
            sync_all(self._nova)
        except NovaError as problem:
            why = problem.message
            raise
        finally:
            self._tell(why)

    def _tell(self, why: str) -> None:
        from nova.autonomous.background import read_syncs
        from platforms.registry import configured_revenue

        nova = self._nova
        sources = frozenset(configured_revenue(nova.settings))
        with nova.ledger.read() as conn:
            syncs = read_syncs(conn, sources)
        stale = syncs.stale(sources, nova.policy(), nova.clock.now())
        if stale and stale != self._stale:
            body = f"{why}\nDecisions that need it wait until `nova revenue sync` succeeds."
            nova.alerts.send("revenue_stale", f"revenue is stale: {', '.join(stale)}", body)
        self._stale = stale


def _cycle(nova: Nova) -> None:
    from nova.autonomous.cycle import run_cycle

    run_cycle(nova)


def configure_logging(nova: Nova, *, foreground: bool) -> None:
    """To NOVA_HOME/logs/manager.log, which rotates, or to standard error."""
    from nova.config import secret_values
    from nova.secrecy import Scrubber
    from workers.logging_setup import configure
    from workers.logs import MANAGER_LOG

    settings = nova.settings
    path = None if foreground else settings.logs_dir / MANAGER_LOG
    configure(settings.nova_log_level, settings.nova_log_format, path, Scrubber(secret_values(settings)))


class _Readiness:
    """Tells who started this process that it is up, or why not: one JSON line on a descriptor; systemd in its way."""

    def __init__(self, fd: int, notifier: Notifier) -> None:
        self._fd = fd
        self._notifier = notifier
        if fd >= 0:
            os.set_inheritable(fd, False)

    def ready(self) -> None:
        log.info("manager_ready", extra={"action": "manager_ready", "pid": os.getpid()})
        self._say({"pid": os.getpid()})
        self._notifier.ready()

    def failed(self, problem: NovaError) -> bool:
        """False when nobody listens."""
        return self._say({"error": {"code": problem.exit_code, "message": problem.message, "hint": problem.hint}})

    def _say(self, body: dict[str, object]) -> bool:
        if self._fd < 0:
            return False
        fd, self._fd = self._fd, -1
        try:
            os.write(fd, json.dumps(body).encode() + b"\n")
            os.close(fd)
        except OSError:
            return False
        return True


def _obey_signals(manager: WorkerManager) -> None:
    """A handler only asks; the loop acts."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        manager.ask_to_stop()

    def look(_number: int, _frame: FrameType | None) -> None:
        manager.wake()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCONT, look)  # it was stopped: another manager may have taken over meanwhile
    let_signals_in()


def _raise_file_limit() -> None:
    """A running command takes four descriptors, and the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def leave(code: int) -> None:
    """Threads of agents that do not end must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
