"""The book as an operator handles it: exported and merged, backed up and restored, corrected."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

from .conftest import NOVA, Home


def test_exports_merge_whatever_the_order_and_however_often(nova: Home, tmp_path: Path) -> None:
    other_path = tmp_path / "other"
    other_path.mkdir(mode=0o700)
    other = Home(other_path)
    for home, id, amount in ((nova, "one", "5.00"), (other, "two", "7.00")):
        home.run("revenue", "record", "mailer", amount, "--id", id, "--at", "2026-01-02T03:04:05Z")
        home.run("ledger", "export", str(tmp_path / f"{id}.jsonl"))
    for _ in range(2):
        nova.run("ledger", "import", str(tmp_path / "two.jsonl"))
        other.run("ledger", "import", str(tmp_path / "one.jsonl"))
    assert nova.json("revenue", "report") == other.json("revenue", "report")
    assert nova.json("revenue", "report")["total"]["revenue"] == "12.00"
    nova.run("ledger", "export", str(tmp_path / "one.jsonl"), code=2)
    nova.run("ledger", "export", str(tmp_path / "one.jsonl"), "--force")


def test_an_export_goes_through_a_pipe(nova: Home, tmp_path: Path) -> None:
    nova.run("revenue", "record", "mailer", "5.00", "--id", "one")
    other = tmp_path / "other"
    line = f"'{NOVA}' ledger export | NOVA_HOME='{other}' '{NOVA}' ledger import - --json"
    done = subprocess.run(["/bin/sh", "-c", line], env=nova.environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["new"] == 1


def test_the_same_key_with_another_content_is_refused(nova: Home, tmp_path: Path) -> None:
    nova.run("revenue", "record", "mailer", "5.00", "--id", "one")
    nova.run("revenue", "record", "mailer", "5.00", "--id", "one")
    assert "one" in nova.run("revenue", "record", "mailer", "6.00", "--id", "one", code=4).stderr
    file = tmp_path / "changed.jsonl"
    file.write_text(nova.run("ledger", "export").stdout.replace('"5.00"', '"6.00"'))
    assert nova.json("ledger", "import", str(file), code=1)["rejections"] == 1
    assert nova.json("revenue", "report")["total"]["revenue"] == "5.00"


def test_a_backup_is_put_back(nova: Home, tmp_path: Path) -> None:
    copy = tmp_path / "ledger.db"
    nova.run("revenue", "record", "mailer", "5.00", "--id", "one")
    nova.run("ledger", "backup", str(copy))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    nova.run("ledger", "backup", str(copy), code=2)
    nova.run("revenue", "record", "mailer", "7.00", "--id", "two")
    nova.run("ledger", "restore", str(copy), code=2)
    nova.run("workers", "start")
    nova.run("ledger", "restore", str(copy), "--yes", code=75)
    nova.run("workers", "stop")
    nova.run("ledger", "restore", str(copy), "--yes")
    assert nova.json("revenue", "report")["total"]["revenue"] == "5.00"
    assert nova.json("ledger", "verify")["ok"]
    nova.run("ledger", "restore", str(tmp_path / "none.db"), "--yes", code=3)


def test_a_correction_is_a_new_entry(nova: Home) -> None:
    nova.run("revenue", "record", "mailer", "5.00", "--id", "one")
    nova.run("ledger", "adjust", "manual/one", "-1.50", "--note", "typed wrong")
    assert nova.json("revenue", "report")["total"]["revenue"] == "3.50"
    nova.run("ledger", "adjust", "nobody/none", "1.00", "--note", "x", code=3)


def test_what_has_no_rate_waits_until_there_is_one(nova: Home) -> None:
    nova.run("revenue", "record", "mailer", "10.00 EUR", "--id", "one")
    assert nova.json("revenue", "report")["total"]["revenue"] == "0.00"
    assert nova.json("revenue", "rates", "list")["lacking"] == ["EUR"]
    assert nova.json("revenue", "rates", "set", "EUR=1.08")["rates"][0]["converted"] == 1
    assert nova.json("revenue", "report")["total"]["revenue"] == "10.80"
    nova.run("revenue", "rates", "set", "EUR=much", code=2)
