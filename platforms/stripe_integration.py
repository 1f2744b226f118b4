"""Stripe through its own SDK: what came in and went out, the balance, and everything an agent sells with.

What each balance transaction becomes is written in `stripe_mapping`. The line repeats what may be repeated; the SDK
does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nova.clock import Clock, SystemClock
from nova.errors import NovaError
from nova.money import Money
from platforms.base import BadAnswer, Conflicting, Declined, Unreachable, problem_of, shown, without
from platforms.deadline import session_within
from platforms.events import Balance, PlatformEvent, SubscriptionFact
from platforms.hands import Hands
from platforms.line import Line, Patience
from platforms.stripe_billing import Customers, Invoices, Subscriptions
from platforms.stripe_catalog import Checkouts, Links, Prices, Products
from platforms.stripe_facts import facts_of
from platforms.stripe_mapping import SOURCE
from platforms.stripe_money import from_stripe
from platforms.stripe_payments import Disputes, Payments, Payouts, Refunds
from platforms.stripe_reader import Reader
from platforms.stripe_requests import Requests

if TYPE_CHECKING:
    from stripe import StripeClient

    from platforms.connections import Connections


class Stripe:
    """One account. Every error is a NovaError, and none of them holds the key.

    The whole of an answer has `total_s` to come; `timeout_s` is for connecting, and for a silence.
    """

    name = SOURCE

    def __init__(
        self,
        api_key: str,
        api_base: str | None = None,
        *,
        hands: Hands | None = None,
        connections: Connections | None = None,
        timeout_s: tuple[float, float] = (5.0, 30.0),
        total_s: float = 60.0,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._key = api_key
        self._base = (api_base or "").rstrip("/")
        self._timeout_s = timeout_s
        self._connections = connections
        self._total_s = total_s
        self._clock = clock or SystemClock()
        self.line = Line(SOURCE, self._problem, hands, patience)
        self.requests = Requests(self.line, self._send)

    def check(self) -> str:
        """Reads the balance and says in which currencies there is one."""
        held = self.balance()
        currencies = sorted({money.currency for money in (*held.available, *held.pending)})
        return f"answers; balance in {', '.join(currencies) or 'no currency'}"

    def balance(self) -> Balance:
        body = self.requests.get("/v1/balance", what="balance")
        return Balance(_amounts(body["available"]), _amounts(body["pending"]))

    def reader(self) -> Reader:
        return Reader(self.requests)

    def balance_events(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[PlatformEvent]:
        """Every event from `since` on, newest first."""
        for page in self.reader().pages(since, after=after):
            yield from page.events

    def subscription_facts(self, since: datetime | None = None) -> Iterator[SubscriptionFact]:
        """What became of subscriptions, for what comes back every month."""
        return facts_of(self.requests, since, self._clock.now())

    @cached_property
    def payments(self) -> Payments:
        return Payments(self.requests)

    @cached_property
    def refunds(self) -> Refunds:
        return Refunds(self.requests)

    @cached_property
    def disputes(self) -> Disputes:
        return Disputes(self.requests)

    @cached_property
    def payouts(self) -> Payouts:
        return Payouts(self.requests)

    @cached_property
    def customers(self) -> Customers:
        return Customers(self.requests)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        return Subscriptions(self.requests)

    @cached_property
    def invoices(self) -> Invoices:
        return Invoices(self.requests)

    @cached_property
    def products(self) -> Products:
        return Products(self.requests)

    @cached_property
    def prices(self) -> Prices:
        return Prices(self.requests)

    @cached_property
    def links(self) -> Links:
        return Links(self.requests)

    @cached_property
    def checkouts(self) -> Checkouts:
        return Checkouts(self.requests)

    def _send(self, method: str, path: str, **params: Any) -> Any:
        return self._client.raw_request(method, path, **params)

    @cached_property
    def _http(self) -> Any:
        if self._connections is None:
            return self._opened()
        return self._connections.of(SOURCE, self._opened, lambda one: one.close())

    def _opened(self) -> Any:
        import stripe

        return stripe.RequestsClient(timeout=self._timeout_s, session=session_within(self._total_s))

    @cached_property
    def _client(self) -> StripeClient:
        import stripe

        stripe.enable_telemetry = False  # it would keep an id of this machine in the operator's home, and send it
        return stripe.StripeClient(
            self._key,
            base_addresses={"api": self._base} if self._base else None,
            max_network_retries=0,  # the line repeats, so that waits are shared and seen
            http_client=self._http,
        )

    def close(self) -> None:
        """Closes the connections, unless they are its process's; a call after that opens new ones."""
        requestor = self.__dict__.pop("_http", None)
        self.__dict__.pop("_client", None)
        if requestor is not None and self._connections is None:
            requestor.close()

    def _problem(self, error: Exception) -> NovaError | None:
        import stripe

        if not isinstance(error, stripe.StripeError):
            return None
        if isinstance(error, stripe.APIConnectionError):
            where = f" at {shown(self._base)}" if self._base else ""
            return Unreachable(
                f"stripe cannot be reached{where}", hint="check the network, and STRIPE_API_BASE where it is set"
            )
        said = self._without_key(str(error.user_message or ""))
        if isinstance(error, stripe.CardError):
            return Declined(f"stripe declined: {said}")
        if isinstance(error, stripe.IdempotencyError):
            return Conflicting(f"stripe knows another request under this idempotency key: {said}")
        if _code(error) == "idempotency_key_in_use":
            return Unreachable("stripe is still at work on the same request", hint="try again later")
        if error.http_status is None or error.http_status < 400:
            return BadAnswer("stripe answered with something that is no answer", hint="try again later")
        retry_after = _header(error, "retry-after")
        return problem_of(SOURCE, error.http_status, said, key="STRIPE_API_KEY", retry_after=retry_after)

    def _without_key(self, text: str) -> str:
        return without(text, [self._key])


def _amounts(rows: Any) -> tuple[Money, ...]:
    rows = rows if isinstance(rows, list) else [rows]
    return tuple(from_stripe(row["amount"], row["currency"]) for row in rows)


def _code(error: Any) -> str | None:
    """The SDK knows it of some errors only."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    said = body.get("error")
    return said.get("code") if isinstance(said, dict) else None


def _header(error: Any, name: str) -> str | None:
    return next((value for key, value in (error.headers or {}).items() if key.lower() == name), None)
