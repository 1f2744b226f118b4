"""nova serve: the process that takes webhooks and leads tracked links on."""

from __future__ import annotations

from typing import Annotated

import typer

from nova.cli.output import emit
from nova.cli.params import AsJson
from nova.cli.terminal import note


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; this machine alone if left out.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="At which port; 0: a free one.")
    ] = 8811,
    json: AsJson = False,
) -> None:
    """Take webhooks and lead tracked links on, until it is stopped.

    What is taken is verified, kept, acknowledged, and then looked into. Put a reverse proxy with HTTPS in front of it,
    as docs/webhooks.md shows, and set NOVA_PUBLIC_URL to its address. Where something listens at the port already, the
    exit code is 75.

    Example:
      nova serve --port 8811
    """
    import os
    import sys

    from nova.api.server import given_socket, listening
    from nova.api.server import serve as run
    from nova.bootstrap import build
    from nova.config import ensure_home, load_settings, secret_values
    from nova.deployment.notify import Notifier
    from nova.secrecy import Scrubber
    from workers.logging_setup import configure

    os.umask(0o077)
    settings = load_settings()
    ensure_home(settings)
    notifier = Notifier.from_environment(os.environ)
    listener = given_socket(os.environ) or listening(host, port)
    scrubber = Scrubber(secret_values(settings))
    configure(settings.nova_log_level, settings.nova_log_format, None, scrubber)
    nova = build(settings, grouped=True, manages=False)

    def ready() -> None:
        where = listener.getsockname()
        if json:
            emit({"address": _shown(where), "pid": os.getpid()})
            sys.stdout.flush()
        else:
            note(f"nova listens at {_shown(where)}")
        if not _is_local(where):
            note("others can reach it without HTTPS there: put a reverse proxy in front of it, see docs/webhooks.md")
        notifier.ready()

    try:
        run(nova, listener, scrubber, ready)
    finally:
        nova.close()


def _shown(where: object) -> str:
    if not isinstance(where, tuple):
        return str(where)
    host, port = where[0], where[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_local(where: object) -> bool:
    import ipaddress

    return not isinstance(where, tuple) or ipaddress.ip_address(where[0].partition("%")[0]).is_loopback
