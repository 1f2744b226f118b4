"""A command's own `Nova`: opened for one call and closed whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nova.cli.params import person

if TYPE_CHECKING:
    from nova.bootstrap import Nova


@contextmanager
def session() -> Iterator[Nova]:
    from nova.bootstrap import build
    from nova.config import load_settings

    os.umask(0o077)  # what is written into NOVA_HOME is its owner's only
    nova = build(load_settings())
    try:
        yield nova
    finally:
        nova.close()


def noted(nova: Nova, by: str | None, action: str, object: str, detail: dict[str, Any]) -> None:
    """Into the audit trail, under the name of who acts."""
    nova.ledger.audit.append(person(by), action, object, detail)
