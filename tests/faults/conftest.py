from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .rig import Rig


@pytest.fixture
def rig(home: Path) -> Iterator[Rig]:
    """At the end every manager is stopped, and the ledger must hold together whatever happened."""
    rig = Rig(home)
    yield rig
    rig.close()
