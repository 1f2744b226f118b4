"""A manager of its own home, for the benchmarks of supervision."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova.bootstrap import Nova, build
from nova.config import load_settings
from workers.control import start_background, stop


@contextmanager
def a_manager(prepare: Callable[[Nova], None], **environ: str) -> Iterator[tuple[Nova, int]]:
    """A home that `prepare` declares, and the process id of its manager, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        os.environ.update({"NOVA_HOME": folder, **environ})
        nova = build(load_settings(cwd=Path(folder)))
        prepare(nova)
        pid = start_background(nova.settings)
        try:
            yield nova, pid
        finally:
            stop(nova.settings, 20.0)
            nova.close()


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise SystemExit("not in time")
        time.sleep(0.002)
    return value
