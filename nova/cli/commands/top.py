"""nova top: the fleet, live."""

from __future__ import annotations

import sys

from nova.cli.session import session
from nova.cli.terminal import is_terminal


def top() -> None:
    """Watch the fleet live on the whole terminal, and act on it.

    What each deployment runs, costs and earns, budgets as bars, and the decisions that wait for you; `?` shows the
    keys. Rates are those of the last minute, cpu counts one core as 100%, the rest is as in `nova workers status`.
    Leaving with `q` touches nothing that runs.

    Example:
      nova top
    """
    import os

    from nova.errors import Unreachable, UsageProblem

    streams = (sys.stdin, sys.stdout, sys.stderr)  # Textual draws on the last
    if not all(map(is_terminal, streams)) or os.environ.get("TERM", "dumb") == "dumb":
        raise UsageProblem("nova top needs a terminal", hint="without one, read `nova workers status --json`")
    with session() as nova:
        from nova.cli.top.app import Top
        from nova.cli.top.source import Acts, Source

        nova.fleet.snapshot()  # what is wrong with the configuration is said before the screen is taken
        app = Top(Source(nova), Acts(nova), nova.settings.tz)
        app.run()
        if not app.finish():
            raise Unreachable(
                "what you asked for last was not done yet", hint="see whether it was: nova workers status"
            )
