from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nova.cli import env_file
from nova.errors import ConfigInvalid, UsageProblem


def test_comments_and_other_lines_stay(home: Path) -> None:
    file = home / ".env"
    file.write_text("# Keys\n# STRIPE_API_KEY=\nNOVA_TIMEZONE=UTC\n")
    env_file.write(file, {"STRIPE_API_KEY": "sk_test_1", "GITHUB_TOKEN": "g"})
    assert file.read_text() == "# Keys\nSTRIPE_API_KEY=sk_test_1\nNOVA_TIMEZONE=UTC\nGITHUB_TOKEN=g\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_second_value_replaces_the_first(home: Path) -> None:
    file = home / ".env"
    env_file.write(file, {"GITHUB_TOKEN": "one"})
    env_file.write(file, {"GITHUB_TOKEN": "two"})
    assert file.read_text() == "GITHUB_TOKEN=two\n"


@pytest.mark.parametrize("value", ["it's", 'a "quoted" one', "back\\slash", "with # hash", "$HOME", " blank "])
def test_what_is_written_is_what_is_read(home: Path, value: str) -> None:
    file = home / ".env"
    env_file.write(file, {"SENDGRID_FROM_NAME": value})
    assert env_file.read(file) == {"SENDGRID_FROM_NAME": value}


@pytest.mark.parametrize("name", ["NO_SUCH", "NOVA_HOME", "PATH"])
def test_what_nova_does_not_read_is_not_written(home: Path, name: str) -> None:
    with pytest.raises(UsageProblem, match=name):
        env_file.write(home / ".env", {name: "x"})
    assert not (home / ".env").exists()


def test_a_wrong_value_leaves_the_file_alone(home: Path) -> None:
    file = home / ".env"
    file.write_text("NOVA_TIMEZONE=UTC\n")
    with pytest.raises(ConfigInvalid, match="NOVA_TIMEZONE"):
        env_file.write(file, {"NOVA_TIMEZONE": "Mars"})
    with pytest.raises(UsageProblem, match="one line"):
        env_file.write(file, {"SENDGRID_FROM_NAME": "a\nAUTONOMOUS_ENABLED=true"})
    assert file.read_text() == "NOVA_TIMEZONE=UTC\n"


def test_a_wrong_value_in_the_file_can_be_mended(home: Path) -> None:
    file = home / ".env"
    file.write_text("NOVA_TIMEZONE=Mars\n")
    env_file.write(file, {"NOVA_TIMEZONE": "UTC"})
    assert file.read_text() == "NOVA_TIMEZONE=UTC\n"


def test_one_of_several_wrong_values_can_be_mended(home: Path) -> None:
    file = home / ".env"
    file.write_text("NOVA_TIMEZONE=Mars\nMAX_DAILY_BUDGET=lots\nno equals sign here\n")
    assert env_file.path() == file
    env_file.write(file, {"NOVA_TIMEZONE": "UTC"})
    assert file.read_text() == "NOVA_TIMEZONE=UTC\nMAX_DAILY_BUDGET=lots\nno equals sign here\n"
    assert env_file.read(file)["NOVA_TIMEZONE"] == "UTC"


def test_a_file_that_is_no_text_is_refused_in_words(home: Path) -> None:
    (home / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        env_file.write(home / ".env", {"NOVA_TIMEZONE": "UTC"})
