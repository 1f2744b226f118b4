"""Input nobody wants: one clear message each, the right exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import NOVA, Home, until

MEGABYTE = 1_000_000


@pytest.mark.parametrize("name", ["a/b", "../evil", "naïve", "名前", "", "-x", "a b", "a" * 65, ".hidden"])
def test_a_name_that_could_leave_its_folder_is_refused(nova: Home, name: str) -> None:
    done = nova.run("deploy", "research", "shell", f"--name={name}", "--set", "command=true", code=2)
    assert "error: not a valid name" in done.stderr
    assert nova.json("workers", "status")["workers"] == []


@pytest.mark.parametrize("name", ["a/b", "../../etc/passwd", "名前"])
def test_no_command_follows_a_strange_name_to_a_file(nova: Home, name: str) -> None:
    for command in (("workers", "logs"), ("workers", "pause"), ("workers", "scale", "--replicas", "2")):
        assert nova.json(*command[:2], name, *command[2:], code=3)["error"]["code"] == 3


def test_a_fleet_that_cannot_be_parsed_is_kept_and_its_copy_named(nova: Home) -> None:
    nova.deploy("one", "true")
    nova.deploy("two", "true")
    broken = '{"deployments": {"1": {"name"'
    (nova.path / "fleet.json").write_text(broken)
    for command in (("workers", "status"), ("workers", "pause", "one"), ("autonomous", "run")):
        done = nova.run(*command, code=1)
        assert "fleet.json.bak" in done.stderr
        assert len(done.stderr.splitlines()) <= 3
    assert (nova.path / "fleet.json").read_text() == broken
    (nova.path / "fleet.json").write_bytes((nova.path / "fleet.json.bak").read_bytes())
    assert nova.worker("one")["state"] == "active"


def test_a_wrong_amount_on_line_40000_costs_only_that_line(nova: Home, tmp_path: Path) -> None:
    nova.deploy("mail", "true")
    rows = [f"{number},2026-03-{number % 28 + 1:02d},1.10" for number in range(2, 50_002)]
    rows[39_998] = "40000,2026-03-01,1.1O"
    sales = tmp_path / "sales.csv"
    sales.write_text("\n".join(["id,day,paid", *rows]) + "\n")
    columns = ("--at-column", "day", "--amount-column", "paid", "--id-column", "id", "--worker", "mail")
    strict = nova.json("revenue", "import", str(sales), "--source", "shop", *columns, "--strict", code=1)
    assert "40000" in json.dumps(strict)
    assert nova.json("revenue", "report")["total"]["entries"] == 0
    done = nova.json("revenue", "import", str(sales), "--source", "shop", *columns)
    assert (done["rows"], done["new"], [row["line"] for row in done["rejected"]]) == (50_000, 49_999, [40_000])
    words = nova.run("revenue", "import", str(sales), "--source", "shop", *columns)
    assert "0 new, 49,999 duplicate, 1 refused" in words.stdout
    assert "line 40000" in words.stderr


def test_an_import_of_nonsense_names_the_lines(nova: Home, tmp_path: Path) -> None:
    good = {"type": "entry", "id": "1", "source": "s", "kind": "revenue", "worker": "w", "amount": "1.00",
            "currency": "USD", "at": "2026-01-02T03:04:05Z"}  # fmt: skip
    bad = {**good, "id": "2", "amount": "much"}
    lines = [
        json.dumps(good),
        "{",
        json.dumps(bad),
        '{"type":"entry"}',
        "\x00\xff",
        json.dumps({**good, "amount": "2.00"}),
    ]
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(lines))
    done = nova.json("ledger", "import", str(file), code=1)
    assert done["new"] == 1
    assert [row["line"] for row in done["rejected"]] == [2, 3, 4, 5, 6]
    assert nova.json("revenue", "report")["total"]["revenue"] == "1.00"


@pytest.fixture
def small_disk(nova: Home) -> Iterator[Home]:
    """NOVA_HOME on a file system of two megabytes."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(nova.path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        yield nova
    finally:
        nova.close()
        subprocess.run(["umount", "-l", str(nova.path)], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small_disk: Home, tmp_path: Path) -> None:
    nova = small_disk
    nova.deploy("mail", "true")
    nova.run("revenue", "record", "mail", "5.00", "--id", "before")
    (nova.path / "filler").write_bytes(b"x" * _free(nova.path))
    big = tmp_path / "big.jsonl"
    entry = {"type": "entry", "source": "s", "kind": "revenue", "worker": "mail", "amount": "1.00", "currency": "USD"}
    with big.open("w") as out:
        for number in range(20_000):
            out.write(json.dumps({**entry, "id": str(number), "at": "2026-01-02T03:04:05Z"}) + "\n")
    done = nova.run("ledger", "import", str(big), code=1)
    assert "full" in done.stderr.lower() or "space" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert nova.run("deploy", "research", "shell", "--name", "more", "--set", f"command={'x' * 20_000}", code=1).stderr
    (nova.path / "filler").unlink()
    assert nova.json("ledger", "verify")["ok"]
    assert nova.worker("mail")["state"] == "active"
    assert "5.00" in nova.run("ledger", "export").stdout


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def test_a_command_that_prints_100_megabytes_is_bounded(nova: Home) -> None:
    nova.deploy(
        "loud",
        f"head -c {100 * MEGABYTE} /dev/zero | tr '\\0' 'x'; head -c {MEGABYTE} /dev/zero; echo; exit 0",
        "--every",
        "1h",
    )
    nova.deploy("lines", f"yes loud line | head -c {100 * MEGABYTE}", "--every", "1h")
    nova.run("workers", "start")
    for name in ("loud", "lines"):
        until(f"the end of {name}", lambda name=name: nova.worker(name)["runs"] == 1, 60)
        assert nova.worker(name)["succeeded"] == 1
    logs = sum(path.stat().st_size for path in (nova.path / "logs" / "workers").iterdir())
    assert logs <= 2 * 3 * 11 * MEGABYTE
    tail = nova.run("workers", "logs", "lines", "-n", "5", "--json").stdout
    assert len(tail.splitlines()) <= 5
    assert len(tail) < MEGABYTE


