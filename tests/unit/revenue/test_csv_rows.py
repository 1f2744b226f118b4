"""What is read of a row, and what is refused because it could mean two things."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.clock import from_us, iso
from nova.errors import UsageProblem
from nova.money import Money
from nova.revenue.csv_rows import BadRow, Columns, Lines, Rejected, Sale, amount_of, read_rows

COLUMNS = Columns("day", "paid", "id", "who")


def rows(text: str | bytes, columns: Columns = COLUMNS, zone: str = "UTC") -> list[Sale | Rejected]:
    raw = text.encode() if isinstance(text, str) else text
    return list(read_rows(Lines(raw.splitlines(keepends=True)), columns, "USD", ZoneInfo(zone)))


def one(text: str, columns: Columns = COLUMNS, zone: str = "UTC") -> Sale:
    (found,) = rows(text, columns, zone)
    assert isinstance(found, Sale), found
    return found


@pytest.mark.parametrize(
    ("text", "micros", "currency"),
    [
        ("12.34", 12_340_000, "USD"),
        ("-12.34", -12_340_000, "USD"),
        ("+7", 7_000_000, "USD"),
        ("0.000412", 412, "USD"),
        ("1,234.56", 1_234_560_000, "USD"),
        ("12,345,678", 12_345_678_000_000, "USD"),
        ("(12.00)", -12_000_000, "USD"),
        ("$12.00", 12_000_000, "USD"),
        ("-$1,200.50", -1_200_500_000, "USD"),
        ("12.34 EUR", 12_340_000, "EUR"),
        ("EUR 12.34", 12_340_000, "EUR"),
        ("-12.34 EUR", -12_340_000, "EUR"),
        (" 5 ", 5_000_000, "USD"),
    ],
)
def test_amounts_are_read(text: str, micros: int, currency: str) -> None:
    assert amount_of(text, "USD") == (micros, currency)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("oops", "not an amount"),
        ("12,34", "decimals with a point"),
        ("1.234,56", "decimals with a point"),
        ("1,23,456.00", "not an amount"),
        ("12.3456789", "not an amount"),
        ("0.00", "zero"),
        ("€5", "in €, but the currency is USD"),
        ("1e3", "not an amount"),
        ("NaN", "not an amount"),
        ("--5", "not an amount"),
        ("٣", "not an amount"),
        ("999999999999", "larger"),
    ],
)
def test_amounts_that_could_mean_two_things_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        amount_of(text, "USD")


@given(st.integers(-(10**16), 10**16).filter(bool), st.sampled_from(["USD", "EUR", "JPY"]))
def test_what_nova_writes_it_reads(micros: int, code: str) -> None:
    money = Money(micros, code)
    assert amount_of(str(money), code) == (micros, code)
    assert amount_of(f"{money} {code}", "USD") == (micros, code)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_head_line(delimiter: str) -> None:
    sale = one(
        delimiter.join(["id", "day", "paid", "who"]) + "\n" + delimiter.join(["a", "2026-03-01", "1.50", "mail"])
    )
    assert (sale.id, sale.micros, sale.worker, sale.line) == ("a", 1_500_000, "mail", 2)


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-03-01", "UTC", "2026-03-01T00:00:00Z"),
        ("2026-03-01", "Europe/Vienna", "2026-02-28T23:00:00Z"),
        ("2026-03-01 09:30", "UTC", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30:00+02:00", "Europe/Vienna", "2026-03-01T07:30:00Z"),
        ("2026-03-01T09:30:00Z", "Europe/Vienna", "2026-03-01T09:30:00Z"),
    ],
)
def test_times_without_an_offset_are_the_operators(text: str, zone: str, instant: str) -> None:
    assert iso(from_us(one(f"id,day,paid,who\na,{text},1,\n", zone=zone).at_us)) == instant


def test_a_date_format_is_obeyed() -> None:
    columns = Columns("day", "paid", "id", "who", date_format="%d.%m.%Y")
    assert iso(from_us(one("id,day,paid,who\na,01.03.2026,1,\n", columns).at_us)) == "2026-03-01T00:00:00Z"
    (bad,) = rows("id,day,paid,who\na,2026-03-01,1,\n", columns)
    assert isinstance(bad, Rejected) and "%d.%m.%Y" in bad.reason


def test_the_advice_for_a_strange_date_is_the_option() -> None:
    (bad,) = rows("id,day,paid,who\na,01.03.2026,1,\n")
    assert isinstance(bad, Rejected) and "--date-format" in bad.reason


def test_bad_rows_are_named_by_the_line_they_begin_on() -> None:
    found = rows(
        'id,day,paid,who\n\na,2026-03-01,oops,\n"b\nb",2026-03-01,1,\nc,never,1,\nd,2026-03-01\n,2026-03-01,1,\n'
    )
    assert [row.line for row in found if isinstance(row, Rejected)] == [3, 6, 7, 8]
    assert [row.id for row in found if isinstance(row, Sale)] == ["b\nb"]


def test_an_unquoted_comma_in_an_amount_is_refused() -> None:
    (bad,) = rows("id,day,paid,who\na,2026-03-01,1,234.50,mail\n")
    assert isinstance(bad, Rejected) and "needs quotes" in bad.reason


def test_empty_cells_at_the_end_are_let_pass() -> None:
    assert one("id,day,paid,who\na,2026-03-01,1,mail,,\n").worker == "mail"


def test_a_byte_order_mark_is_taken_away() -> None:
    assert one("\ufeffid,day,paid,who\na,2026-03-01,1,mail\n").id == "a"


def test_bytes_that_are_no_utf8_are_refused_by_line() -> None:
    found = rows(b"id,day,paid,who\na,2026-03-01,1,caf\xe9\nb,2026-03-01,1,mail\n")
    assert isinstance(found[0], Rejected) and "UTF-8" in found[0].reason and found[0].line == 2
    assert isinstance(found[1], Sale)


def test_utf16_is_refused_at_once() -> None:
    with pytest.raises(UsageProblem, match="UTF-16"):
        rows("id,day,paid,who\n".encode("utf-16"))


def test_an_open_quote_ends_the_reading_with_its_line() -> None:
    found = rows('id,day,paid,who\na,2026-03-01,1,m\n"b,2026-03-01,1,m\n' + "x,2026-03-01,1,m\n" * 20_000)
    assert isinstance(found[-1], Rejected) and found[-1].line == 3 and "quote" in found[-1].reason


@pytest.mark.parametrize(
    ("head", "reason"),
    [("id,when,paid,who", "no column 'day'"), ("id,day,paid,day,who", "two columns 'day'"), ("", "empty")],
)
def test_a_head_line_that_does_not_fit_is_refused(head: str, reason: str) -> None:
    with pytest.raises(UsageProblem, match=reason):
        rows(head + "\n")


def test_the_currency_is_a_code_or_a_column() -> None:
    assert one("id,day,paid,who\na,2026-03-01,1,\n", Columns("day", "paid", "id", currency="eur")).currency == "EUR"
    by_row = Columns("day", "paid", "id", currency="cur")
    found = rows("id,day,paid,cur\na,2026-03-01,1,gbp\nb,2026-03-01,1,pounds\n", by_row)
    assert isinstance(found[0], Sale) and found[0].currency == "GBP"
    assert isinstance(found[1], Rejected) and "not a currency" in found[1].reason
    with pytest.raises(UsageProblem, match="neither"):
        rows("id,day,paid\n", Columns("day", "paid", currency="euros"))


def test_rows_without_an_id_are_told_apart_by_their_number() -> None:
    columns = Columns("day", "paid")
    text = "day,paid\n2026-03-01,1\n2026-03-01,1\n2026-03-01,2\n"
    ids = [row.id for row in rows(text, columns) if isinstance(row, Sale)]
    assert len(set(ids)) == 3
    assert ids == [row.id for row in rows(text, columns) if isinstance(row, Sale)]
    swapped = "day,paid\n2026-03-01,2\n2026-03-01,1\n2026-03-01,1\n"
    assert sorted(ids) == sorted(row.id for row in rows(swapped, columns) if isinstance(row, Sale))


def test_an_open_quote_does_not_swallow_the_rows_behind_it() -> None:
    columns = Columns("day", "paid", "id")
    found = rows('id,day,paid,note\na,2026-01-01,5,"19 inch\nb,2026-01-02,6,x\n', columns)
    assert [(one.line, "quote is not closed" in one.reason) for one in found if isinstance(one, Rejected)] == [
        (2, True)
    ]
    text = 'id,day,paid,note\na,2026-01-01,5,"19 inch\nb,2026-01-02,6,"20 inch\nc,2026-01-03,7,ok\n'
    refused, good = rows(text, columns)
    assert isinstance(refused, Rejected) and refused.line == 2 and "lines to 3 are lost" in refused.reason
    assert isinstance(good, Sale) and (good.line, good.id) == (4, "c")
