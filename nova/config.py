"""Configuration: what the environment and `.env` say, checked once. Reading it creates nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from nova.clock import parse_duration
from nova.errors import ConfigInvalid, UsageProblem
from nova.money import Money

USUAL_PUBLIC_URL = "http://127.0.0.1:8811"  # where `nova serve` listens

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_NEXT_URL = re.compile(r"\s+|,\s*(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_PRICED = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)?", re.ASCII)
_DEPARTMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def _read(parse: Callable[[str], object], valid: str) -> BeforeValidator:
    """Text goes through `parse`; what it refuses is reported as not being `valid`. Typed values pass."""

    def validate(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return parse(value.strip())
        except (ValueError, ArithmeticError, LookupError, OSError, UsageProblem):
            raise ValueError(valid) from None

    return BeforeValidator(validate)


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


def _percent(text: str) -> Decimal:
    value = Decimal(text.removesuffix("%"))
    _require(value.is_finite() and -100 <= value <= 1_000_000)
    return value


def _amount(text: str) -> Decimal:
    amount = Money.parse(text, "")
    _require(amount.micros >= 0 and not amount.currency)
    return amount.to_decimal()


def _span(text: str) -> float:
    seconds = parse_duration(text)
    _require(seconds > 0)
    return seconds


def _count(text: str) -> int:
    _require(re.fullmatch(r"\d{1,6}", text, re.ASCII) and int(text) >= 1)
    return int(text)


def _switch(text: str) -> bool:
    _require(text.lower() in _TRUE + _FALSE)
    return text.lower() in _TRUE


def _one_of(*words: str) -> Callable[[str], str]:
    by_fold = {word.casefold(): word for word in words}
    return lambda text: by_fold[text.casefold()]


def _currency(text: str) -> str:
    _require(re.fullmatch(r"[A-Za-z]{3}", text, re.ASCII))
    return text.upper()


def _zone(text: str) -> str:
    return ZoneInfo(text).key


def _sqlite(text: str) -> str:
    _require(text.startswith("sqlite:///") and len(text) > len("sqlite:///") and not text.endswith(":memory:"))
    return text


def _base(text: str) -> str:
    parts = urlsplit(text)
    _require(parts.scheme in ("http", "https") and parts.hostname and (parts.port or True))
    return text.rstrip("/")


def _urls(text: str) -> tuple[str, ...]:
    urls = tuple(url.rstrip(",") for url in _NEXT_URL.split(text) if url.strip(","))
    _require(all(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", url) for url in urls))
    return urls


def _prices(text: str) -> dict[str, Money]:
    prices = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, equals, amount = part.partition("=")
        _require(equals and _PRICED.fullmatch(name.strip()))
        prices[name.strip()] = Money.parse(amount, "")
        _require(prices[name.strip()].micros >= 0)
    return prices


def _department(text: str) -> str:
    _require(_DEPARTMENT.fullmatch(text))
    return text


Percent = Annotated[Decimal, _read(_percent, "a percentage of at least -100, such as 150")]
Amount = Annotated[Decimal, _read(_amount, "an amount of money, such as 50 or 49.90")]
Span = Annotated[float, _read(_span, "a duration longer than zero, such as 90, 90s, 5m or 2h")]
Pause = Annotated[float, _read(parse_duration, "a duration, such as 90, 90s, 5m or 2h")]
Count = Annotated[int, _read(_count, "a whole number from 1 to 999999")]
Switch = Annotated[bool, _read(_switch, "true or false")]
Currency = Annotated[str, _read(_currency, "a currency's three letters, such as USD")]
Zone = Annotated[str, _read(_zone, "a time zone, such as UTC or Europe/Vienna")]
Level = Annotated[str, _read(_one_of(*_LEVELS), f"one of {', '.join(_LEVELS)}")]
Format = Annotated[str, _read(_one_of("text", "json"), "text or json")]
Database = Annotated[
    str, _read(_sqlite, "sqlite:////path/to/ledger.db; other databases (PostgreSQL) are not supported yet")
]
Base = Annotated[str, _read(_base, "an address that begins with http:// or https://")]
Urls = Annotated[tuple[str, ...], _read(_urls, "apprise addresses (scheme://…), separated by commas or blanks")]
Prices = Annotated[
    Mapping[str, Money],
    _read(_prices, "prices by platform and operation, such as twitter/post=0.01 USD, twitter/delete=0"),
]
Department = Annotated[str, _read(_department, "all, or the name of a department")]
Secret = Annotated[SecretStr, BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value)]


class Settings(BaseSettings):
    """One field a variable, named as the variable in lower case. Durations are seconds."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    nova_home: Path
    nova_database_url: Database | None = Field(default=None, repr=False)
    nova_currency: Currency = "USD"
    nova_timezone: Zone = "UTC"
    nova_log_level: Level = "INFO"
    nova_log_format: Format = "text"
    nova_alert_urls: Urls = Field(default=(), repr=False, exclude=True)  # their paths carry tokens

    nova_public_url: Base = USUAL_PUBLIC_URL

    autonomous_enabled: Switch = False
    max_daily_budget: Amount = Decimal(100)
    min_roi_threshold: Percent = Decimal(150)
    scale_roi_threshold: Percent = Decimal(300)
    kill_roi_threshold: Percent = Decimal(0)
    require_approval_above: Amount = Decimal(50)

    worker_run_interval: Span = 60.0
    worker_max_crashes: Count = 5
    worker_crash_cooldown: Pause = 300.0
    worker_auto_restart: Switch = True
    worker_department: Department = "all"
    worker_max_hung: Count = 10

    stripe_api_key: Secret | None = None
    stripe_webhook_secret: Secret | None = None
    stripe_api_base: Base | None = None
    gumroad_access_token: Secret | None = None
    gumroad_webhook_secret: Secret | None = None
    gumroad_api_base: Base | None = None
    sendgrid_api_key: Secret | None = None
    sendgrid_webhook_key: Secret | None = None
    sendgrid_from_email: str | None = None
    sendgrid_from_name: str | None = None
    sendgrid_api_base: Base | None = None
    twitter_bearer_token: Secret | None = None
    twitter_api_key: Secret | None = None
    twitter_api_secret: Secret | None = None
    twitter_access_token: Secret | None = None
    twitter_access_secret: Secret | None = None
    twitter_api_base: Base | None = None
    github_token: Secret | None = None
    github_webhook_secret: Secret | None = None
    github_api_base: Base | None = None
    nova_platform_prices: Prices = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` gives: it knows the order of the files, and takes any environment."""
        return (init_settings,)

    @property
    def fleet_path(self) -> Path:
        return self.nova_home / "fleet.json"

    @property
    def ledger_path(self) -> Path:
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def logs_dir(self) -> Path:
        return self.nova_home / "logs"

    @property
    def run_dir(self) -> Path:
        return self.nova_home / "run"

    @property
    def database_url(self) -> str:
        return self.nova_database_url or f"sqlite:///{self.nova_home / 'ledger.db'}"

    @property
    def tz(self) -> ZoneInfo:
        """Says what a day is, for budgets and reports."""
        return ZoneInfo(self.nova_timezone)


VARIABLES: tuple[str, ...] = tuple(name.upper() for name in Settings.model_fields)
SECRETS: frozenset[str] = frozenset(
    name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in repr(field.annotation)
) | {"NOVA_ALERT_URLS"}


def secret_values(settings: Settings) -> list[str]:
    """What must appear in no log, whoever writes it."""
    found = (getattr(settings, name) for name in Settings.model_fields)
    return [value.get_secret_value() for value in found if isinstance(value, SecretStr)] + [*settings.nova_alert_urls]


def load_settings(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """What the process environment says, else `.env` in `cwd`, else NOVA_HOME/.env; empty means unset.

    Raises ConfigInvalid naming every setting that is wrong.
    """
    environ = os.environ if environ is None else environ
    cwd = _here() if cwd is None else cwd
    problems: list[str] = []
    merged, home = _merged(environ, cwd, problems)
    return _validated(merged, problems, f"mend the environment or .env; {home / '.env'} holds what is set for good")


def variables(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> dict[str, str]:
    """All that the environment says, else `.env` in `cwd`, else NOVA_HOME/.env, whether nova knows it or not."""
    environ = os.environ if environ is None else environ
    cwd = _here() if cwd is None else cwd
    return _merged(environ, cwd, [])[0]


def settings_of(values: Mapping[str, str]) -> Settings:
    """Of these values alone. Raises ConfigInvalid."""
    return _validated(values, [], "see `nova doctor`")


def check_values(values: Mapping[str, str], home: Path) -> None:
    """Raises ConfigInvalid when one of them makes no sense, whatever else is set."""
    _validated({**values, "NOVA_HOME": str(home)}, [], "nothing was changed")


def _validated(texts: Mapping[str, str], problems: list[str], hint: str) -> Settings:
    values = {name.lower(): texts[name] for name in VARIABLES if texts.get(name, "").strip()}
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as refused:
        problems += [_told(error) for error in refused.errors()]
    if problems:
        count = "a setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        words = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigInvalid(f"{count} invalid:\n{words}", hint=hint)
    return settings


def unknown_names(home: Path) -> dict[str, str | None]:
    """What NOVA_HOME/.env sets and nova does not know: a slip of the pen, with the variable that may be meant."""
    import difflib

    strange = (name for name in _dotenv(home / ".env", []) if name not in VARIABLES)
    return {name: next(iter(difflib.get_close_matches(name.upper(), VARIABLES, n=1)), None) for name in strange}


def home_folder(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """NOVA_HOME alone, also where other settings are wrong: for what mends them."""
    environ = os.environ if environ is None else environ
    cwd = _here() if cwd is None else cwd
    return _home(environ.get("NOVA_HOME") or _dotenv(cwd / ".env", []).get("NOVA_HOME"), cwd)


def ensure_home(settings: Settings) -> Path:
    """Makes NOVA_HOME, 0700, where it is missing. One that is there keeps its mode. Raises ConfigInvalid."""
    home = settings.nova_home
    if not home.is_dir():
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigInvalid(f"NOVA_HOME {home} cannot be made: {error.strerror}", hint="set NOVA_HOME") from error
    return home


def _merged(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> tuple[dict[str, str], Path]:
    near = _dotenv(cwd / ".env", problems)
    home = _home(environ.get("NOVA_HOME") or near.get("NOVA_HOME"), cwd)
    far = _dotenv(home / ".env", problems) if home != cwd else {}
    return {**far, **near, **environ, "NOVA_HOME": str(home)}, home


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigInvalid("the working directory is gone", hint="change to one that exists") from error


def _home(said: str | None, cwd: Path) -> Path:
    if said and said.strip():
        try:
            return cwd / Path(said.strip()).expanduser()
        except RuntimeError:
            raise ConfigInvalid(f"NOVA_HOME cannot be {said!r}: whose home that is cannot be told") from None
    from platformdirs import user_data_dir

    home = Path(user_data_dir("nova"))
    if not home.is_absolute():  # neither HOME nor the user's entry in the password database says where home is
        raise ConfigInvalid("NOVA_HOME is not set, and this user has no home directory", hint="set NOVA_HOME")
    return home


def _dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    """Values are taken literally: `$` means nothing. What cannot be read is told in `problems`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return {}
    except UnicodeDecodeError:
        problems.append(f"{path} is not UTF-8 text")
        return {}
    import io

    from dotenv.parser import parse_stream

    bindings = list(parse_stream(io.StringIO(text)))
    problems += [
        f"{path} line {one.original.line} cannot be read: it is not NAME=value" for one in bindings if one.error
    ]
    return {one.key: one.value or "" for one in bindings if one.key and not one.error}


def _told(error: Any) -> str:
    name = str(error["loc"][0]).upper()
    cause = error.get("ctx", {}).get("error")
    valid = str(cause) if cause is not None else error["msg"]
    value = str(error["input"])
    shown = "what it is set to" if name in SECRETS or "@" in value else repr(value)
    return f"{name} cannot be {shown}: it is {valid}"


def main() -> int:
    """`python -m nova.config` makes NOVA_HOME and prints where it is: for deploy.sh, before anything is set up."""
    try:
        print(ensure_home(load_settings()))
    except ConfigInvalid as problem:
        print(f"{problem.message}\n{problem.hint}", file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