def test_a_command_that_never_ends_is_ended_at_its_timeout(nova: Home) -> None:
    nova.deploy("endless", "trap '' TERM; while :; do sleep 1; done", "--every", "1h", "--timeout", "1s")
    nova.run("workers", "start")
    row = until("the end", lambda: (row := nova.worker("endless"))["failed"] + row["interrupted"] and row)
    assert "timeout" in row["last_error"].lower() or "time" in row["last_error"].lower()
    nova.run("workers", "stop", "--timeout", "10s")


def test_a_damaged_ledger_is_one_clear_message(nova: Home) -> None:
    nova.deploy("mail", "true")
    nova.run("revenue", "record", "mail", "5.00")
    (nova.path / "ledger.db").write_bytes(b"this is no database" * 1000)
    for side in ("ledger.db-wal", "ledger.db-shm"):
        (nova.path / side).unlink(missing_ok=True)
    done = nova.run("revenue", "report", code=1)
    assert "ledger.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert nova.run("doctor", code=1).stdout


def test_money_that_makes_no_sense_is_refused(nova: Home) -> None:
    nova.deploy("mail", "true")
    for amount in ("1e3", "12.3456789", "NaN", "1,50", "ten", "99999999999999999999"):
        assert "error:" in nova.run("revenue", "record", "mail", amount, code=2).stderr
    assert nova.json("revenue", "report")["total"]["entries"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_an_output_that_takes_nothing_is_told_in_words(nova: Home) -> None:
    for args in (["version"], ["version", "--json"], ["workers", "status", "--json"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [str(NOVA), *args], env=nova.environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        assert done.stderr.startswith("error: No space left on device")
        assert "Traceback" not in done.stderr


def test_a_closed_output_is_no_reason_to_fail(nova: Home) -> None:
    for args in (["version"], ["workers", "status", "--json"]):
        command = ["/bin/sh", "-c", '"$@" >&- 2>&-', "sh", str(NOVA), *args]
        assert subprocess.run(command, env=nova.environment, check=False).returncode == 0
