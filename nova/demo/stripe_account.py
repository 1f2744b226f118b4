"""One emulated Stripe account: what is sold, refunded, disputed and paid out, and the balance that follows from it."""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from nova.clock import Clock, SystemClock
from nova.demo import stripe_objects as shapes
from nova.demo.stripe_objects import Object

DISPUTE_FEE = 1500


@dataclass(frozen=True, slots=True)
class Sale:
    """The ids of one payment."""

    intent: str
    charge: str
    transaction: str


class Missing(KeyError):
    """No object has this id."""


class Declined(Exception):
    """The card was declined."""


class Unacceptable(Exception):
    """The request asks for what cannot be done."""


class Account:
    """Amounts are minor units. Every call is one atomic step; `at` lets the past be told, and is otherwise now."""

    def __init__(
        self,
        *,
        currency: str = "usd",
        fee_percent: Decimal = Decimal("2.9"),
        fee_fixed: int = 30,
        rates: Mapping[str, Decimal] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.currency = currency
        self.lock = threading.RLock()
        self._fee_percent = fee_percent
        self._fee_fixed = fee_fixed
        self._rates = dict(rates or {})
        self._clock = clock or SystemClock()
        self._objects: dict[str, Object] = {}
        self._order: dict[str, list[tuple[int, int, str]]] = {}
        self._made = 0

    def now(self) -> int:
        return int(self._clock.now().timestamp())

    def get(self, id: str, kind: str | None = None) -> Object:
        found = self._objects.get(id)
        if found is None or (kind is not None and found["object"] != kind):
            raise Missing(id)
        return found

    def newest_first(self, kind: str) -> list[Object]:
        with self.lock:
            return [self._objects[id] for _, _, id in reversed(self._order.get(kind, []))]

    def create_intent(
        self, amount: int, currency: str, metadata: Mapping[str, str], *, at: int | None = None, **more: Any
    ) -> Object:
        with self.lock:
            created = self.now() if at is None else at
            return self._add(shapes.payment_intent(self._id("pi"), amount, currency, created, metadata, **more))

    def confirm(self, intent: Object, method: str, *, at: int | None = None) -> Sale:
        """Pays. Test methods that decline raise Declined; `pm_card_createDispute` pays and opens a dispute."""
        with self.lock:
            if intent["status"] == "succeeded":
                raise Unacceptable("This PaymentIntent has already succeeded.")
            if "chargeDeclined" in method:
                raise Declined(intent["id"])
            created = self.now() if at is None else at
            intent |= {"payment_method": method, "status": "succeeded", "amount_received": intent["amount"]}
            charge = self._add(shapes.charge(self._id("ch"), intent, created))
            intent["latest_charge"] = charge["id"]
            booked = self._book("charge", "charge", charge, charge["amount"], created, fee=True)
            charge["balance_transaction"] = booked["id"]
            if method == "pm_card_createDispute":
                self.dispute(charge, at=created)
            return Sale(intent["id"], charge["id"], booked["id"])

    def refund(
        self,
        charge: Object,
        amount: int | None = None,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        return_fee: bool = False,
        at: int | None = None,
    ) -> Object:
        """`return_fee` gives back the share of the fee, as accounts with older terms have it."""
        with self.lock:
            left = charge["amount"] - charge["amount_refunded"]
            amount = left if amount is None else amount
            if not 0 < amount <= left:
                raise Unacceptable(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
            created = self.now() if at is None else at
            made = self._add(shapes.refund(self._id("re"), charge, amount, created, reason, metadata or {}))
            returned = self.get(charge["balance_transaction"])["fee"] * amount // charge["amount"] if return_fee else 0
            made["balance_transaction"] = self._book("refund", "refund", made, -amount, created, fee_given=-returned)[
                "id"
            ]
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            return made

    def fail_refund(self, made: Object, *, at: int | None = None) -> None:
        """The bank sent the money back."""
        with self.lock:
            created = self.now() if at is None else at
            booked = self._book("refund_failure", "refund_failure", made, made["amount"], created)
            made |= {
                "status": "failed",
                "failure_reason": "lost_or_stolen_card",
                "failure_balance_transaction": booked["id"],
            }

    def dispute(
        self, charge: Object, *, fee: int = DISPUTE_FEE, reason: str = "fraudulent", at: int | None = None
    ) -> Object:
        with self.lock:
            created = self.now() if at is None else at
            charge["disputed"] = True
            made = self._add(shapes.dispute(self._id("dp"), charge, created, reason))
            booked = self._book("adjustment", "dispute", made, -made["amount"], created, fee_given=fee)
            made["balance_transactions"].append(dict(booked))
            return made

    def close_dispute(self, made: Object, *, won: bool, at: int | None = None) -> None:
        """Won: the money and the fee come back."""
        with self.lock:
            made["status"] = "won" if won else "lost"
            if won:
                created = self.now() if at is None else at
                taken = made["balance_transactions"][0]["fee"]
                booked = self._book("adjustment", "dispute_reversal", made, made["amount"], created, fee_given=-taken)
                made["balance_transactions"].append(dict(booked))

    def create_customer(self, metadata: Mapping[str, str], **more: Any) -> Object:
        with self.lock:
            return self._add(shapes.customer(self._id("cus"), self.now(), metadata, **more))

    def subscribe(
        self,
        buyer: Object,
        amount: int,
        currency: str,
        metadata: Mapping[str, str],
        *,
        interval: str = "month",
        at: int | None = None,
    ) -> Object:
        """Starts a subscription and pays its first invoice; nothing but the subscription carries the metadata."""
        with self.lock:
            created = self.now() if at is None else at
            priced = shapes.price(self._id("price"), self._id("prod"), amount, currency, created, interval)
            made = self._add(
                shapes.subscription(self._id("sub"), self._id("si"), buyer["id"], priced, created, metadata)
            )
            self.renew(made, at=created)
            return made

    def renew(self, subscription: Object, *, at: int | None = None) -> Sale:
        with self.lock:
            created = self.now() if at is None else at
            billed = self._add(shapes.invoice(self._id("in"), self._id("il"), subscription, created))
            subscription["latest_invoice"] = billed["id"]
            said = {"customer": subscription["customer"], "invoice": billed["id"], "description": "Subscription update"}
            intent = self.create_intent(billed["amount_due"], billed["currency"], {}, at=created, **said)
            sale = self.confirm(intent, "pm_card_visa", at=created)
            billed |= {"payment_intent": intent["id"], "charge": sale.charge}
            self._add(shapes.invoice_payment(self._id("inpay"), billed, intent["id"]))
            return sale

    def payout(
        self, amount: int, currency: str, metadata: Mapping[str, str] | None = None, *, at: int | None = None
    ) -> Object:
        with self.lock:
            created = self.now() if at is None else at
            made = self._add(shapes.payout(self._id("po"), amount, currency, created, metadata or {}))
            made["balance_transaction"] = self._book("payout", "payout", made, -amount, created)["id"]
            return made

    def charge_fee(self, amount: int, description: str, *, at: int | None = None) -> Object:
        """A fee of Stripe's own, such as for a product used; nothing stands behind it."""
        with self.lock:
            created = self.now() if at is None else at
            said = {"description": description}
            return self._add(
                shapes.balance_transaction(
                    self._id("txn"), "stripe_fee", "fee", -amount, 0, self.currency, created, None, **said
                )
            )

    def balance(self) -> Object:
        """Sums of `net`, so that it agrees with the transactions whatever happened."""
        with self.lock:
            sums: dict[str, int] = {self.currency: 0}
            for booked in self.newest_first("balance_transaction"):
                sums[booked["currency"]] = sums.get(booked["currency"], 0) + booked["net"]
        available = [
            {"amount": amount, "currency": code, "source_types": {"card": amount}} for code, amount in sums.items()
        ]
        pending = [{"amount": 0, "currency": code, "source_types": {"card": 0}} for code in sums]
        return {"object": "balance", "available": available, "pending": pending, "livemode": False}

    def _book(
        self,
        kind: str,
        category: str,
        source: Object,
        amount: int,
        created: int,
        *,
        fee: bool = False,
        fee_given: int = 0,
    ) -> Object:
        """In the account's own currency where there is a rate for the source's."""
        rate = self._rates.get(source["currency"])
        settled = amount if rate is None else _rounded(amount * rate)
        currency = source["currency"] if rate is None else self.currency
        taken = _rounded(settled * self._fee_percent / 100) + self._fee_fixed if fee else fee_given
        more = {} if rate is None else {"exchange_rate": float(rate)}
        return self._add(
            shapes.balance_transaction(
                self._id("txn"), kind, category, settled, taken, currency, created, source["id"], **more
            )
        )

    def _add(self, made: Object) -> Object:
        self._objects[made["id"]] = made
        insort(
            self._order.setdefault(made["object"], []),
            (made.get("created", self.now()), len(self._objects), made["id"]),
        )
        return made

    def _id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_emulated{self._made:012d}"


def _rounded(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_HALF_UP))


def seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
