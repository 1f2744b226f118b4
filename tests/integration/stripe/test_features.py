"""What an agent or a person does at Stripe, against an emulator that keeps to what Stripe publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from nova.clock import ManualClock
from nova.demo.storefront import Exchange, Storefront
from nova.errors import UsageProblem
from nova.money import Money
from platforms.base import Conflicting, Declined, InvalidRequest, Missing
from platforms.events import Tag
from platforms.hands import Find
from platforms.stripe_integration import Stripe
from platforms.stripe_objects import told
from tests.emulators.stripe import Shop, ShopAccount
from tests.hands import QuickHands, Settled
from tests.published import Document


@pytest.fixture
def account(clock: ManualClock) -> ShopAccount:
    return ShopAccount(clock=clock)


@pytest.fixture
def store(account: ShopAccount, published: Document) -> Iterator[Storefront]:
    with Storefront(account, api=Shop, on_exchange=published.hear) as opened:
        yield opened
    problems = published.take_problems()
    assert not problems, problems


@pytest.fixture
def stripe(store: Storefront, hands: QuickHands, clock: ManualClock) -> Iterator[Stripe]:
    client = Stripe(store.key, store.url, hands=hands, clock=clock)
    yield client
    client.close()


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def keys(store: Storefront, request: str) -> list[Exchange]:
    return [one for one in store.exchanges if one.request == request]


def found_tag(stripe: Stripe, payment: str) -> Tag | None:
    reader = stripe.reader()
    return next(
        reader.tag(event) for page in reader.pages() for event in page.events if payment in event.objects
    )  # fmt: skip


class TestPayments:
    def test_one_is_confirmed_later(self, stripe: Stripe) -> None:
        made = stripe.payments.create(
            usd("12.00"), worker="mailer", payment_method="pm_card_visa", description="a book"
        )
        assert (made.status, made.paid, made.worker) == ("requires_confirmation", False, "mailer")
        paid = stripe.payments.confirm(made.id)
        assert paid.paid and paid.received == usd("12.00") and paid.charge
        assert stripe.payments.get(made.id) == paid

    def test_money_is_set_aside_and_taken_in_part(self, stripe: Stripe) -> None:
        held = stripe.payments.create(usd("12.00"), payment_method="pm_card_visa", confirm=True, capture=False)
        assert (held.status, held.capturable, held.received) == ("requires_capture", usd("12.00"), usd("0.00"))
        taken = stripe.payments.capture(held.id, usd("7.50"))
        assert (taken.received, taken.capturable, taken.paid) == (usd("7.50"), usd("0.00"), True)
        assert [event.amount for event in stripe.balance_events() if event.kind == "revenue"] == [usd("7.50")]

    def test_money_that_was_set_aside_is_let_go(self, stripe: Stripe) -> None:
        held = stripe.payments.create(usd("12.00"), payment_method="pm_card_visa", confirm=True, capture=False)
        assert stripe.payments.cancel(held.id, reason="abandoned").status == "canceled"
        with pytest.raises(InvalidRequest, match="canceled"):
            stripe.payments.cancel(held.id)
        assert list(stripe.balance_events()) == []

    def test_a_capture_in_another_currency_is_refused_before_it_is_asked_for(self, stripe: Stripe) -> None:
        held = stripe.payments.create(usd("12.00"), payment_method="pm_card_visa", confirm=True, capture=False)
        with pytest.raises(UsageProblem, match="USD"):
            stripe.payments.capture(held.id, Money.parse("5.00", "EUR"))

    def test_what_needs_the_customer_is_told_by_its_status(self, stripe: Stripe) -> None:
        made = stripe.payments.create(usd("9.00"), payment_method="pm_card_authenticationRequired", confirm=True)
        assert (made.status, made.paid) == ("requires_action", False)

    def test_they_are_listed_over_pages_and_searched_by_worker(
        self, stripe: Stripe, store: Storefront, clock: ManualClock
    ) -> None:
        for number in range(130):
            store.sell("1.00", worker="mailer" if number < 120 else "shop")
        clock.advance(3600)
        late = store.sell("2.00")
        assert len(list(stripe.payments.list())) == 131
        assert [one.id for one in stripe.payments.list(since=clock.now())] == [late.intent]
        assert len(list(stripe.payments.list(most=3))) == 3
        assert len(list(stripe.payments.search("metadata['nova_worker']:'mailer'"))) == 120

    def test_the_same_twice_in_one_run_is_two_payments_and_a_retry_one(self, stripe: Stripe, store: Storefront) -> None:
        for key in (None, None, "k", "k"):
            stripe.payments.create(usd("9.00"), payment_method="pm_card_visa", confirm=True, key=key)
        assert len(store.account.newest_first("charge")) == 3
        with pytest.raises(Conflicting):
            stripe.payments.create(usd("9.01"), payment_method="pm_card_visa", confirm=True, key="k")

    def test_a_secret_for_the_browser_is_not_shown(self, stripe: Stripe) -> None:
        made = stripe.payments.create(usd("9.00"))
        assert made.secret and made.secret not in repr(made)
        assert "secret" not in told(made) and told(made)["amount"] == "9.00" and told(made)["currency"] == "USD"

    def test_an_id_that_is_none_is_refused(self, stripe: Stripe) -> None:
        for id in ("", " ", "x" * 300):
            with pytest.raises(UsageProblem):
                stripe.payments.get(id)
        with pytest.raises(Missing):
            stripe.payments.get("pi_1/../../balance")


class TestRefunds:
    def test_in_part_and_the_rest(self, stripe: Stripe, store: Storefront) -> None:
        sale = store.sell("20.00")
        assert stripe.refunds.create(sale.intent, usd("5.00"), reason="duplicate").amount == usd("5.00")
        assert stripe.refunds.refundable(sale.intent) == usd("15.00")
        rest = stripe.refunds.create(sale.charge)
        assert (rest.amount, rest.status, rest.charge) == (usd("15.00"), "succeeded", sale.charge)
        assert [one.amount for one in stripe.refunds.list(payment=sale.intent)] == [usd("15.00"), usd("5.00")]
        assert stripe.refunds.get(rest.id) == rest
        with pytest.raises(InvalidRequest):
            stripe.refunds.create(sale.intent, usd("1.00"))

    def test_another_currency_is_refused(self, stripe: Stripe, store: Storefront) -> None:
        with pytest.raises(UsageProblem, match="USD"):
            stripe.refunds.create(store.sell("20.00").intent, Money.parse("5.00", "EUR"))
        assert store.account.newest_first("refund") == []


class TestDisputes:
    def test_evidence_is_kept_then_submitted_and_wins(self, stripe: Stripe, store: Storefront) -> None:
        store.dispute(store.sell("20.00"))
        (one,) = stripe.disputes.list()
        assert (one.status, one.amount, one.submitted) == ("needs_response", usd("20.00"), 0) and one.due
        kept = stripe.disputes.answer(one.id, {"customer_name": "Ada"}, submit=False)
        assert (kept.status, kept.submitted) == ("needs_response", 0)
        won = stripe.disputes.answer(one.id, {"uncategorized_text": "winning_evidence"})
        assert (won.status, won.submitted) == ("won", 1)

    def test_one_is_given_up(self, stripe: Stripe, store: Storefront) -> None:
        made = store.dispute(store.sell("20.00"))
        assert stripe.disputes.close(made["id"]).status == "lost"
        assert stripe.disputes.get(made["id"]).status == "lost"


class TestCatalog:
    def test_a_product_with_its_price(self, stripe: Stripe) -> None:
        made = stripe.products.create("Letters", usd("9.00"), every="month", description="weekly", worker="letters")
        price = stripe.prices.get(made.price or "")
        assert (price.amount, price.every, price.product) == (usd("9.00"), "month", made.id)
        assert made.metadata == {"nova_worker": "letters"}
        assert [one.id for one in stripe.products.search("name:'Letters'")] == [made.id]

    def test_another_amount_is_another_price(self, stripe: Stripe) -> None:
        made = stripe.products.create("Letters", usd("9.00"))
        higher = stripe.prices.create(made.id, usd("12.00"), nickname="2027", worker="letters")
        changed = stripe.products.change(made.id, price=higher.id, name="Better letters")
        assert (changed.price, changed.name) == (higher.id, "Better letters")
        assert not stripe.prices.change(made.price or "", active=False).active
        assert [one.id for one in stripe.prices.list(product=made.id, active=True)] == [higher.id]
        assert not stripe.products.change(made.id, active=False).active
        assert list(stripe.products.list(active=True)) == []

    @pytest.mark.parametrize("every", [None, "month"])
    def test_a_link_says_whose_what_was_paid_is(self, stripe: Stripe, account: ShopAccount, every: str | None) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every=every)  # type: ignore[arg-type]
        link = stripe.links.create(product.price or "", worker="letters", after_url="https://example.com/thanks")
        assert link.active and link.worker == "letters" and link.url.startswith("https://")
        session = account.buy(account.get(link.id))
        paid = session["payment_intent"] or account.newest_first("payment_intent")[0]["id"]
        tag = found_tag(stripe, paid)
        assert tag is not None and tag.worker == "letters"
        assert not stripe.links.close(link.id).active
        assert [one.id for one in stripe.links.list(active=False)] == [link.id]
        assert stripe.links.get(link.id).worker == "letters"

    @pytest.mark.parametrize("every", [None, "year"])
    def test_checkout_says_whose_what_was_paid_is(
        self, stripe: Stripe, account: ShopAccount, every: str | None
    ) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every=every)  # type: ignore[arg-type]
        session = stripe.checkouts.create(
            product.price or "", success_url="https://example.com/thanks", worker="letters", quantity=2, reference="o-7"
        )
        assert (session.status, session.paid, session.total, session.reference) == ("open", False, usd("18.00"), "o-7")
        account.complete(account.get(session.id))
        done = stripe.checkouts.get(session.id)
        assert done.paid and (done.payment is None) == (every is not None)
        tag = found_tag(stripe, account.newest_first("payment_intent")[0]["id"])
        assert tag is not None and tag.worker == "letters"

    def test_a_checkout_expires(self, stripe: Stripe) -> None:
        product = stripe.products.create("Letters", usd("9.00"))
        session = stripe.checkouts.create(product.price or "", success_url="https://example.com/thanks")
        assert stripe.checkouts.expire(session.id).status == "expired"
        assert [one.status for one in stripe.checkouts.list()] == ["expired"]


class TestBilling:
    def test_customers(self, stripe: Stripe) -> None:
        made = stripe.customers.create(email="ada@example.com", name="Ada", worker="mailer")
        assert stripe.customers.change(made.id, name="Ada L.").name == "Ada L."
        assert [one.id for one in stripe.customers.list(email="ada@example.com")] == [made.id]
        assert [one.id for one in stripe.customers.search("email:'ada@example.com'")] == [made.id]
        stripe.customers.delete(made.id)
        stripe.customers.delete(made.id)
        with pytest.raises(Missing, match="deleted"):
            stripe.customers.get(made.id)

    def test_a_subscription_is_changed_cancelled_and_taken_up_again(self, stripe: Stripe) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every="month")
        yearly = stripe.prices.create(product.id, usd("96.00"), every="year")
        buyer = stripe.customers.create(email="ada@example.com", payment_method="pm_card_visa")
        made = stripe.subscriptions.create(buyer.id, product.price or "", worker="letters", quantity=2)
        assert (made.status, made.monthly, made.worker) == ("active", usd("18.00"), "letters")
        changed = stripe.subscriptions.change(made.id, price=yearly.id, quantity=1, prorate=False)
        assert changed.monthly == usd("8.00")
        cancelled = stripe.subscriptions.cancel(made.id)
        assert cancelled.cancels_at_end and cancelled.status == "active" and cancelled.ends
        assert not stripe.subscriptions.resume(made.id).cancels_at_end
        assert stripe.subscriptions.cancel(made.id, at_period_end=False).status == "canceled"
        assert stripe.subscriptions.cancel(made.id, at_period_end=False).status == "canceled"
        assert list(stripe.subscriptions.list()) == []
        assert [one.id for one in stripe.subscriptions.list(status="all", customer=buyer.id)] == [made.id]

    def test_a_customer_without_money_gets_no_subscription(self, stripe: Stripe) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every="month")
        buyer = stripe.customers.create(payment_method="pm_card_visa_chargeDeclined")
        with pytest.raises(Declined):
            stripe.subscriptions.create(buyer.id, product.price or "")

    def test_an_invoice_is_drafted_sent_and_paid(self, stripe: Stripe) -> None:
        buyer = stripe.customers.create(email="ada@example.com")
        lines = [("Design", usd("300.00")), ("Hosting", usd("20.00"))]
        draft = stripe.invoices.create(buyer.id, lines, worker="studio", description="May")
        assert (draft.status, draft.total) == ("draft", usd("320.00"))
        sent = stripe.invoices.send(stripe.invoices.finalize(draft.id).id)
        assert sent.status == "open" and sent.url
        paid = stripe.invoices.pay(draft.id)
        assert (paid.status, paid.paid) == ("paid", usd("320.00"))
        assert [one.id for one in stripe.invoices.list(customer=buyer.id, status="paid")] == [draft.id]
        (revenue,) = [event for event in stripe.balance_events() if event.kind == "revenue"]
        tag = found_tag(stripe, revenue.object or "")
        assert tag == Tag("studio", "invoice.metadata")

    def test_an_invoice_is_void(self, stripe: Stripe) -> None:
        buyer = stripe.customers.create()
        draft = stripe.invoices.create(buyer.id, [("Design", usd("3.00"))], key="once")
        assert stripe.invoices.void(stripe.invoices.finalize(draft.id).id).status == "void"
        with pytest.raises(UsageProblem):
            stripe.invoices.create(buyer.id, [("a", usd("3.00")), ("b", Money.parse("3.00", "EUR"))])


class TestSubscriptionFacts:
    def test_they_tell_what_became_of_each(self, stripe: Stripe, clock: ManualClock) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every="month")
        dearer = stripe.prices.create(product.id, usd("12.00"), every="month")
        buyer = stripe.customers.create(email="ada@example.com")
        began = clock.now()
        made = stripe.subscriptions.create(buyer.id, product.price or "", worker="letters")
        clock.advance(86400)
        stripe.subscriptions.change(made.id, price=dearer.id)
        clock.advance(86400)
        stripe.subscriptions.cancel(made.id)
        clock.advance(86400)
        stripe.subscriptions.cancel(made.id, at_period_end=False)
        facts = {(one.at, one.kind): one for one in stripe.subscription_facts(None)}
        told = [(kind, str(one.monthly)) for (_, kind), one in sorted(facts.items())]
        assert told == [("started", "9.00"), ("changed", "12.00"), ("cancelled", "12.00"), ("ended", "0.00")]
        assert {(one.customer, one.product, one.worker) for one in facts.values()} == {
            (buyer.id, product.id, "letters")
        }
        later = {one.kind for one in stripe.subscription_facts(began + timedelta(days=2))}
        assert later == {"cancelled", "ended"}

    def test_what_is_older_than_the_events_is_told_by_the_subscription_itself(
        self, stripe: Stripe, account: ShopAccount, clock: ManualClock
    ) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every="month")
        made = stripe.subscriptions.create(stripe.customers.create().id, product.price or "")
        stripe.subscriptions.cancel(made.id, at_period_end=False)
        for event in account.newest_first("event"):
            event["type"] = "forgotten"
        clock.advance(86400 * 60)
        assert [(one.kind, str(one.monthly)) for one in stripe.subscription_facts(None)] == [
            ("started", "9.00"), ("cancelled", "9.00"), ("ended", "0.00"),
        ]  # fmt: skip


def test_payouts_and_the_balance(stripe: Stripe, store: Storefront) -> None:
    store.sell("100.00")
    made = stripe.payouts.create(usd("40.00"), description="May")
    assert (made.amount, made.status) == (usd("40.00"), "paid")
    assert [one.id for one in stripe.payouts.list()] == [made.id] and stripe.payouts.get(made.id) == made
    assert stripe.balance().available == (usd("56.80"),)
    assert [event.kind for event in stripe.balance_events()] == ["revenue", "fee"]


def test_every_request_that_is_made_is_published(published: Document) -> None:
    for request, names in Shop.accepted.items():
        if "invoice_payments" not in request:
            assert request in published.requests(), request
            assert set(names) <= published.names(request), request


def test_everything_an_agent_creates_bears_a_key(
    stripe: Stripe, store: Storefront, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []
    handle: Callable[..., object] = store.handle

    def watched(method: str, target: str, headers: dict[str, str], body: str) -> object:
        if method == "POST":
            seen.append((target, headers.get("idempotency-key")))
        return handle(method, target, headers, body)

    monkeypatch.setattr(store, "handle", watched)
    product = stripe.products.create("Letters", usd("9.00"))
    stripe.links.create(product.price or "", worker="letters")
    stripe.invoices.create(stripe.customers.create().id, [("a", usd("1.00")), ("b", usd("2.00"))])
    assert len(seen) == 6 and all(key for _, key in seen) and len({key for _, key in seen}) == 6


def test_what_a_person_saw_made_is_not_made_again(store: Storefront) -> None:
    settled = Stripe(store.key, store.url, hands=Settled())
    with pytest.raises(Missing, match="which one it is"):
        settled.payments.create(Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True)
    settled.close()
    assert not store.account.newest_first("payment_intent")


class Repeated(QuickHands):
    """Of a run that is made again: what was done is told again."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, Any] = {}

    def key(self, what: str, content: str) -> str:
        return f"{what} {content}"

    def once(
        self,
        what: str,
        key: str,
        payload: Any,
        action: Callable[[str], Any],
        find: Find | None = None,
        *,
        known_s: float = 0.0,
    ) -> Any:
        if key not in self.done:
            self.done[key] = action(key)
        return self.done[key]


def test_what_was_made_before_is_read_again_as_it_is_by_now(store: Storefront) -> None:
    hands = Repeated()
    stripe = Stripe(store.key, store.url, hands=hands)
    nine, held = Money.parse("9.00", "USD"), {"payment_method": "pm_card_visa", "confirm": True, "capture": False}
    first = stripe.payments.create(nine, **held)  # type: ignore[arg-type]
    captured = stripe.payments.capture(first.id)
    assert stripe.payments.create(nine, **held) == captured, "not as it was"  # type: ignore[arg-type]
    assert stripe.payments.capture(first.id) == captured
    with pytest.raises(Conflicting, match="key of another"):
        stripe.payments.capture(first.id, nine, key=next(key for key in hands.done if "capture" in key))
    buyer = stripe.customers.create(name="Kim")
    stripe.customers.delete(buyer.id)
    with pytest.raises(Missing, match="deleted"):
        stripe.customers.create(name="Kim")
    stripe.close()
