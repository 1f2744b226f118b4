"""What stands behind a payment at Stripe, in the forms of older and newer versions of its API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from platforms.base import Forbidden, InvalidRequest
from platforms.events import Tag
from platforms.stripe_behind import Sessions, behind_invoice, behind_session


class Refusing:
    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        self.asked = 0

    def rows(self, path: str, params: Any) -> Iterator[Any]:
        self.asked += 1
        raise self.problem
        yield


@pytest.mark.parametrize("problem", [Forbidden("no"), InvalidRequest("what?")])
def test_sessions_that_cannot_be_read_are_none(problem: Exception) -> None:
    requests: Any = Refusing(problem)
    sessions = Sessions(requests)
    assert sessions.of("pi_1", 100) is None and sessions.of("pi_2", 50) is None


@pytest.mark.parametrize(
    "line",
    [
        {"price": {"id": "price_1", "product": "prod_1"}},
        {"pricing": {"price_details": {"price": "price_1", "product": "prod_1"}}},
    ],
)
@pytest.mark.parametrize(
    "discount",
    [
        {"discount": {"coupon": {"id": "TEN"}, "promotion_code": None}},
        {"discounts": [{"source": {"coupon": "TEN"}, "promotion_code": None}]},
        {"discounts": ["di_1", {"coupon": "other", "promotion_code": {"id": "promo_1", "code": "TEN"}}]},
    ],
)
def test_an_invoice_names_what_was_bought_and_by_which_code(line: Any, discount: Any) -> None:
    found = behind_invoice({"lines": {"data": [line]}, "customer": "cus_1", **discount})
    assert found.evidence == {"product": "prod_1", "price": "price_1", "coupon": "TEN"}
    assert len(found.subjects) == 1 and "cus_1" not in str(found)


def test_an_invoice_or_a_session_without_anything_tells_nothing() -> None:
    for found in (behind_invoice({}), behind_session({})):
        assert (found.tag, found.evidence, found.subjects) == (None, {}, ())


def test_a_session_names_its_worker_and_its_link() -> None:
    said = {"metadata": {"nova_worker": "letters", "nova_click": "c1"}, "client_reference_id": "spring-7"}
    found = behind_session({**said, "customer_details": {"email": "ada@example.com"}})
    assert found.tag == Tag("letters", "checkout_session.metadata")
    assert found.evidence == {"link": "spring-7"} and len(found.subjects) == 2
