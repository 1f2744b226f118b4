from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from nova.config import SECRETS, VARIABLES, Settings, ensure_home, load_settings
from nova.errors import ConfigInvalid

ROOT = Path(__file__).parents[2]
# fmt: off
EXPECTED = [
    "NOVA_HOME", "NOVA_DATABASE_URL", "NOVA_CURRENCY", "NOVA_TIMEZONE", "NOVA_LOG_LEVEL", "NOVA_LOG_FORMAT",
    "NOVA_ALERT_URLS", "NOVA_PUBLIC_URL", "GUMROAD_WEBHOOK_SECRET", "SENDGRID_WEBHOOK_KEY", "AUTONOMOUS_ENABLED",
    "MAX_DAILY_BUDGET", "MIN_ROI_THRESHOLD", "SCALE_ROI_THRESHOLD",
    "KILL_ROI_THRESHOLD", "REQUIRE_APPROVAL_ABOVE", "WORKER_RUN_INTERVAL", "WORKER_MAX_CRASHES",
    "WORKER_CRASH_COOLDOWN", "WORKER_AUTO_RESTART", "WORKER_DEPARTMENT", "WORKER_MAX_HUNG", "STRIPE_API_KEY",
    "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE", "GUMROAD_ACCESS_TOKEN", "GUMROAD_API_BASE", "SENDGRID_API_KEY",
    "SENDGRID_FROM_EMAIL",
    "SENDGRID_FROM_NAME", "SENDGRID_API_BASE", "TWITTER_BEARER_TOKEN", "TWITTER_API_KEY", "TWITTER_API_SECRET",
    "TWITTER_ACCESS_TOKEN", "TWITTER_ACCESS_SECRET", "TWITTER_API_BASE", "GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET",
    "GITHUB_API_BASE", "NOVA_PLATFORM_PRICES",
]
# fmt: on


def load(home: Path, **environ: str) -> Settings:
    return load_settings({"NOVA_HOME": str(home), **environ}, home)


def refused(home: Path, **environ: str) -> str:
    with pytest.raises(ConfigInvalid) as told:
        load(home, **environ)
    assert told.value.exit_code == 78
    return told.value.message


def test_every_variable_of_the_interface_is_a_setting() -> None:
    assert sorted(VARIABLES) == sorted(EXPECTED)


def test_the_defaults_are_those_of_the_interface(home: Path) -> None:
    settings = load(home)
    assert (settings.nova_currency, settings.nova_timezone, settings.nova_log_level) == ("USD", "UTC", "INFO")
    assert (settings.nova_log_format, settings.nova_alert_urls) == ("text", ())
    assert (settings.autonomous_enabled, settings.max_daily_budget) == (False, Decimal(100))
    assert (settings.min_roi_threshold, settings.scale_roi_threshold, settings.kill_roi_threshold) == tuple(
        map(Decimal, (150, 300, 0))
    )
    assert settings.require_approval_above == Decimal(50)
    assert (settings.worker_run_interval, settings.worker_max_crashes, settings.worker_crash_cooldown) == (60, 5, 300)
    assert (settings.worker_auto_restart, settings.worker_department) == (True, "all")
    assert all(getattr(settings, name.lower()) is None for name in VARIABLES if name.startswith(("STRIPE", "GITHUB")))
    assert settings.database_url == f"sqlite:///{home}/ledger.db"
    assert (settings.fleet_path, settings.logs_dir, settings.run_dir) == (
        home / "fleet.json",
        home / "logs",
        home / "run",
    )


def test_the_example_explains_every_variable_and_gives_the_defaults(home: Path, tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    assert re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE) == list(
        dict.fromkeys(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))
    )
    assert sorted(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)) == sorted(EXPECTED)
    (home / ".env").write_text(text)
    as_is = load(home)
    (home / ".env").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    uncommented = load(home)
    (home / ".env").unlink()
    assert as_is == uncommented == load(home)


