from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.errors import UsageProblem
from nova.ledger.state import MOST_BYTES, State, encode
from nova.ledger.store import Store


@pytest.fixture
def state(store: Store) -> State:
    return State(store)


def test_a_value_lasts_until_it_is_replaced_or_deleted(state: State) -> None:
    assert state.get("mailer", "seen", 0) == 0
    state.set("mailer", "seen", 1)
    state.set("mailer", "seen", [1, {"a": None}])
    assert state.get("mailer", "seen") == [1, {"a": None}]
    assert state.delete("mailer", "seen") is True
    assert state.delete("mailer", "seen") is False
    assert state.get("mailer", "seen") is None


def test_a_kept_null_is_not_a_missing_key(state: State) -> None:
    state.set("mailer", "last", None)
    assert state.get("mailer", "last", "default") is None
    assert state.all("mailer") == {"last": None}


def test_workers_do_not_see_each_other(state: State) -> None:
    state.set("mailer", "a", 1)
    state.set("scout", "a", 2)
    state.clear("mailer")
    assert state.all("mailer") == {} and state.all("scout") == {"a": 2}


@pytest.mark.parametrize("value", [object(), {1, 2}, math.nan, b"bytes"])
def test_what_is_no_json_is_refused(state: State, value: Any) -> None:
    with pytest.raises(UsageProblem, match="cannot be kept as JSON"):
        state.set("mailer", "a", value)


def test_too_large_a_value_is_refused_and_the_old_one_stays(state: State) -> None:
    state.set("mailer", "a", "x" * (MOST_BYTES - 2))
    with pytest.raises(UsageProblem, match="at most 1000000"):
        state.set("mailer", "a", "x" * MOST_BYTES)
    assert state.get("mailer", "a") == "x" * (MOST_BYTES - 2)


@pytest.mark.parametrize("key", ["", "x" * 251, 5])
def test_a_key_is_a_short_text(key: Any) -> None:
    with pytest.raises(UsageProblem, match="a key of the state"):
        encode(key, 1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_encoded_in_ascii(value: Any) -> None:
    assert encode("k", value).isascii()
