"""Which platforms are known and configured, and what checking them says."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from nova.config import Settings, load_settings
from nova.errors import NotFound, PlatformNotConfigured, PlatformRefused, Unreachable
from platforms.base import PlatformFailed, RateLimited, shown
from platforms.registry import check, configured_revenue, known_platforms, revenue_platform
from tests.hands import QuickHands

NAMES = {"github": "GITHUB_TOKEN"}


class Vendor(BaseHTTPRequestHandler):
    status = 200
    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def vendor() -> Iterator[type[Vendor]]:
    Vendor.status, Vendor.asked = 200, []
    server = HTTPServer(("127.0.0.1", 0), Vendor)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    Vendor.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    yield Vendor
    server.shutdown()
    thread.join()
    server.server_close()


def settings(**environ: str) -> Settings:
    return load_settings({"NOVA_HOME": "/tmp/nova-none", **environ})


def test_without_keys_nothing_is_configured() -> None:
    states = known_platforms(settings())
    assert [state.name for state in states] == ["stripe", "gumroad", "sendgrid", "twitter", "github"]
    assert not any(state.configured for state in states)
    assert configured_revenue(settings()) == []


def test_a_key_configures_its_platform() -> None:
    configured = settings(STRIPE_API_KEY="sk_test_1", STRIPE_API_BASE="http://127.0.0.1:1/")
    assert [(state.name, state.base) for state in known_platforms(configured) if state.configured] == [
        ("stripe", "http://127.0.0.1:1")
    ]
    assert configured_revenue(configured) == ["stripe"]


def test_x_is_configured_by_either_set_of_its_keys() -> None:
    four = ("API_KEY", "API_SECRET", "ACCESS_TOKEN", "ACCESS_SECRET")
    for keys in (("BEARER_TOKEN",), four):
        states = known_platforms(settings(**{f"TWITTER_{key}": "1-x" for key in keys}))
        assert [state.name for state in states if state.configured] == ["twitter"]
    assert not any(state.configured for state in known_platforms(settings(TWITTER_API_KEY="x")))


@pytest.mark.parametrize("name", ["stripe", "twitter", *NAMES])
def test_a_check_without_a_key_is_not_configured(name: str) -> None:
    with pytest.raises(PlatformNotConfigured, match=name):
        check(settings(), name)


def test_an_unknown_platform_is_not_found() -> None:
    with pytest.raises(NotFound):
        check(settings(), "myspace")
    with pytest.raises(NotFound):
        revenue_platform(settings(), "myspace")


def test_revenue_without_a_key_is_not_configured() -> None:
    for name in ("stripe", "gumroad"):
        with pytest.raises(PlatformNotConfigured):
            revenue_platform(settings(), name)


@pytest.mark.parametrize(("name", "key"), NAMES.items())
def test_a_check_is_one_harmless_call(vendor: type[Vendor], name: str, key: str) -> None:
    base = f"{name.upper()}_API_BASE"
    assert check(settings(**{key: "s3cret", base: vendor.url}), name) == "answers"  # type: ignore[attr-defined]
    assert [authorization for _, authorization in vendor.asked] == ["Bearer s3cret"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, PlatformRefused), (403, PlatformRefused), (429, RateLimited), (500, Unreachable), (404, PlatformFailed)],
)
def test_answers_are_told_apart(vendor: type[Vendor], status: int, error: type[Exception]) -> None:
    vendor.status = status
    with pytest.raises(error) as caught:
        check(settings(GITHUB_TOKEN="s3cret", GITHUB_API_BASE=vendor.url), "github", QuickHands())  # type: ignore[attr-defined]
    assert "s3cret" not in str(caught.value)


def test_a_vendor_that_is_gone_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="github"):
        check(settings(GITHUB_TOKEN="s3cret", GITHUB_API_BASE="http://127.0.0.1:9"), "github", QuickHands())


@pytest.mark.parametrize(
    ("base", "printed"),
    [
        ("http://ann:s3cret@127.0.0.1:9/api", "http://127.0.0.1:9/api"),
        ("http://ann:s3@cret@127.0.0.1:9", "http://127.0.0.1:9"),
        ("https://api.github.com/x@y", "https://api.github.com/x@y"),
    ],
)
def test_the_password_of_a_proxy_is_not_printed(base: str, printed: str) -> None:
    assert shown(base) == printed
    states = known_platforms(settings(GITHUB_API_BASE=base))
    assert printed in [state.base for state in states]


@pytest.mark.parametrize("name", ["stripe", "github"])
def test_an_error_does_not_quote_the_password_of_a_proxy(name: str) -> None:
    key = {"stripe": "STRIPE_API_KEY", "github": "GITHUB_TOKEN"}[name]
    base = {f"{name.upper()}_API_BASE": "http://ann:s3cret@127.0.0.1:9"}
    with pytest.raises(Unreachable) as failed:
        check(settings(**{key: "sk_test_key"}, **base), name, QuickHands())
    assert "s3cret" not in failed.value.message and "127.0.0.1:9" in failed.value.message