def test_the_process_wins_over_the_folders_env_and_that_over_homes(home: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (home / ".env").write_text("NOVA_LOG_LEVEL=ERROR\nNOVA_LOG_FORMAT=json\nNOVA_CURRENCY=EUR\n")
    (work / ".env").write_text(f"NOVA_HOME={home}\nNOVA_LOG_LEVEL=WARNING\nexport NOVA_LOG_FORMAT='text'\n")
    settings = load_settings({"NOVA_LOG_LEVEL": "debug"}, work)
    assert settings.nova_home == home
    assert (settings.nova_log_level, settings.nova_log_format, settings.nova_currency) == ("DEBUG", "text", "EUR")


def test_a_relative_home_is_beside_the_working_directory(tmp_path: Path) -> None:
    assert load_settings({"NOVA_HOME": "state"}, tmp_path).nova_home == tmp_path / "state"


def test_empty_means_not_set(home: Path) -> None:
    (home / ".env").write_text("STRIPE_API_KEY=sk_test_1\nGITHUB_TOKEN=\n")
    assert load(home, STRIPE_API_KEY="", MAX_DAILY_BUDGET=" ") == load(home, STRIPE_API_KEY="")
    assert load(home, STRIPE_API_KEY="").stripe_api_key is None


def test_unknown_names_are_passed_over_and_values_are_literal(home: Path) -> None:
    (home / ".env").write_text("\ufeffFRUIT=apple\nSENDGRID_FROM_NAME=The $HOME team # not a home\n", encoding="utf-8")
    assert load(home, VEGETABLE="leek").sendgrid_from_name == "The $HOME team"


def test_values_are_read_as_the_command_line_reads_them(home: Path) -> None:
    settings = load(
        home,
        WORKER_RUN_INTERVAL="5m",
        WORKER_CRASH_COOLDOWN="0",
        SCALE_ROI_THRESHOLD="250.5%",
        MAX_DAILY_BUDGET="49.90",
        AUTONOMOUS_ENABLED="Yes",
        NOVA_CURRENCY="eur",
        NOVA_TIMEZONE="Europe/Vienna",
        STRIPE_API_BASE="http://127.0.0.1:12111/",
    )
    assert (settings.worker_run_interval, settings.worker_crash_cooldown) == (300, 0)
    assert (settings.scale_roi_threshold, settings.max_daily_budget) == (Decimal("250.5"), Decimal("49.9"))
    assert (settings.autonomous_enabled, settings.nova_currency, settings.tz.key) == (True, "EUR", "Europe/Vienna")
    assert settings.stripe_api_base == "http://127.0.0.1:12111"


def test_alert_addresses_may_hold_commas(home: Path) -> None:
    settings = load(home, NOVA_ALERT_URLS="json://h/x, mailto://u:p@h?to=a,b\n slack://t/#ops ,")
    assert settings.nova_alert_urls == ("json://h/x", "mailto://u:p@h?to=a,b", "slack://t/#ops")


WRONG = [
    ("SCALE_ROI_THRESHOLD", "lots"),
    ("SCALE_ROI_THRESHOLD", "nan"),
    ("KILL_ROI_THRESHOLD", "-101"),
    ("MAX_DAILY_BUDGET", "-1"),
    ("MAX_DAILY_BUDGET", "1.2345678"),
    ("MAX_DAILY_BUDGET", "100 EUR"),
    ("REQUIRE_APPROVAL_ABOVE", "1e3"),
    ("AUTONOMOUS_ENABLED", "maybe"),
    ("WORKER_RUN_INTERVAL", "0"),
    ("WORKER_RUN_INTERVAL", "5 minutes"),
    ("WORKER_CRASH_COOLDOWN", "-5"),
    ("WORKER_MAX_CRASHES", "0"),
    ("WORKER_MAX_CRASHES", "2.5"),
    ("WORKER_DEPARTMENT", "a/b"),
    ("NOVA_CURRENCY", "dollar"),
    ("NOVA_TIMEZONE", "Mars/Olympus"),
    ("NOVA_TIMEZONE", "../../etc/passwd"),
    ("NOVA_TIMEZONE", "Europe"),
    ("NOVA_LOG_LEVEL", "loud"),
    ("NOVA_LOG_FORMAT", "xml"),
    ("NOVA_DATABASE_URL", "postgresql://db/nova"),
    ("NOVA_DATABASE_URL", "sqlite:///:memory:"),
    ("STRIPE_API_BASE", "ftp://stripe"),
    ("STRIPE_API_BASE", "localhost:8000"),
    ("GITHUB_API_BASE", "http://h:99999"),
    ("NOVA_ALERT_URLS", "slack"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_named_with_what_is_valid(home: Path, name: str, value: str) -> None:
    assert re.search(rf"^  {name} cannot be .+: it is .+", refused(home, **{name: value}), re.MULTILINE)


def test_every_wrong_setting_is_named_at_once(home: Path) -> None:
    (home / ".env").write_text("NOVA_LOG_LEVEL=loud\nthis is no setting\n")
    told = refused(home, **dict(WRONG))
    assert set(re.findall(r"^  ([A-Z_]+) cannot", told, re.MULTILINE)) == {name for name, _ in WRONG} | {
        "NOVA_LOG_LEVEL"
    }
    assert ".env line 2 cannot be read" in told


def test_postgresql_is_said_to_be_for_later(home: Path) -> None:
    assert "not supported yet" in refused(home, NOVA_DATABASE_URL="postgresql://db/nova")


def test_no_secret_is_shown(home: Path) -> None:
    secrets = {name: f"hush-{name}" for name in SECRETS if name != "NOVA_ALERT_URLS"}
    settings = load(home, **secrets, NOVA_ALERT_URLS="slack://hush")
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hush" not in shown
    told = refused(
        home, NOVA_ALERT_URLS="hush", NOVA_DATABASE_URL="postgresql://u:hush@h/d", STRIPE_API_BASE="x://u:hush@h"
    )
    assert "hush" not in told
    assert {name for name in VARIABLES if re.search("KEY|SECRET|TOKEN", name)} <= SECRETS


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_an_env_file_that_cannot_be_read_is_named(home: Path, content: bytes | None) -> None:
    if content is None:
        (home / ".env").mkdir()
    else:
        (home / ".env").write_bytes(content)
    assert f"{home}/.env" in refused(home)


def test_home_is_made_for_its_owner_only_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    fresh = ensure_home(load(tmp_path / "a" / "b"))
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    fresh.chmod(0o750)
    ensure_home(load(fresh))
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o750


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigInvalid, match="cannot be made"):
        ensure_home(load(tmp_path / "file" / "home"))


def test_loading_makes_nothing(tmp_path: Path) -> None:
    load(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def run(**environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nova.config"]
    return subprocess.run(
        command, env={"PATH": os.defpath, **environ}, capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_home_is_found_without_a_home_variable(tmp_path: Path) -> None:
    done = run(XDG_DATA_HOME=str(tmp_path))
    assert (done.returncode, Path(done.stdout.strip()).name) == (0, "nova")


def test_the_module_tells_a_wrong_setting_without_a_traceback(tmp_path: Path) -> None:
    done = run(NOVA_HOME=str(tmp_path), NOVA_LOG_LEVEL="loud")
    assert done.returncode == 78
    assert "NOVA_LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr
