"""The agent `social_agent`: posts on X from a queue, answers mentions by rules, and keeps what became of its posts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from nova.clock import iso
from nova.config import load_settings
from nova.errors import NovaError, PlatformNotConfigured, PlatformRefused, Unreachable, UsageProblem
from nova.ledger.effects import EffectHeld
from nova.words import count
from platforms.base import Conflicting, Declined, Forbidden, InDoubt, InvalidRequest, Missing, PlatformFailed, Stopped
from platforms.twitter_rules import check_post
from workers.agents.social_config import SocialConfig
from workers.agents.social_queue import Item, QueueProblem, items_of, read_queue
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext

if TYPE_CHECKING:
    from pydantic import BaseModel

    from platforms.twitter_integration import Twitter
    from platforms.twitter_types import Post

_GIVEN_UP = (Declined, InvalidRequest, Missing, Conflicting, InDoubt)
_PROBLEMS = (
    PlatformFailed, PlatformRefused, PlatformNotConfigured, Unreachable, UsageProblem, QueueProblem, Stopped,
)  # fmt: skip
_KEPT_POSTS = 100
_MOST_TRIES = 5
_LONGEST_DOUBT = timedelta(days=1)


class SocialAgent(BaseWorker):
    """Posts on X from a queue, in threads too, answers mentions by rules, and follows the figures of its posts."""

    Config: ClassVar[type[BaseModel]] = SocialConfig
    scalable: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = (
        "TWITTER_API_KEY", "TWITTER_API_SECRET", "TWITTER_ACCESS_TOKEN", "TWITTER_ACCESS_SECRET",
    )  # fmt: skip
    costs: ClassVar[str] = (
        "each request by NOVA_PLATFORM_PRICES, else as X publishes: a post $0.015, one with a link $0.20, a mention or"
        " an own post read $0.001"
    )
    tunables: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "slot": ("30m", "1h", "2h", "4h", "8h"),
        "per_day": (2, 4, 8, 12),
        "replies_per_run": (2, 5, 10),
    }

    def run(self, ctx: RunContext) -> RunResult:
        try:
            with ctx.turn("x"):
                return self._run(ctx)
        except EffectHeld:
            return RunResult(message="another run is at it")

    def _run(self, ctx: RunContext) -> RunResult:
        said, problems = list[str](), list[NovaError]()
        try:
            twitter: Twitter = ctx.platforms.twitter
            _settle(ctx, twitter)
            for step in (_answer_mentions, _post_next, _measure):
                if ctx.stopping:
                    break
                try:
                    said += step(ctx, twitter)
                except _PROBLEMS as problem:
                    problems.append(problem)
                    if "pending" in ctx.state:  # nothing else may begin before it is known
                        break
        except _PROBLEMS as problem:
            problems.append(problem)
        for found in problems:
            ctx.log.warning("%s", _told(found))
        return RunResult(not problems, "; ".join([*map(_told, problems), *said]) or "nothing to do")


def _answer_mentions(ctx: RunContext, twitter: Twitter) -> list[str]:
    """Those since the last one that was looked at, oldest first. The first run only notes where it begins."""
    config: SocialConfig = ctx.config
    if not config.replies:
        return []
    since = ctx.state.get("since")
    if since is None:
        latest = next(twitter.mentions(most=1), None)
        ctx.state["since"] = latest.id if latest else "1"
        return ["mentions from now on are answered"]
    waiting = list(twitter.mentions(since_id=since, most=config.mentions_per_run))
    if len(waiting) == config.mentions_per_run:
        ctx.log.warning("more than %d mentions wait; older ones are left out", len(waiting))
    answered = 0
    for mention in reversed(waiting):
        if ctx.stopping or answered >= config.replies_per_run or _today(ctx)["replies"] >= config.replies_per_day:
            break
        answered += _answer(ctx, twitter, mention)
        if not config.dry_run:
            ctx.state["since"] = mention.id
    return [f"{answered} answered"] if answered else []


def _answer(ctx: RunContext, twitter: Twitter, mention: Post) -> bool:
    config: SocialConfig = ctx.config
    if mention.author_id == twitter.own_id:
        return False
    found = ((rule, text) for rule in config.replies if (text := rule.answer(mention)) is not None)
    rule, text = next(found, (None, ""))
    author = mention.author_id or ""
    if rule is None or _today(ctx)["authors"].get(author, 0) >= config.replies_per_author:
        return False
    if config.dry_run:
        ctx.log.info("would answer %s: %s", mention.url, text or "with a like")
        return True
    if rule.like:
        _unless_refused(ctx, lambda: twitter.like(mention.id), f"the like of {mention.url}")
    if text:
        ctx.state["pending"] = {
            "run": ctx.run_id, "at": iso(ctx.now()), "kind": "reply", "name": mention.id, "parts": [text],
            "reply_to": mention.id, "author": author,
        }  # fmt: skip
        _settle(ctx, twitter)
    return True


def _post_next(ctx: RunContext, twitter: Twitter) -> list[str]:
    """One post of the queue, when its slot has come."""
    config: SocialConfig = ctx.config
    now = ctx.now()
    waiting = [item for item in _queue(ctx) if not _is_over(ctx, item)]
    due = sorted((item for item in waiting if item.due(now)), key=lambda item: item.not_before or _EARLIEST)
    left = [f"{len(waiting)} waiting"] if waiting else []
    if not due or not config.windows.hold(now) or not _slot_is_free(ctx, now):
        return left
    item = due[0]
    try:
        texts = _texts(ctx, item)
        for number, text in enumerate(texts, 1):
            check_post(text, part=number if len(texts) > 1 else None)
    except (InvalidRequest, UsageProblem) as problem:
        ctx.state[f"refused.{item.name}"] = {"of": item.content, "why": problem.message}
        return [f"{item.name} cannot be posted: {problem.message}", *left]
    if config.dry_run:
        ctx.log.info("would post %s: %s", item.name, " --- ".join(texts))
        return left
    ctx.state["pending"] = {
        "run": ctx.run_id, "at": iso(ctx.now()), "kind": "queue", "name": item.name, "of": item.content, "parts": texts,
        "reply_to": item.reply_to, "media": item.media, "alt": item.alt,
    }  # fmt: skip
    done = _settle(ctx, twitter)
    return [f"posted {item.name}" if done else f"{item.name} was refused", f"{len(waiting) - 1} waiting"]


def _settle(ctx: RunContext, twitter: Twitter) -> bool:
    """Does what is noted as begun, exactly as it was noted: so that a run which is made again asks for the same."""
    begun = ctx.state.get("pending")
    if begun is None or ctx.config.dry_run:
        return False
    why = None
    try:
        media = [twitter.upload(_data(begun["media"]), alt_text=begun.get("alt")).id] if begun.get("media") else []
        cut = begun["run"] != ctx.run_id
        posted = twitter.thread(begun["parts"], reply_to=begun["reply_to"], media=media, resume=cut)
    except (PlatformFailed, PlatformRefused, Unreachable) as problem:
        if not _is_hopeless(ctx, begun, problem):
            raise
        why = _told(problem)
        ctx.log.warning("%s %s is given up: %s", begun["kind"], begun["name"], why)
    else:
        ctx.log.info("posted %s", posted[0].url, extra={"post": posted[0].id, "of": begun["name"]})
        _remember(ctx, begun, [one.id for one in posted])
    if why is not None and begun["kind"] == "queue":
        ctx.state[f"refused.{begun['name']}"] = {"of": begun["of"], "why": why}
    if begun["kind"] == "reply":
        ctx.state["since"] = max(begun["name"], ctx.state.get("since", "1"), key=int)
    del ctx.state["pending"]
    return why is None


def _is_hopeless(ctx: RunContext, begun: Mapping[str, Any], problem: NovaError) -> bool:
    """Refused for good, forbidden again and again, or nothing came of it for a day."""
    if isinstance(problem, _GIVEN_UP):
        return True
    if isinstance(problem, Unreachable):
        return ctx.now() - datetime.fromisoformat(begun["at"]) > _LONGEST_DOUBT
    if isinstance(problem, PlatformFailed | Forbidden):
        tries = begun.get("tries", 0) + 1
        ctx.state["pending"] = {**begun, "tries": tries}
        return bool(tries >= _MOST_TRIES)
    return False  # the key is refused: all would be given up


def _remember(ctx: RunContext, begun: Mapping[str, Any], ids: list[str]) -> None:
    """What is counted is counted once: the mark of the effect comes first, and says that it was."""
    at, today = iso(ctx.now()), _today(ctx)
    posts = ctx.state.get("posts", [])
    if ids[0] and any(one["id"] == ids[0] for one in posts):
        return
    if begun["kind"] == "queue":
        ctx.state[f"posted.{begun['name']}"] = {"at": at, "ids": ids}
        ctx.state["last_at"] = at
        today["posts"] += 1
    else:
        today["replies"] += 1
        today["authors"][begun["author"]] = today["authors"].get(begun["author"], 0) + 1
    ctx.state["day"] = today
    ctx.state["posts"] = [{"id": ids[0], "at": at, "of": begun["name"], "kind": begun["kind"]}, *posts][:_KEPT_POSTS]


def _measure(ctx: RunContext, twitter: Twitter) -> list[str]:
    """The figures of the latest own posts, to state: `metrics`."""
    config: SocialConfig = ctx.config
    last, now = ctx.state.get("metrics"), ctx.now()
    mine = {one["id"]: one for one in ctx.state.get("posts", [])}
    if not config.metrics_every or not mine or config.dry_run:
        return []
    if last is not None and now - datetime.fromisoformat(last["at"]) < timedelta(seconds=config.metrics_every):
        return []
    posts = [post for post in twitter.own_posts(most=config.metrics_posts) if post.id in mine]
    figures = {post.id: asdict(post.metrics) for post in posts}
    every = {**(last or {}).get("posts", {}), **figures}
    kept = {id: every[id] for id in mine if id in every}
    totals = {name: sum(one[name] for one in kept.values()) for name in ("likes", "retweets", "replies", "impressions")}
    ctx.state["metrics"] = {"at": iso(now), "posts": kept, "totals": totals}
    return [f"figures of {count(len(figures), 'post')}"]


def _texts(ctx: RunContext, item: Item) -> list[str]:
    """With the link in the place of {link}, else behind the first part."""
    if item.link is None:
        return list(item.parts)
    link = _link(ctx, item)
    if any("{link}" in part for part in item.parts):
        return [part.replace("{link}", link) for part in item.parts]
    return [f"{item.parts[0]} {link}", *item.parts[1:]]


def _link(ctx: RunContext, item: Item) -> str:
    config: SocialConfig = ctx.config
    url, campaign = str(item.link), item.campaign or ctx.worker
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageProblem(f"a link begins with http:// or https://, not {url!r}")
    if config.utm_source:
        url = tagged(url, {"utm_source": config.utm_source, "utm_medium": "social", "utm_campaign": campaign})
    if not config.track:
        return url
    tracked = ctx.link(url, campaign, "x", item.name)
    if _is_public(tracked):
        return tracked
    ctx.log.info("the link is not tracked: set NOVA_PUBLIC_URL to where `nova serve` is reached from outside")
    return url


def _is_public(url: str) -> bool:
    """Whether others than this machine and its neighbours can follow it."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host


