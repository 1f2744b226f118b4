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
