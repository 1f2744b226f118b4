"""A storefront on loopback that speaks Stripe's API, for the demo and for tests. It takes no real money.

What it sends is valid against Stripe's published document. It knows keys, idempotency, filters and pages, and fails on
demand: rate limits, errors, lost answers, slowness, a page that repeats an object.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from nova.demo.stripe_account import Account, Declined, Missing, Sale, Unacceptable, seconds
from nova.demo.stripe_api import Api, NoSuchPath
from nova.demo.stripe_objects import Object
from nova.demo.stripe_params import BadParameter, accepted, decoded
from nova.money import Money

KEY = "sk_test_nevershown00000000000000"
_TAG = "nova_worker"
_DEFAULT_VERSION = "2026-10-28.endive"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what was answered. `request` is without the id: `GET /v1/charges/{id}`."""

    request: str
    path: str
    params: dict[str, Any]
    status: int
    body: Object


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `times` requests whose path starts with `path`.

    `lost` does what was asked and then breaks the connection; `reset` breaks it before.
    """

    kind: Literal["rate_limit", "error", "reset", "lost", "slow", "repeat"]
    path: str = "/v1/"
    times: int = 1
    seconds: float = 0.0
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Object
    headers: dict[str, str] = field(default_factory=dict)


class Storefront:
    """Use it as a context manager: inside, `url` answers. `account` is what it keeps, also reachable without HTTP.

    `version` overrides what requests ask for; without `deep` only one level can be expanded.
    """

    def __init__(
        self,
        account: Account | None = None,
        *,
        key: str = KEY,
        deep: bool = True,
        api: Callable[..., Api] = Api,
        version: str | None = None,
        port: int = 0,
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.account = account or Account()
        self.key = key
        self.exchanges: list[Exchange] = []
        self._api = api(self.account, deep=deep)
        self._version = version
        self._on_exchange = on_exchange
        self._faults: list[Fault] = []
        self._replies: dict[str, tuple[str, _Answer]] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="storefront", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Storefront:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def sell(
        self,
        amount: Money | Decimal | str,
        *,
        worker: str | None = None,
        currency: str = "usd",
        at: datetime | None = None,
    ) -> Sale:
        """A customer pays, without HTTP. The worker is written on the payment intent, and so on its charge."""
        metadata = {} if worker is None else {_TAG: worker}
        with self.account.lock:
            intent = self.account.create_intent(_minor(amount, currency), currency, metadata, at=seconds(at))
            return self.account.confirm(intent, "pm_card_visa", at=seconds(at))

    def subscribe(
        self, amount: Money | Decimal | str, *, worker: str, currency: str = "usd", at: datetime | None = None
    ) -> Object:
        """A customer subscribes and pays; only the subscription names the worker."""
        buyer = self.account.create_customer({})
        return self.account.subscribe(buyer, _minor(amount, currency), currency, {_TAG: worker}, at=seconds(at))

    def refund(
        self,
        sale: Sale,
        amount: Money | Decimal | str | None = None,
        *,
        at: datetime | None = None,
        return_fee: bool = False,
    ) -> Object:
        charge = self.account.get(sale.charge, "charge")
        minor = None if amount is None else _minor(amount, charge["currency"])
        return self.account.refund(charge, minor, at=seconds(at), return_fee=return_fee)

    def dispute(self, sale: Sale, *, at: datetime | None = None) -> Object:
        return self.account.dispute(self.account.get(sale.charge, "charge"), at=seconds(at))

    def fail(self, fault: Fault) -> None:
        """Faults come in the order they were added."""
        with self._lock:
            self._faults.append(fault)

    def handle(self, method: str, target: str, headers: dict[str, str], body: str) -> _Answer | None:
        """None: the connection breaks instead of an answer."""
        parts = urlsplit(target)
        fault = self._next_fault(parts.path)
        if fault is not None:
            if fault.kind == "slow":
                time.sleep(fault.seconds)
            elif fault.kind == "reset":
                return None
            elif fault.kind in ("rate_limit", "error"):
                return _injected(fault)
        repeat = fault is not None and fault.kind == "repeat"
        answer = self._authorised(method, parts.path, parts.query if method == "GET" else body, headers, repeat)
        return None if fault is not None and fault.kind == "lost" else answer

    def _authorised(self, method: str, path: str, text: str, headers: dict[str, str], repeat: bool) -> _Answer:
        if _key_in(headers.get("authorization", "")) != self.key:
            return _error(401, "Invalid API Key provided: sk_test_****************0000")
        name = headers.get("idempotency-key") if method == "POST" else None
        if name is None:
            return self._answer(method, path, text, headers, repeat)
        with self.account.lock:  # the same key at the same time waits for the first
            asked = f"{method} {path} {text}"
            before = self._replies.get(name)
            if before is None:
                answer = self._answer(method, path, text, headers, repeat)
                self._replies[name] = (asked, answer)
                return answer
        if before[0] != asked:
            said = f"Keys for idempotent requests can only be used with the same parameters as at first ({name})."
            return _error(400, said, type="idempotency_error")
        return _Answer(before[1].status, before[1].body, {"Idempotent-Replayed": "true"})

    def _answer(self, method: str, path: str, text: str, headers: dict[str, str], repeat: bool) -> _Answer:
        request, params = f"{method} {path}", {}
        try:
            request = self._api.name_of(method, path)
            params = accepted(request, decoded(text), self._api.accepted)
            version = self._version or headers.get("stripe-version", _DEFAULT_VERSION)
            answer = _Answer(200, self._api.answer(method, path, params, version, repeat=repeat))
        except NoSuchPath:
            answer = _error(404, f"Unrecognized request URL ({method}: {path}).")
        except Missing as missing:
            answer = _error(404, f"No such object: {missing}", param="id", code="resource_missing")
        except BadParameter as bad:
            answer = _error(400, str(bad), param=bad.param, **({"code": bad.code} if bad.code else {}))
        except Unacceptable as problem:
            answer = _error(400, str(problem))
        except Declined:
            answer = _error(
                402, "Your card was declined.", type="card_error", code="card_declined", decline_code="generic_decline"
            )
        self._tell(Exchange(request, path, params, answer.status, answer.body))
        return answer

    def _tell(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)
        if self._on_exchange is not None:
            self._on_exchange(exchange)

    def _next_fault(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and path.startswith(fault.path):
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    store: ClassVar[Storefront]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.store.handle(self.command, self.path, headers, body)
        if answer is None:
            self.close_connection = True
            return
        sent = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(sent)),
            **answer.headers,
        }.items():
            self.send_header(name, value)
        self.send_header("Request-Id", f"req_emulated{len(self.store.exchanges):012d}")
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the exchanges tell."""


def _injected(fault: Fault) -> _Answer:
    if fault.kind == "error":
        return _error(500, "An unknown error occurred", type="api_error")
    limited = _error(429, "Request rate limit exceeded.", code="rate_limit")
    return _Answer(429, limited.body, {} if fault.retry_after is None else {"Retry-After": fault.retry_after})


def _error(status: int, message: str, **more: str) -> _Answer:
    return _Answer(status, {"error": {"type": "invalid_request_error", "message": message, **more}})


def _key_in(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme == "Basic":
        return base64.b64decode(value + "==").decode(errors="replace").partition(":")[0]
    return value


def _minor(amount: Money | Decimal | str, currency: str) -> int:
    from platforms.stripe_money import to_stripe

    return to_stripe(Money.of(amount, currency.upper()))