def tagged(url: str, tags: Mapping[str, str]) -> str:
    """With those of the tags that the address does not have yet."""
    parts = urlsplit(url)
    there = parse_qsl(parts.query, keep_blank_values=True)
    more = [(name, value) for name, value in tags.items() if name not in dict(there)]
    return urlunsplit(parts._replace(query=urlencode([*there, *more])))


def _queue(ctx: RunContext) -> list[Item]:
    """The file's, and behind them those that stand in the state under `queue`."""
    config: SocialConfig = ctx.config
    rows = read_queue(_data(config.queue)) if config.queue else []
    return list(items_of([*rows, *ctx.state.get("queue", [])], ZoneInfo(config.zone)))


def _is_over(ctx: RunContext, item: Item) -> bool:
    """Posted, missed, or refused as it stands; what was refused and then mended is tried again."""
    refused = ctx.state.get(f"refused.{item.name}")
    same = refused is not None and refused["of"] == item.content
    return f"posted.{item.name}" in ctx.state or same or item.missed(ctx.now())


def _slot_is_free(ctx: RunContext, now: datetime) -> bool:
    config: SocialConfig = ctx.config
    last = ctx.state.get("last_at")
    if _today(ctx)["posts"] >= config.per_day:
        return False
    return last is None or now - datetime.fromisoformat(last) >= timedelta(seconds=config.slot)


def _today(ctx: RunContext) -> dict[str, Any]:
    """What was counted since midnight in the zone."""
    day = ctx.now().astimezone(ZoneInfo(ctx.config.zone)).date().isoformat()
    known: dict[str, Any] = ctx.state.get("day", {})
    return known if known.get("day") == day else {"day": day, "posts": 0, "replies": 0, "authors": {}}


def _unless_refused(ctx: RunContext, act: Any, what: str) -> None:
    try:
        act()
    except (PlatformFailed, Forbidden) as problem:
        ctx.log.warning("%s is given up: %s", what, _told(problem))


def _data(path: str) -> Path:
    return load_settings().nova_home / "data" / Path(path).expanduser()


def _told(problem: NovaError) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


_EARLIEST = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
