from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from nova.cli import app
from nova.cli.problems import describe
from nova.errors import ConfigInvalid, LockHeld, NotFound, NovaError, PlatformRefused, Refused, Unreachable


def _raising(error: BaseException) -> Callable[..., object]:
    class Root:
        def main(self, *_: object, **__: object) -> None:
            raise error

    return Root


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NovaError, 1),
        (NotFound, 3),
        (Refused, 4),
        (PlatformRefused, 5),
        (Unreachable, 69),
        (LockHeld, 75),
        (ConfigInvalid, 78),
    ],
)
def test_an_error_becomes_its_exit_code_and_one_json_document(
    error: type[NovaError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "root", _raising(error("it is so", hint="do that")))
    assert app.run(["workers", "status", "--json"]) == code
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": {"code": code, "message": "it is so", "hint": "do that"}}
    assert said.err == "error: it is so\nhint: do that\n"


def test_without_json_stdout_stays_empty(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app, "root", _raising(NotFound("no such thing")))
    assert app.run(["workers", "status"]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: no such thing\n"


def test_an_unexpected_error_is_one_line_unless_debugged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "root", _raising(ZeroDivisionError("oh")))
    assert app.run(["status"]) == 1
    said = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: oh" in said
    assert "--debug" in said
    assert "Traceback" not in said
    assert app.run(["status", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "root", _raising(KeyboardInterrupt()))
    assert app.run(["status"]) == 130


def test_wrong_usage_is_2_also_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["workers", "scal", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == 2
    assert "Did you mean 'scale'" in error["message"]
    assert error["hint"] == "nova workers --help shows how it is used"


def test_what_follows_two_dashes_is_no_option_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["no-such", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([]) == 0
    assert "Usage: nova" in capsys.readouterr().out
    assert app.run(["workers"]) == 0
    assert "Usage: nova workers" in capsys.readouterr().out


def test_a_full_disk_says_what_to_do() -> None:
    problem = describe(OSError(28, "No space left on device", "/data/ledger.db"))
    assert problem.code == 1
    assert problem.message == "/data/ledger.db: No space left on device"
    assert problem.hint is not None


def test_causes_are_told_but_not_those_of_vendors() -> None:
    def fail(cause: Exception) -> Exception:
        error = NovaError("the fleet cannot be read")
        error.__cause__ = cause
        return error

    assert describe(fail(PermissionError(13, "Permission denied", "/x"))).causes == ("/x: Permission denied",)
    assert describe(fail(RuntimeError("GET /?access_token=secret"))).causes == ()
