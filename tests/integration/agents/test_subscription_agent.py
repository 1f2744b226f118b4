"""Late and lost subscribers over days: real desks, a ledger, a clock that is moved, emulated Stripe and SendGrid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nova.demo import stripe_objects as basic
from nova.demo.storefront import Fault, Storefront
from nova.errors import Unreachable, UsageProblem
from nova.ledger import claims
from nova.money import Money
from platforms import line
from platforms.base import InvalidRequest, Missing
from platforms.hands import Alone
from platforms.stripe_billing import Customers, Invoices
from platforms.stripe_integration import Stripe
from platforms.stripe_objects import Customer, Invoice
from tests.emulators.sendgrid import SendGridEmulator
from tests.emulators.stripe import Shop, ShopAccount
from tests.integration.agents.test_email_agent import DAY, Deployment
from workers.agents.registry import describe
from workers.agents.subscription_agent import SubscriptionAgent

GOOD, BAD = "pm_card_visa", "pm_card_visa_chargeDeclined"
REMIND = {"subject": "{{ name }}: {{ amount }} is open", "text": "Pay here: {{ pay_url }}"}
COME_BACK = {"subject": "We miss you", "text": "Come back: {{ offer }}"}


class Subscriptions(Deployment):
    agent = SubscriptionAgent
    name = "subscription_agent"

    def __init__(self, home: Path, account: SendGridEmulator) -> None:
        super().__init__(home, account)
        self.config = {}
        self.shop = ShopAccount(clock=self.clock)
        self.store = Storefront(self.shop, api=Shop)
        self.store.__enter__()
        self.settings = {"STRIPE_API_KEY": self.store.key, "STRIPE_API_BASE": self.store.url}
        self.stripe = Stripe(self.store.key, self.store.url, hands=Alone())
        self.price = self.stripe.prices.create(
            self.stripe.products.create("Paper").id, Money.parse("9.00", "USD"), every="month"
        ).id

    def close(self) -> None:
        self.stripe.close()
        self.store.__exit__()
        self.ledger.close()

    def subscriber(self, email: str) -> tuple[str, str]:
        customer = self.stripe.customers.create(email=email, name=email.partition("@")[0], payment_method=GOOD).id
        return customer, self.stripe.subscriptions.create(customer, self.price).id

    def late(self, email: str = "kim@example.com", method: str = BAD) -> tuple[str, str, str]:
        """A subscriber whose last payment failed: customer, subscription and open invoice."""
        customer, id = self.subscriber(email)
        self.pays_by(customer, method)
        subscription = self.shop.get(id, "subscription")
        self.shop.change(subscription, {"status": "past_due"})
        invoice = basic.invoice(self.shop.new_id("in"), self.shop.new_id("il"), subscription, self.shop.now())
        invoice |= {"status": "open", "paid": False, "amount_paid": 0, "amount_remaining": invoice["amount_due"]}
        invoice["hosted_invoice_url"] = f"https://invoice.stripe.com/i/{invoice['id']}"
        self.shop.make(invoice)
        return customer, id, invoice["id"]

    def pays_by(self, customer: str, method: str) -> None:
        self.shop.get(customer, "customer")["invoice_settings"]["default_payment_method"] = method

    def state(self) -> dict[str, Any]:
        return dict(self.ledger.state.all("mail"))

    def claimed(self) -> set[str]:
        with self.ledger.read() as conn:
            return set(
                claims.of_objects(conn, "stripe", [one["id"] for one in self.shop.newest_first("payment_intent")])
            )


@pytest.fixture
def account() -> Iterator[SendGridEmulator]:
    with SendGridEmulator() as opened:
        yield opened


@pytest.fixture
def shop(home: Path, account: SendGridEmulator) -> Iterator[Subscriptions]:
    opened = Subscriptions(home, account)
    yield opened
    opened.close()


def test_a_payment_that_failed_is_tried_again_on_the_declared_days(shop: Subscriptions) -> None:
    customer, subscription, invoice = shop.late()
    assert shop.message() == "1 declined"
    assert shop.message() == "nothing to do"
    shop.clock.advance(3 * DAY)
    shop.pays_by(customer, GOOD)
    assert shop.message() == "1 recovered"
    assert shop.stripe.subscriptions.get(subscription).status == "active"
    assert shop.claimed() == set(shop.stripe.invoices.payments(invoice)) != set()
    assert shop.state()["recovered"] == {"USD": "9.00"}
    assert shop.message() == "nothing to do"


def test_an_invoice_late_by_several_steps_gets_the_last_of_them(shop: Subscriptions) -> None:
    shop.late()
    shop.clock.advance(30 * DAY)
    assert shop.message() == "1 declined"
    asked = [one.request for one in shop.store.exchanges if one.request.endswith("/pay")]
    assert len(asked) == 1


def test_a_reminder_is_mailed_once_with_the_way_to_pay(shop: Subscriptions, account: SendGridEmulator) -> None:
    _, _, invoice = shop.late()
    steps = json.dumps([{"after": "1d", "mail": REMIND}])
    assert shop.message(dunning=steps) == "nothing to do"
    shop.clock.advance(DAY)
    assert shop.message(dunning=steps) == "1 mailed"
    assert shop.message(dunning=steps) == "nothing to do"
    (mail,) = account.mails
    assert (mail.to, mail.subject) == ("kim@example.com", "kim: 9.00 USD is open")
    assert f"https://invoice.stripe.com/i/{invoice}" in (mail.text or "") or "go.example" in (mail.text or "")
    assert "List-Unsubscribe-Post" in mail.headers


def test_who_pays_after_a_reminder_was_recovered_by_it(shop: Subscriptions, account: SendGridEmulator) -> None:
    customer, _, invoice = shop.late()
    steps = json.dumps([{"mail": REMIND}])
    shop.run(dunning=steps)
    shop.pays_by(customer, GOOD)
    shop.stripe.invoices.pay(invoice)  # by the customer, on Stripe's page
    assert shop.message(dunning=steps) == "1 recovered"
    assert len(shop.claimed()) == 1


def test_who_pays_long_after_was_not_recovered_by_it(shop: Subscriptions) -> None:
    customer, _, invoice = shop.late()
    shop.run()
    shop.clock.advance(60 * DAY)
    shop.pays_by(customer, GOOD)
    shop.stripe.invoices.pay(invoice)
    assert shop.message() == "nothing to do"
    assert shop.claimed() == set()


def test_another_workers_sale_stays_its_own(shop: Subscriptions) -> None:
    customer, _, _ = shop.late()
    steps = json.dumps([{"retry": True}])
    shop.pays_by(customer, GOOD)
    assert shop.message(dunning=steps, claim="false") == "1 recovered"
    assert shop.claimed() == set()


def test_who_is_suppressed_or_in_quiet_hours_gets_no_mail(shop: Subscriptions, account: SendGridEmulator) -> None:
    shop.late()
    steps = json.dumps([{"mail": REMIND}])
    assert shop.message(dunning=steps, quiet_hours="07:00-09:00") == "nothing to do"
    shop.context()[0].suppress("kim@example.com", "unsubscribe")
    assert shop.message(dunning=steps) == "1 not to be mailed"
    assert account.mails == []


def test_the_last_step_may_end_the_subscription(shop: Subscriptions) -> None:
    _, subscription, _ = shop.late()
    steps = json.dumps([{"retry": True}, {"after": "21d", "cancel": True}])
    shop.run(dunning=steps)
    shop.clock.advance(21 * DAY)
    assert shop.message(dunning=steps) == "1 cancelled"
    assert shop.stripe.subscriptions.get(subscription).status == "canceled"
    shop.clock.advance(60 * DAY)
    assert shop.message(dunning=steps) == "1 given up"
    assert not [key for key in shop.state() if key.startswith("invoice.")]


def test_a_payment_whose_answer_was_lost_is_not_taken_twice(
    shop: Subscriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, invoice = shop.late(method=GOOD)
    before = len(shop.shop.newest_first("charge"))
    monkeypatch.setattr(line, "Patience", partial(line.Patience, first_s=0.001))
    shop.store.fail(Fault("lost", f"/v1/invoices/{invoice}/pay", times=6))
    with pytest.raises(Unreachable):
        shop.run()
    assert len(shop.shop.newest_first("charge")) == before + 1
    assert shop.message() == "1 recovered"
    assert len(shop.claimed()) == 1
    assert len(shop.shop.newest_first("charge")) == before + 1


def refusing(monkeypatch: pytest.MonkeyPatch, invoice: str) -> None:
    """Stripe finds the payment of this invoice wrong, as it does of a customer without a card."""
    real = Invoices.pay

    def pay(self: Invoices, id: str, *, key: str | None = None) -> Invoice:
        if id == invoice:
            raise InvalidRequest("stripe did not accept the request: no default payment method")
        return real(self, id, key=key)

    monkeypatch.setattr(Invoices, "pay", pay)


def test_who_has_no_card_is_written_to_and_holds_up_nobody(
    shop: Subscriptions, account: SendGridEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, invoice = shop.late()
    shop.late("lee@example.com", GOOD)
    refusing(monkeypatch, invoice)
    steps = json.dumps([{"retry": True, "mail": REMIND}])
    told = shop.message(dunning=steps)
    assert sorted(told.split(", ")) == ["1 mailed", "1 recovered", "1 without a way to be paid"]
    assert [mail.to for mail in account.mails] == ["kim@example.com"]
    assert shop.message(dunning=steps) == "nothing to do"


def test_what_the_platform_does_not_accept_of_one_customer_holds_up_nobody(
    shop: Subscriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.late()
    gone, _, _ = shop.late("lee@example.com")
    real = Customers.get

    def get(self: Customers, id: str) -> Customer:
        if id == gone:
            raise Missing("stripe does not know it")
        return real(self, id)

    monkeypatch.setattr(Customers, "get", get)
    result = shop.run(dunning=json.dumps([{"mail": REMIND}]))
    assert not result.ok
    assert (result.message or "").startswith("1 mailed; 1 problems, first: in_")


def test_only_the_declared_prices_are_looked_after(shop: Subscriptions) -> None:
    shop.late()
    assert shop.message(prices="price_other") == "nothing to do"
    assert shop.message(prices=f"price_other, {shop.price}") == "1 declined"


def test_a_dry_run_does_nothing(shop: Subscriptions, account: SendGridEmulator) -> None:
    shop.late(method=GOOD)
    assert shop.message(dry_run="true") == "1 left undone (dry run)"
    assert not [one for one in shop.store.exchanges if one.request.endswith("/pay")]


def test_who_left_is_written_to_and_counted_when_they_come_back(shop: Subscriptions, account: SendGridEmulator) -> None:
    win_back = json.dumps([{"after": "7d", **COME_BACK}, {"after": "30d", **COME_BACK}])
    more = {"win_back": win_back, "offer_url": "https://shop.example/back"}
    customer, id = shop.subscriber("lee@example.com")
    assert shop.message(**more) == "nothing to do"
    shop.stripe.subscriptions.cancel(id, at_period_end=False)
    assert shop.message(**more) == "nothing to do"
    shop.clock.advance(7 * DAY)
    assert shop.message(**more) == "1 mailed"
    assert shop.message(**more) == "nothing to do"
    assert [mail.to for mail in account.mails] == ["lee@example.com"]
    shop.clock.advance(DAY)
    back = shop.stripe.subscriptions.create(customer, shop.price).id
    assert shop.message(**more) == "1 won back"
    (invoice,) = shop.stripe.invoices.list(subscription=back)
    assert shop.claimed() == set(shop.stripe.invoices.payments(invoice.id))
    shop.clock.advance(30 * DAY)
    assert shop.message(**more) == "nothing to do"


def test_who_came_back_unasked_is_nobodys(shop: Subscriptions, account: SendGridEmulator) -> None:
    more = {"win_back": json.dumps([{"after": "7d", **COME_BACK}])}
    customer, id = shop.subscriber("lee@example.com")
    shop.stripe.subscriptions.cancel(id, at_period_end=False)
    shop.run(**more)
    shop.stripe.subscriptions.create(customer, shop.price)
    shop.clock.advance(8 * DAY)
    assert shop.message(**more) == "nothing to do"
    assert (account.mails, shop.claimed()) == ([], set())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"dunning": '[{"after": "1d"}]'}, "does nothing"),
        ({"dunning": '[{"after": "3d", "retry": true}, {"after": "1d", "retry": true}]'}, "in the order"),
        ({"dunning": '[{"cancel": true}, {"after": "1d", "retry": true}]'}, "only the last"),
        ({"win_back": '[{"after": "1d", "subject": "x"}]'}, "needs a subject and a text"),
        ({"retry_days": "7,3"}, "in the order"),
        ({"retry_days": "-1"}, "greater than or equal"),
        ({"quiet_hours": "09:00-09:00"}, "no hour"),
    ],
)
def test_a_wrong_declaration_is_told(shop: Subscriptions, config: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageProblem, match=words):
        shop.context(**config)


def test_the_key_for_mail_is_needed_only_where_mails_are_declared(shop: Subscriptions, home: Path) -> None:
    plain, mailing = (shop.context(**more)[0].config for more in ({}, {"win_back": json.dumps([COME_BACK])}))
    assert SubscriptionAgent.secrets_of(plain) == ("STRIPE_API_KEY",)
    assert SubscriptionAgent.secrets_of(mailing) == ("STRIPE_API_KEY", "SENDGRID_API_KEY")
    assert describe("subscription_agent", home)["costs"]


def test_the_engine_may_try_other_days_but_not_other_steps_than_declared(shop: Subscriptions) -> None:
    shop.late()
    tuned = shop.context(retry_days="1,4")[0].config
    assert set(SubscriptionAgent.tunables_of(tuned)) == {"retry_days"}
    assert SubscriptionAgent.tunables_of(shop.context(dunning='[{"retry": true}]')[0].config) == {}
    assert shop.message(retry_days="1,4") == "nothing to do"
    shop.clock.advance(DAY)
    assert shop.message(retry_days="1,4") == "1 declined"
