"""What a worker's process sees of its manager's environment: an allow-list, and what its deployment declares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nova.errors import NovaError

if TYPE_CHECKING:
    from workers.hosts.base import Spec

_ALLOWED = frozenset(
    (
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "PYTHONPATH",
        "VIRTUAL_ENV", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NOVA_HOME", "NOVA_CURRENCY", "NOVA_TIMEZONE",
    )
)  # fmt: skip
_ALLOWED_LIKE = re.compile(
    r"LC_.+|SSL_CERT_.+|PYTHON(UTF8|IOENCODING|DONTWRITEBYTECODE)|(?i:https?|ftp|all|no)_(?i:proxy)"
)


# What the manager knows and a command has no business with, unless it is declared.
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|^NOVA_DATABASE_URL$|^NOVA_ALERT_URLS$|_DSN$", re.IGNORECASE)

_PRICES = "NOVA_PLATFORM_PRICES"
MARK = "NOVA_NURSERY"  # in the environment of a fork server and of all that comes from it
_BESIDE = ("_API_BASE", "_FROM_EMAIL", "_FROM_NAME")  # what a platform's client needs beside its key
NO_VALUE = "no value is set for"


class MissingSecret(NovaError):
    """A declared secret has no value."""


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name in _ALLOWED or _ALLOWED_LIKE.fullmatch(name)}


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what looks like a secret."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}


def environment_of(spec: Spec, environ: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Of what an instance starts. `environ` is the manager's own, `known` also has what its `.env` files say."""
    base = allowed(environ) if spec.runtime == "process" else clean(environ)
    return {**base, **declared(spec.env, spec.secrets, known)}


def missing(secrets: Iterable[str], known: Mapping[str, str]) -> list[str]:
    return [name for name in secrets if not known.get(name)]


def demand(secrets: Iterable[str], known: Mapping[str, str]) -> None:
    """Raises MissingSecret naming those without a value."""
    without = missing(secrets, known)
    if without:
        raise MissingSecret(
            f"{NO_VALUE} {', '.join(without)}, which this deployment declares as its secret",
            hint="set it in the manager's environment or in NOVA_HOME/.env",
        )


def declared(names: Iterable[str], secrets: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """The variables a deployment declares, as far as they have a value, with its platforms' addresses and prices."""
    chosen = {name: known[name] for name in (*names, *secrets) if name in known}
    platforms = tuple(name.split("_")[0] + "_" for name in secrets)
    bases = {
        name: value
        for name, value in known.items()
        if platforms and (name == _PRICES or (name.startswith(platforms) and name.endswith(_BESIDE)))
    }
    return {**bases, **chosen}
