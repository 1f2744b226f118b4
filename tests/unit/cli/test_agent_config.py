from __future__ import annotations

from pathlib import Path

import pytest

from nova.cli.agent_config import read_config
from nova.errors import UsageProblem


def test_settings_are_text_unless_they_are_json_objects_or_lists() -> None:
    config = read_config(None, ["command=echo a=b", "n=3", 'fields={"text": ".t"}', "list=[1, 2]", "blank="])
    assert config == {"command": "echo a=b", "n": "3", "fields": {"text": ".t"}, "list": [1, 2], "blank": ""}


def test_a_command_that_looks_like_json_stays_text() -> None:
    assert read_config(None, ["command={ echo hi; }", "test=[ -f x ]"]) == {
        "command": "{ echo hi; }",
        "test": "[ -f x ]",
    }


def test_a_dotted_key_goes_inside() -> None:
    assert read_config(None, ["env.A=1", "env.B=2"]) == {"env": {"A": "1", "B": "2"}}


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text('{"command": "true", "env": {"A": "0", "C": "9"}}')
    assert read_config(file, ["env.A=1"]) == {"command": "true", "env": {"A": "1", "C": "9"}}


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('command = "true"\n[env]\nA = "1"\n')
    assert read_config(file, []) == {"command": "true", "env": {"A": "1"}}


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.json", "[1]"), ("a.toml", "x ="), ("a.txt", "x: 1")])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UsageProblem, match=name):
        read_config(file, [])


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(UsageProblem, match="'command'"):
        read_config(None, ["command"])
    with pytest.raises(UsageProblem, match="holds a value"):
        read_config(None, ["env=x", "env.A=1"])
