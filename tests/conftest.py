"""What every test shares: an environment without the operator's own settings, and a home of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import pytest_runtest_makereport as pytest_runtest_makereport

# How fast a machine is that others use too says nothing of what is tested.
settings.register_profile("nova", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nova")

# A suite that was started in the background ignores these, and so would every program that it starts and signals.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

_PREFIXES = ("NOVA_", "WORKER_", "STRIPE_", "GUMROAD_", "SENDGRID_", "TWITTER_", "GITHUB_")
_NAMES = (
    "AUTONOMOUS_ENABLED",
    "MAX_DAILY_BUDGET",
    "MIN_ROI_THRESHOLD",
    "SCALE_ROI_THRESHOLD",
    "KILL_ROI_THRESHOLD",
    "REQUIRE_APPROVAL_ABOVE",
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty NOVA_HOME; nothing of the machine's own settings reaches a test."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name in _NAMES:
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("NOVA_HOME", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def missing(what: str) -> None:
    """A server that is missing skips on a laptop and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing in CI")
    pytest.skip(f"{what} is not installed")
