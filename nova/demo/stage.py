"""The demo's stage: a throw-away home, a storefront on loopback, and a real manager in its own process."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova.bootstrap import Nova, build
from nova.config import VARIABLES, ensure_home, load_settings
from nova.demo.cast import POLICY, SETTINGS, cast
from nova.demo.storefront import Storefront
from workers.control import start_background, stop

_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    nova: Nova
    storefront: Storefront
    home: Path
    manager: int  # its process id


@contextmanager
def stage(*, keep: bool) -> Iterator[Stage]:
    """Everything is up inside the block; after it nothing is left, but for the home when it is to be kept."""
    home = Path(tempfile.mkdtemp(prefix="nova-demo-"))
    try:
        with Storefront() as storefront:
            environ = _environment(home, storefront)
            nova = build(load_settings(environ, cwd=home))
            ensure_home(nova.settings)
            try:
                with _signals(_interrupt, signal.SIGTERM, signal.SIGHUP):
                    _declare(nova)
                    manager = start_background(nova.settings, environ=environ)
                    yield Stage(nova, storefront, home, manager)
            finally:
                with _signals(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    stop(nova.settings, _STOP_S)
                    nova.close()
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _signals(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """A manager must not outlive its demo, however that is ended."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _environment(home: Path, storefront: Storefront) -> dict[str, str]:
    """Every setting of the operator's own is emptied: the demo touches neither their keys nor their alerts."""
    return {
        **{name: value for name, value in os.environ.items() if name not in VARIABLES},
        **dict.fromkeys(VARIABLES, ""),
        **SETTINGS,
        "NOVA_HOME": str(home),
        "STRIPE_API_KEY": storefront.key,
        "STRIPE_API_BASE": storefront.url,
    }


def _declare(nova: Nova) -> None:
    nova.fleet.set_policy(POLICY)
    nova.fleet.set_autonomous(True)
    for one in cast():
        nova.fleet.deploy(one)
        nova.ledger.deployments.note(one.name, one.department, one.agent)
