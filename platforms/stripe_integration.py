"""Stripe through its own SDK: what came in and went out, the balance, and payments for agents that sell.

What each balance transaction becomes is written in `stripe_mapping`. The line repeats what may be repeated; the SDK
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from nova.errors import NovaError
from nova.money import Money
from platforms.base import BadAnswer, Declined, PlatformFailed, Unreachable, problem_of, shown
from platforms.deadline import session_within
from platforms.events import Balance, EventPage, PlatformEvent, Tag
from platforms.hands import Hands
from platforms.line import Line, Patience
from platforms.stripe_mapping import (
    SOURCE,
    charge_of,
    effect_of,
    events_of,
    expanded,
    id_of,
    moves_own_money,
)
from platforms.stripe_money import from_stripe, to_stripe
from platforms.stripe_tags import Lookup, find_tag

if TYPE_CHECKING:
    from stripe import StripeClient

T = TypeVar("T")
_PAGE = 100
_EXPAND = ["data.source", "data.source.charge", "data.source.payment_intent"]


class Stripe:
    """One account. Every error is a NovaError, and none of them holds the key."""

    name = SOURCE

    def __init__(
        self,
        api_key: str,
        api_base: str | None = None,
        *,
        hands: Hands | None = None,
        timeout_s: tuple[float, float] = (5.0, 30.0),
        total_s: float = 60.0,
        patience: Patience | None = None,
    ) -> None:
        self._key = api_key
        self._base = (api_base or "").rstrip("/")
        self._timeout_s = timeout_s
        self._total_s = total_s
        self.line = Line(SOURCE, self._problem, hands, patience)

    def check(self) -> str:
        """Reads the balance and says in which currencies there is one."""
        held = self.balance()
        currencies = sorted({money.currency for money in (*held.available, *held.pending)})
        return f"answers; balance in {', '.join(currencies) or 'no currency'}"

    def balance(self) -> Balance:
        body = self.call(self.client.v1.balance.retrieve).to_dict()
        return Balance(_amounts(body["available"]), _amounts(body["pending"]))

    def reader(self) -> Reader:
        return Reader(self)

    def balance_events(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[PlatformEvent]:
        """Every event from `since` on, newest first."""
        for page in self.reader().pages(since, after=after):
            yield from page.events

    def take_payment(
        self,
        amount: Money | Decimal | int | str,
        currency: str,
        *,
        metadata: Mapping[str, str],
        idempotency_key: str,
        payment_method: str = "pm_card_visa",
        description: str | None = None,
    ) -> str:
        """Creates and confirms a payment and returns the id of its intent. The same key again is the same payment."""
        money = Money.of(amount, currency.upper())
        params: dict[str, Any] = {
            "amount": to_stripe(money),
            "currency": money.currency.lower(),
            "confirm": True,
            "payment_method": payment_method,
            "payment_method_types": ["card"],
            "metadata": dict(metadata),
        }
        if description is not None:
            params["description"] = description
        intent = self.call(lambda: self.client.v1.payment_intents.create(params, {"idempotency_key": idempotency_key}))  # type: ignore[arg-type]
        if intent.status != "succeeded":
            raise PlatformFailed(f"the payment {intent.id} is {intent.status}")
        return str(intent.id)

    @cached_property
    def _http(self) -> Any:
        import stripe

        return stripe.RequestsClient(timeout=self._timeout_s, session=session_within(self._total_s))

    @cached_property
    def client(self) -> StripeClient:
        """The SDK's client, for what is not wrapped here."""
        import stripe

        stripe.enable_telemetry = False  # it would keep an id of this machine in the operator's home, and send it
        return stripe.StripeClient(
            self._key,
            base_addresses={"api": self._base} if self._base else None,
            max_network_retries=0,  # the line repeats, so that waits are shared and seen
            http_client=self._http,
        )

    def close(self) -> None:
        """Closes this thread's connections."""
        requestor = self.__dict__.pop("_http", None)
        if requestor is not None:
            requestor.close()

    def call(self, request: Callable[[], T], what: str = "read", *, repeatable: bool = True) -> T:
        """Makes a request of the SDK by the line, its errors translated."""
        return self.line.call(what, request, repeatable=repeatable)

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
        if error.http_status is None or error.http_status < 400:
            return BadAnswer("stripe answered with something that is no answer", hint="try again later")
        retry_after = _header(error, "retry-after")
        return problem_of(SOURCE, error.http_status, said, key="STRIPE_API_KEY", retry_after=retry_after)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


