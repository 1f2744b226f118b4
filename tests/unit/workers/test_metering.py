from __future__ import annotations

import pytest

from nova.money import Money
from workers.hosts.metering import LineSplitter, MalformedMessage, Message, parse

USD = "USD"


def test_the_messages_are_read() -> None:
    assert parse(b'{"nova":"spend","amount":"0.12","reason":"tokens"}', USD) == Message(
        "spend", Money(120_000, USD), reason="tokens"
    )
    assert parse(b'{"nova":"spent","amount":"0.000412"}', USD) == Message("spent", Money(412, USD))
    assert parse(b'{"nova":"earn","amount":"9.00","id":"order-17"}', USD) == Message(
        "earn", Money(9_000_000, USD), id="order-17"
    )
    assert parse(b'{"nova":"claim","source":"stripe","id":"pi_1"}', USD) == Message("claim", source="stripe", id="pi_1")


def test_a_value_of_the_state_is_kept_as_json_has_it() -> None:
    line = b'{"nova":"state","key":"seen","value":{"page":3,"share":0.1,"last":null}}'
    assert parse(line, USD) == Message("state", key="seen", value={"page": 3, "share": 0.1, "last": None})
    assert parse(b'{"nova":"state","key":"seen","value":null}', USD) == Message("state", key="seen", value=None)


def test_a_number_in_json_is_exact_and_no_float() -> None:
    message = parse(b'{"nova":"spend","amount":0.1}', USD)
    assert message is not None
    assert message.amount == Money(100_000, USD)


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"",
        b"[1, 2]",
        b'{"amount":"1"}',
        b'{"text":"say nova"}',
        b'{"news":"nova',
        b'{"x":1,"nova',
        b'  {not json "nova"',
    ],
)
def test_other_output_is_no_message(line: bytes) -> None:
    assert parse(line, USD) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"nova":"spend"}', "`amount` is missing"),
        (b'{"nova":"spend","amount":"lots"}', "not an amount"),
        (b'{"nova":"spend","amount":"0.1234567"}', "not an amount"),
        (b'{"nova":"spend","amount":0.30000000000000004}', "six decimals"),
        (b'{"nova":"spend","amount":"-1"}', "negative"),
        (b'{"nova":"spend","amount":null}', "NoneType"),
        (b'{"nova":"spend","amount":"NaN"}', "not an amount"),
        (b'{"nova":"earn","amount":"1"}', "`id` is missing"),
        (b'{"nova":"earn","amount":"1","id":17}', "must be a string"),
        (b'{"nova":"claim","id":"pi"}', "`source` is missing"),
        (b'{"nova":"state","key":"seen"}', "`value` is missing"),
        (b'{"nova":"state","value":1}', "`key` is missing"),
        (b'{"nova":"state","key":["a"],"value":1}', "must be a string"),
        (b'{"nova":"steal","amount":"1"}', "unknown message"),
        (b'{"nova":7}', "unknown message"),
        (b'{"nova":"spend","amount":"1"', "not valid JSON"),
        (b'{"nova":"spend","amount":1e9999999}', "larger than nova keeps"),
        (b'{"nova":"spend","amount":1e-9999999}', "six decimals"),
        (b'{"nova":"spend","amount":1e9999999999999999999}', "not valid JSON"),
    ],
)
def test_a_malformed_message_says_what_is_wrong(line: bytes, words: str) -> None:
    with pytest.raises(MalformedMessage, match=words):
        parse(line, USD)


def test_a_message_longer_than_a_megabyte_is_refused() -> None:
    line = b'{"nova":"spend","amount":"1","reason":"' + b"x" * 1_000_001 + b'"}'
    with pytest.raises(MalformedMessage, match="megabyte"):
        parse(line, USD)


def test_lines_are_cut_wherever_the_chunks_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == [b"one"]
    assert splitter.feed(b"o\nthree") == [b"two"]
    assert splitter.rest() == b"three"
    assert splitter.rest() == b""


def test_a_line_without_end_comes_in_pieces() -> None:
    splitter = LineSplitter(limit=10)
    pieces = [piece for _ in range(100) for piece in splitter.feed(b"xxxx")]
    assert max(map(len, pieces)) < 20
    assert sum(map(len, pieces)) + len(splitter.rest()) == 400
