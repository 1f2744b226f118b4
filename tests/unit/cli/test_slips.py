from __future__ import annotations

import json

import pytest

from nova.cli import app


@pytest.fixture
def mailer(home: object) -> None:
    assert app.run(["deploy", "sales", "shell", "--name", "mailer", "--set", "command=true", "--json"]) == 0


@pytest.mark.usefixtures("mailer")
def test_money_for_a_misspelt_worker_is_booked_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ("revenue", "costs"):
        capsys.readouterr()
        assert app.run([group, "record", "mailr", "5", "--json"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["worker"] == "mailr"
        assert said.err == "nothing is deployed as mailr; did you mean mailer?\n"
    assert app.run(["revenue", "record", "mailer", "5"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("mailer")
def test_money_of_the_future_is_booked_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["revenue", "record", "mailer", "5", "--at", "2199-01-01"]) == 0
    assert "2199-01-01T00:00:00Z is still to come" in capsys.readouterr().err


@pytest.mark.usefixtures("mailer")
def test_money_in_a_currency_without_a_rate_is_booked_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = "EUR has no rate: none of it counts until you set one: nova revenue rates set EUR=RATE"
    for words in (["costs", "record", "mailer", "5 EUR"], ["costs", "share", "49 EUR/month", "--among", "fleet"]):
        capsys.readouterr()
        assert app.run(words) == 0
        assert told in capsys.readouterr().err
    assert app.run(["costs", "report"]) == 0
    assert capsys.readouterr().err == "5.00 EUR waits for a rate: nova revenue rates set EUR=RATE\n"
    assert app.run(["costs", "report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unconverted"] == [{"currency": "EUR", "amount": "5.00", "entries": 1}]
    app.run(["revenue", "rates", "set", "EUR=1.1"])
    capsys.readouterr()
    assert app.run(["costs", "record", "mailer", "5 EUR"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("mailer")
def test_days_of_a_bill_that_nobody_bears_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        app.run(["costs", "share", "2/day", "--among", "fleet", "--from", "2025-01-01", "--until", "2025-01-11"]) == 0
    )
    assert "$20.00 of it is for days on which nothing of fleet was deployed" in capsys.readouterr().err


@pytest.mark.usefixtures("mailer")
def test_what_was_booked_for_others_is_in_the_sums_of_all_time(capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["costs", "record", "retired", "3"])
    capsys.readouterr()
    assert app.run(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["all_time"]["cost"] == document["today"]["cost"] == "3.00"


@pytest.mark.usefixtures("mailer")
def test_a_log_that_would_end_before_it_begins_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["workers", "logs", "mailer", "--since", "1h", "--until", "2h"]) == 2
    assert "--since must be before --until" in capsys.readouterr().err