class Reader:
    """One reading of an account: what it looks up behind a charge, it looks up once."""

    def __init__(self, stripe: Stripe) -> None:
        self._stripe = stripe
        self._lookup = Lookup(stripe.client, stripe.call)
        self._charges: dict[str, Mapping[str, Any]] = {}
        self._plain = False  # a server that knows neither deep expansion nor the filter

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        """Newest first, nothing older than `since`. An object that a page repeats is told once."""
        floor = None if since is None else int(since.timestamp())
        seen: set[str] = set()
        while True:
            body = self._page(floor, after)
            found = [t for t in body["data"] if floor is None or t["created"] >= floor]
            ended = len(found) < len(body["data"]) or not body["has_more"] or not found
            last = found[-1]["id"] if found else None
            yield self._told([t for t in found if t["id"] not in seen], None if ended else last)
            if ended or last == after:
                return
            seen = {t["id"] for t in found}
            after = last

    def tag(self, event: PlatformEvent) -> Tag | None:
        """Of an event of the page that was read last."""
        charge = next((self._charges[id] for id in event.objects if id in self._charges), None)
        return event.tag or (find_tag(charge, self._lookup) if charge is not None else None)

    def payment_of(self, object: str) -> str | None:
        """The payment intent behind a charge; an intent is its own."""
        if not object.startswith(("ch_", "py_")):
            return object
        charge = self._lookup.charge(object)
        return None if charge is None else id_of(charge.get("payment_intent")) or object

    def _page(self, floor: int | None, after: str | None) -> dict[str, Any]:
        if not self._plain:
            try:
                return self._list(floor, after, _EXPAND)
            except PlatformFailed:
                self._plain = True
        return self._list(None, after, _EXPAND[:1])

    def _list(self, floor: int | None, after: str | None, expand: list[str]) -> dict[str, Any]:
        params: dict[str, Any] = {"limit": _PAGE, "expand": expand}
        if floor is not None:
            params["created"] = {"gte": floor}
        if after is not None:
            params["starting_after"] = after
        client = self._stripe.client
        body: dict[str, Any] = self._stripe.call(lambda: client.v1.balance_transactions.list(params)).to_dict()  # type: ignore[arg-type]
        return body

    def _told(self, transactions: list[dict[str, Any]], after: str | None) -> EventPage:
        unique = list({t["id"]: t for t in transactions}.values())
        own = [t for t in unique if moves_own_money(t)]
        self._charges.clear()
        events = tuple(event for t in unique for event in events_of(self._completed(t)))
        return EventPage(events, len(unique), len(own), tuple(effect_of(t) for t in own), after)

    def _completed(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """With the charge behind a refund or a dispute, also where the server did not expand it."""
        source = expanded(transaction.get("source"))
        if source is None:
            return transaction
        charge = charge_of(transaction)
        charge_id = id_of(source.get("charge"))
        if charge is None and charge_id is not None:
            charge = self._lookup.charge(charge_id)
            if charge is not None:
                transaction = {**transaction, "source": {**source, "charge": charge}}
        if charge is not None:
            self._charges[charge["id"]] = charge
        return transaction


def _amounts(rows: Any) -> tuple[Money, ...]:
    rows = rows if isinstance(rows, list) else [rows]
    return tuple(from_stripe(row["amount"], row["currency"]) for row in rows)


def _header(error: Any, name: str) -> str | None:
    return next((value for key, value in (error.headers or {}).items() if key.lower() == name), None)
