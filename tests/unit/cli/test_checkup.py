from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nova.bootstrap import build
from nova.cli.checkup import Finding, checkup
from nova.config import load_settings
from nova.fleet.webhooks import WebhookSender
from nova.ledger.deliveries import Arrived


def _of(check: str) -> list[Finding]:
    return [found for found in checkup() if found.check == check]


def test_an_empty_home_has_nothing_to_mend() -> None:
    assert {found.state for found in checkup()} == {"ok"}


def test_every_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_ROI_THRESHOLD", "lots")
    monkeypatch.setenv("NOVA_TIMEZONE", "Mars")
    wrong = [found.found for found in _of("configuration")]
    assert any("SCALE_ROI_THRESHOLD" in text for text in wrong)
    assert any("NOVA_TIMEZONE" in text for text in wrong)


def test_thresholds_that_contradict_each_other_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_ROI_THRESHOLD", "10")
    assert [found.state for found in _of("policy")] == ["wrong"]


def test_a_key_is_told_but_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_hidden")
    said = " ".join(found.found + found.advice for found in checkup())
    assert "set for stripe" in said
    assert "sk_test_hidden" not in said


def test_what_others_could_read_is_to_be_closed(home: Path) -> None:
    (home / ".env").write_text("")
    (home / ".env").chmod(0o644)
    home.chmod(0o755)
    advice = [found.advice for found in _of("permissions")]
    assert advice == [f"chmod 700 {home}", f"chmod 600 {home / '.env'}"]


def test_a_clock_behind_the_newest_file_is_wrong(home: Path) -> None:
    (home / ".env").write_text("")
    (home / ".env").chmod(0o600)
    later = time.time() + 7200
    os.utime(home / ".env", (later, later))
    assert [found.state for found in _of("clock")] == ["wrong"]


def test_a_fleet_that_cannot_be_parsed_does_not_hide_the_other_checks(home: Path) -> None:
    (home / "fleet.json").write_text("{")
    (home / "fleet.json").chmod(0o600)
    states = {found.check: found.state for found in checkup()}
    assert states["fleet"] == "wrong"
    assert states["ledger"] == states["clock"] == "ok"


def test_a_damaged_ledger_is_wrong() -> None:
    nova = build(load_settings())
    nova.ledger.audit.append("test", "looked", "nothing")
    nova.close()
    path = nova.settings.ledger_path
    path.write_bytes(b"no database" * 1000)
    assert "wrong" in [found.state for found in _of("ledger")]


def test_a_misspelt_variable_is_told(home: Path) -> None:
    (home / ".env").write_text("MAX_DALY_BUDGET=5\nNOVA_TIMEZONE=UTC\nQWERTY=1\n")
    (home / ".env").chmod(0o600)
    told = [(found.state, found.advice) for found in _of("configuration")]
    assert told == [("ok", ""), ("warning", "did you mean MAX_DAILY_BUDGET?"), ("warning", "take it out")]


def test_one_damage_is_told_once(home: Path) -> None:
    (home / "fleet.json").write_text("{")
    (home / "fleet.json").chmod(0o600)
    assert [found.check for found in checkup() if found.state == "wrong"] == ["fleet"]


def test_webhooks_that_could_not_be_used_or_have_no_secret_are_told(home: Path) -> None:
    nova = build(load_settings())
    nova.fleet.add_webhook(WebhookSender("shop", "SHOP_SECRET"))
    found = nova.ledger.deliveries
    found.keep([Arrived("shop", "1", 0, None, b"x"), Arrived("shop", "2", 0, None, b"y")])
    assert [one.state for one in _of("webhooks")] == ["warning", "ok"]
    found.dead([found.find("shop", "1")], "not JSON")
    nova.close()
    assert [one.advice for one in _of("webhooks")] == ["put SHOP_SECRET into .env", "nova webhooks dead"]
