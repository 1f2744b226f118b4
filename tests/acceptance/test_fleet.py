"""Declaring what runs: repeatable, said in words, and without a secret shown."""

from __future__ import annotations

from .conftest import Home


def test_a_declaration_is_repeatable_and_a_change_is_said(nova: Home) -> None:
    asked = ("deploy", "sales", "shell", "--name", "mailer", "--set", "command=true")
    assert nova.run(*asked, "--every", "15m").stdout == "mailer is deployed\n"
    first = nova.json(*asked, "--every", "15m")
    assert first["revision"] == 1
    assert "nothing changed" in nova.run(*asked, "--every", "15m").stdout
    said = nova.run(*asked, "--every", "5m", "--budget", "3/day").stdout
    assert said == "mailer is updated\n  every: 15m -> 5m\n  budget: none -> 3.00/day\n"
    shown = nova.json(*asked, "--every", "5m", "--budget", "3/day")
    expected = {
        "name": "mailer", "department": "sales", "agent": "shell", "runtime": "thread", "state": "active",
        "replicas": 1,
        "max_replicas": 10, "every_s": 300, "timeout_s": 300, "budget": [{"per": "day", "limit": "3.00"}],
        "config": {"command": "true"}, "revision": 2,
        "imputed": None, "secrets": [], "env": [],
    }  # fmt: skip
    assert {key: shown[key] for key in expected} == expected


def test_a_secret_in_a_configuration_is_never_shown(nova: Home) -> None:
    asked = ("deploy", "sales", "shell", "--set", "command=true", "--set", "env.API_KEY=hush-hush")
    words = nova.run(*asked).stdout + nova.run(*asked, "--json").stdout + nova.run("audit", "log").stdout
    words += nova.run(*asked, "--set", "env.API_KEY=hush-hush-2").stdout
    assert "hush" not in words


def test_a_killed_name_comes_back_only_on_purpose(nova: Home) -> None:
    asked = ("deploy", "sales", "shell", "--name", "mailer", "--set", "command=true")
    nova.run(*asked)
    nova.run("workers", "kill", "mailer", "--yes")
    assert "--revive" in nova.run(*asked, code=4).stderr
    assert nova.json(*asked, "--revive")["state"] == "active"
    nova.run("retire", "mailer", code=2)
    nova.run("retire", "mailer", "--yes")
    nova.run("retire", "mailer", "--yes", code=3)


def test_an_agent_of_ones_own_is_written_and_deployed(nova: Home) -> None:
    path = nova.json("agents", "new", "price_watch")["path"]
    assert path == str(nova.path / "agents" / "price_watch.py")
    assert "price_watch" in nova.run("agents", "list").stdout
    assert "price" in nova.run("agents", "show", "price_watch").stdout
    assert nova.json("deploy", "research", "price_watch", "--set", "price=0.50")["config"] == {"price": "0.50"}
    assert "prise" in nova.run("deploy", "research", "price_watch", "--set", "prise=1", code=2).stderr
    nova.run("agents", "show", "nothing", code=3)


def test_budgets_are_set_listed_and_removed(nova: Home) -> None:
    nova.run("budgets", "set", "department:sales", "50/month")
    rows = nova.json("budgets", "list")["budgets"]
    assert [(row["scope"], row["per"], row["limit"]) for row in rows] == [
        ("fleet", "day", "100.00"),
        ("department:sales", "month", "50.00"),
    ]
    assert "department:sales" in nova.run("budgets", "list").stdout
    assert nova.json("budgets", "remove", "department:sales")["removed"] == 1
    nova.run("budgets", "remove", "department:sales", code=3)
    nova.run("budgets", "set", "department:sales", "50", code=2)
    nova.run("budgets", "set", "nobody", "50/day", code=2)


def test_the_policy_is_set_all_or_nothing(nova: Home) -> None:
    assert nova.json("autonomous", "policy", "set", "min_roi=120", "window=14d")["policy"]["window"] == 14 * 86400
    assert "scale_roi" in nova.run("autonomous", "policy", "set", "min_runs=5", "scale_roi=much", code=2).stderr
    shown = nova.json("autonomous", "policy", "show")
    assert (shown["set"], shown["policy"]["min_runs"]) == (["min_roi", "window"], 20)
    assert "operator" in nova.run("autonomous", "policy", "show").stdout
    assert nova.json("autonomous", "policy", "reset")["set"] == []
