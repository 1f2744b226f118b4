"""nova demo."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="End by itself within a minute.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's home, to look around in it.")] = False,
) -> None:
    """Show the whole job on a throw-away fleet.

    Real workers, a storefront on this machine, a real sync and the real engine; no key and no network. It shows a
    winner scaled, a loser killed, a spender stopped by its budget, a crasher parked and a big decision waiting for you.
    The exit code is 0 only if each was seen.

    Example:
      nova demo --quick
    """
    from rich.console import Console

    from nova.cli.terminal import colourful
    from nova.demo.run import run_demo

    code = run_demo(quick=quick, keep=keep, console=Console(no_color=not colourful(), highlight=False))
    if code:
        raise typer.Exit(code)
