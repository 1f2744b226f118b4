"""Who buys again at Stripe: customers, subscriptions and invoices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nova.errors import UsageProblem
from nova.money import Money
from platforms.base import Missing
from platforms.stripe_mapping import id_of
from platforms.stripe_money import to_stripe
from platforms.stripe_objects import Customer, Invoice, Subscription, customer_in, invoice_in, subscription_in
from platforms.stripe_requests import Params, Requests, at, tags

Metadata = Mapping[str, str]


class Customers:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        *,
        email: str | None = None,
        name: str | None = None,
        description: str | None = None,
        payment_method: str | None = None,
        worker: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Customer:
        """`payment_method` becomes the one that invoices are paid by."""
        default: Params | None = None if payment_method is None else {"default_payment_method": payment_method}
        params: Params = {
            "email": email,
            "name": name,
            "description": description,
            "payment_method": payment_method,
            "invoice_settings": default,
            "metadata": tags(self._requests.hands, worker, metadata),
        }
        return customer_in(self._requests.post("customer", "/v1/customers", params, key))

    def change(
        self,
        id: str,
        *,
        email: str | None = None,
        name: str | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Customer:
        params: Params = {"email": email, "name": name, "description": description, "metadata": dict(metadata or {})}
        return customer_in(self._requests.post("customer change", at("customers", id), params, key))

    def delete(self, id: str) -> None:
        """Also ends the customer's subscriptions. Who is gone already is gone."""
        try:
            self._requests.delete("customer delete", at("customers", id))
        except Missing:
            if not self._requests.get(at("customers", id)).get("deleted"):
                raise

    def get(self, id: str) -> Customer:
        said = self._requests.get(at("customers", id))
        if said.get("deleted"):
            raise Missing(f"the customer {id} is deleted")
        return customer_in(said)

    def list(self, *, email: str | None = None, most: int | None = None) -> Iterator[Customer]:
        return map(customer_in, self._requests.rows("/v1/customers", {"email": email}, most))

    def search(self, query: str, *, most: int | None = None) -> Iterator[Customer]:
        return map(customer_in, self._requests.found("/v1/customers", query, most))


class Subscriptions:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        customer: str,
        price: str,
        *,
        quantity: int = 1,
        worker: str | None = None,
        trial_days: int | None = None,
        payment_method: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Subscription:
        """The first invoice is paid at once, by the customer's own method or this one. Raises Declined."""
        params: Params = {
            "customer": customer,
            "items": [{"price": price, "quantity": quantity}],
            "trial_period_days": trial_days,
            "default_payment_method": payment_method,
            "metadata": tags(self._requests.hands, worker, metadata),
        }
        return subscription_in(self._requests.post("subscription", "/v1/subscriptions", params, key))

    def change(
        self,
        id: str,
        *,
        price: str | None = None,
        quantity: int | None = None,
        prorate: bool = True,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Subscription:
        """Of a subscription of one line: another price or quantity, from now on; `prorate` settles the difference."""
        items: list[Params] | None = None
        if price is not None or quantity is not None:
            lines = self.get(id).items
            if len(lines) != 1:
                raise UsageProblem(f"the subscription {id} has {len(lines)} lines", hint="change it in Stripe itself")
            wanted = {"price": price, "quantity": quantity}
            items = [{"id": lines[0].id, **{name: value for name, value in wanted.items() if value is not None}}]
        params: Params = {
            "items": items,
            "proration_behavior": None if items is None or prorate else "none",
            "metadata": dict(metadata or {}),
        }
        return self._changed("subscription change", id, params, key)

    def cancel(self, id: str, *, at_period_end: bool = True, key: str | None = None) -> Subscription:
        """At the end of what is paid; else now, for good. What has ended already is told as it is."""
        if at_period_end:
            return self._changed("subscription cancel", id, {"cancel_at_period_end": True}, key)
        try:
            return subscription_in(self._requests.delete("subscription end", at("subscriptions", id)))
        except Missing:  # an ended one cannot be ended again, as when the first answer was lost
            found = self.get(id)
            if found.status != "canceled":
                raise
            return found

    def resume(self, id: str, *, key: str | None = None) -> Subscription:
        """Takes a cancellation at the period's end back."""
        return self._changed("subscription resume", id, {"cancel_at_period_end": False}, key)

    def get(self, id: str) -> Subscription:
        return subscription_in(self._requests.get(at("subscriptions", id)))

    def list(
        self, *, customer: str | None = None, status: str | None = None, most: int | None = None
    ) -> Iterator[Subscription]:
        """`status`: active, past_due, unpaid, canceled, trialing … or all; without it, all that have not ended."""
        params: Params = {"customer": customer, "status": status}
        return map(subscription_in, self._requests.rows("/v1/subscriptions", params, most))

    def _changed(self, what: str, id: str, params: Params, key: str | None) -> Subscription:
        return subscription_in(self._requests.post(what, at("subscriptions", id), params, key))


class Invoices:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        customer: str,
        lines: Sequence[tuple[str, Money]],
        *,
        days_until_due: int = 30,
        description: str | None = None,
        worker: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Invoice:
        """A draft of these lines, described and priced; `finalize` makes it one that can be paid."""
        if not lines or len({amount.currency for _, amount in lines}) > 1:
            raise UsageProblem("an invoice needs lines, all of one currency")
        params: Params = {
            "customer": customer,
            "currency": lines[0][1].currency.lower(),
            "collection_method": "send_invoice",
            "days_until_due": days_until_due,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "description": description,
            "metadata": tags(self._requests.hands, worker, metadata),
        }
        id = invoice_in(self._requests.post("invoice", "/v1/invoices", params, key)).id
        for number, (words, amount) in enumerate(lines):
            line: Params = {
                "customer": customer,
                "invoice": id,
                "description": words,
                "amount": to_stripe(amount),
                "currency": amount.currency.lower(),
            }
            self._requests.post("invoice line", "/v1/invoiceitems", line, None if key is None else f"{key}-{number}")
        return self.get(id)

    def finalize(self, id: str, *, key: str | None = None) -> Invoice:
        return self._act("finalize", id, key)

    def send(self, id: str, *, key: str | None = None) -> Invoice:
        """Stripe mails it to the customer."""
        return self._act("send", id, key)

    def pay(self, id: str, *, key: str | None = None) -> Invoice:
        """Takes the money by the customer's own method. Raises Declined."""
        return self._act("pay", id, key)

    def void(self, id: str, *, key: str | None = None) -> Invoice:
        return self._act("void", id, key)

    def get(self, id: str) -> Invoice:
        return invoice_in(self._requests.get(at("invoices", id)))

    def list(
        self,
        *,
        customer: str | None = None,
        subscription: str | None = None,
        status: str | None = None,
        most: int | None = None,
    ) -> Iterator[Invoice]:
        """`status`: draft, open, paid, uncollectible or void."""
        params: Params = {"customer": customer, "subscription": subscription, "status": status}
        return map(invoice_in, self._requests.rows("/v1/invoices", params, most))

    def payments(self, id: str) -> tuple[str, ...]:
        """The payment intents that paid it."""
        rows = self._requests.rows("/v1/invoice_payments", {"invoice": id, "status": "paid"})
        found = ((row.get("payment") or {}).get("payment_intent") for row in rows)
        return tuple(intent for one in found if (intent := id_of(one)))

    def _act(self, action: str, id: str, key: str | None) -> Invoice:
        return invoice_in(self._requests.post(f"invoice {action}", at("invoices", id, action), {}, key))
