"""The process of `nova serve`: one socket, one event loop, one thread that looks into what came; and its end."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from nova.api.app import Parts, application
from nova.api.connections import Connection
from nova.api.departures import Departures
from nova.api.feeds import Feeds, licensed
from nova.api.redirect import Redirects
from nova.errors import LockHeld, Refused, UsageProblem
from nova.secrecy import Scrubber
from nova.webhooks.background import Background
from nova.webhooks.intake import Intake
from nova.webhooks.processing import Processor

if TYPE_CHECKING:
    from nova.bootstrap import Nova

log = logging.getLogger(__name__)

END_S = 10.0
_BACKLOG = 2048
_MOST_CONNECTIONS = 1000
_IDLE_S = 75  # longer than usual reverse proxies keep theirs, so that it is never this side that hangs up
_FIRST_GIVEN = 3  # the descriptor of the first socket that systemd hands over


class _Server(uvicorn.Server):
    """Leaves signals to who runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(host: str, port: int) -> socket.socket:
    """Raises LockHeld where somebody listens there already, UsageProblem for what is no address of this machine."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        made = socket.socket(family, kind)
    except OSError as problem:
        raise UsageProblem(f"{host!r} is no address to listen at: {problem.strerror}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as problem:
        made.close()
        raise _cannot_listen(host, port, problem) from None
    return made


def _cannot_listen(host: str, port: int, problem: OSError) -> Exception:
    where = f"port {port} of {host}"
    if problem.errno == errno.EADDRINUSE:
        return LockHeld(f"{where} is taken: something listens there already", hint="choose another --port")
    if problem.errno in (errno.EACCES, errno.EPERM):
        return Refused(f"{where} needs more rights than this user has", hint="choose a --port from 1024 on")
    return UsageProblem(f"{host!r} is no address of this machine", hint="leave --host out, or say 0.0.0.0")


def given_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The one that systemd listens at for this process, where there is one."""
    said = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if said["LISTEN_PID"] != str(os.getpid()) or said["LISTEN_FDS"] != "1":
        return None
    made = socket.socket(fileno=_FIRST_GIVEN)
    made.set_inheritable(False)
    made.setblocking(False)
    return made


def serve(nova: Nova, listener: socket.socket, scrubber: Scrubber, ready: Callable[[], object]) -> None:
    """Returns when it was asked to end, by SIGTERM or SIGINT, and what it had taken is written.

    `nova` has a ledger that commits in groups. `ready` is called when it listens.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(nova, listener, scrubber, ready))


async def _serve(nova: Nova, listener: socket.socket, scrubber: Scrubber, ready: Callable[[], object]) -> None:
    intake = Intake(nova.ledger.store, nova.clock, nova.alerts.send)
    background = Background(nova, Processor(nova), scrubber.add)
    redirects = Redirects(nova.ledger.links, nova.clock, nova.settings.nova_home)
    departures = Departures(nova.ledger.suppressions, nova.settings.nova_home)
    feeds = Feeds(
        lambda: nova.fleet.snapshot().deployments, partial(licensed, nova), nova.settings.nova_home / "data", nova.clock
    )
    server = _Server(_configuration(Parts(intake, lambda: background.endpoints, redirects, departures, feeds)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of each request that is none: strangers send many
    gc.collect()
    gc.freeze()  # what the libraries brought is not looked through again and again while requests wait
    background.start()
    telling = loop.create_task(_tell(server, ready))
    try:
        await server.serve(sockets=[listener])
    finally:
        telling.cancel()
        await intake.drained()
        intake.refusals.tell()
        await asyncio.to_thread(background.stop, END_S)
        log.info("serve_ended", extra={"action": "serve_ended", "taken": intake.taken})


async def _tell(server: uvicorn.Server, ready: Callable[[], object]) -> None:
    while not server.started:
        await asyncio.sleep(0.005)
    ready()


def _configuration(parts: Parts) -> uvicorn.Config:
    """No access log: addresses hold secrets. Headers of proxies change nothing, as nothing depends on who calls."""
    return uvicorn.Config(
        application(parts),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=int(END_S),
        backlog=_BACKLOG,
    )
