"""The thread of `nova serve` that looks into what was received, and learns which senders were declared meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nova.config import variables
from nova.errors import NovaError
from nova.webhooks.endpoints import Endpoints, endpoints
from nova.webhooks.processing import Processor

if TYPE_CHECKING:
    from nova.webhooks.office import Office

log = logging.getLogger(__name__)

_LOOK_S = 0.5
_AFTER_TROUBLE_S = 5.0
_READ_AGAIN_S = 10.0  # what `.env` files say


class Background:
    """`secrets_known` is told the secrets of declared senders, so that no log shows them."""

    def __init__(self, nova: Office, processor: Processor, secrets_known: Callable[[tuple[str, ...]], object]) -> None:
        self._nova = nova
        self._processor = processor
        self._secrets_known = secrets_known
        self._stop = threading.Event()
        self._token: object = None
        self._read_at = float("-inf")
        self._wanting: Mapping[str, str] = {}
        self.endpoints = self._read()
        self._thread = threading.Thread(target=self._run, name="nova-webhooks", daemon=True)

    def start(self) -> None:
        self._nova.ledger.store.checkpoint_beside()
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Waits for what is under way; what waits is looked into by who comes next."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            wait_s = _LOOK_S
            try:
                self._refresh()
                self._nova.ledger.store.checkpoint()
                if self._processor.step(self._stop.is_set):
                    wait_s = 0.0
            except NovaError as problem:
                wait_s = _AFTER_TROUBLE_S
                log.warning("webhooks_wait", extra={"action": "webhooks_wait", "error": problem.message})
            except Exception:
                wait_s = _AFTER_TROUBLE_S
                log.exception("webhooks_failed", extra={"action": "webhooks_failed"})

    def _refresh(self) -> None:
        due = self._nova.clock.monotonic() - self._read_at >= _READ_AGAIN_S
        if due or self._nova.fleet.token() != self._token:
            self.endpoints = self._read()

    def _read(self) -> Endpoints:
        self._token, self._read_at = self._nova.fleet.token(), self._nova.clock.monotonic()
        found = endpoints(self._nova.settings, self._nova.fleet.snapshot().webhooks, variables())
        self._secrets_known(found.secrets)
        for name, why in found.wanting.items():
            if name in found.senders and self._wanting.get(name) != why:
                log.warning("webhook_not_taken", extra={"action": "webhook_not_taken", "endpoint": name, "why": why})
        self._wanting = found.wanting
        return found
