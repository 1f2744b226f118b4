"""X's API v2 on loopback: posts, users, search, mentions, likes, reposts and media, with its limits and its refusals.

Each request is checked as X does: the bearer token, or the OAuth 1.0a signature, computed here by RFC 5849 itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.emulators.loopback import Loopback

BEARER = "AAAAnevershown00-of-the-app"
OWN_ID = "4200"
OWN_NAME = "nova_posts"
TOKEN = f"{OWN_ID}-nevershown00-token"
SECRETS = {name: f"nevershown00-{name}" for name in ("api_key", "api_secret", "access_secret")}
_LINK = re.compile(r"https?://\S+")
_NAME = re.compile(r"(?<!\w)@(\w{1,15})", re.ASCII)
_LISTS = ("ids", "usernames", "expansions")
_WINDOW_S = 900


@dataclass(frozen=True, slots=True)
class Exchange:
    request: str
    params: Any
    status: int
    body: Any


@dataclass(slots=True)
class Stored:
    id: str
    text: str
    author: str
    at: float
    reply_to: str | None = None
    quote: str | None = None
    poll: Mapping[str, Any] | None = None
    media: tuple[str, ...] = ()
    thread: str = ""
    likes: set[str] = field(default_factory=set)
    retweets: set[str] = field(default_factory=set)
    impressions: int = 0
    listed: bool = True


@dataclass(slots=True)
class Upload:
    total: int
    type: str
    parts: dict[int, bytes] = field(default_factory=dict)
    alt: str | None = None
    states: list[str] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        return b"".join(self.parts[number] for number in sorted(self.parts))


class Refusal(Exception):
    def __init__(self, status: int, detail: str, title: str = "", kind: str = "about:blank") -> None:
        super().__init__(detail)
        titles = {400: "Invalid Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
        self.status = status
        self.body = {"type": kind, "title": title or titles[status], "detail": detail, "status": status}


class TwitterEmulator(Loopback):
    """A context manager. `limits` is how many requests a quarter of an hour an endpoint takes, where not 900.

    With `lagging` the account's own new posts are not listed until `settle`. `states` is what becomes of a video.
    """

    def __init__(self, on_exchange: Callable[[Exchange], None] = lambda exchange: None) -> None:
        self.on_exchange = on_exchange
        self.users = {OWN_ID: OWN_NAME}
        self.posts: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.limits: dict[str, int] = {}
        self.states = ["pending", "in_progress", "succeeded"]
        self.lagging = False
        self.known_as: list[str] = []  # other addresses it is reached by, which signatures may name
        self.requests: list[str] = []
        self.auths: list[str] = []
        self._used: dict[str, tuple[int, float]] = {}
        self._nonces: set[str] = set()
        self._next = 1_990_000_000_000_000_000
        self._lock = threading.RLock()
        self.listen(_Handler)

    def someone(self, name: str) -> str:
        """The id of a user of that name."""
        known = next((id for id, one in self.users.items() if one == name), None)
        if known is None:
            known = self._new_id()
            self.users[known] = name
        return known

    def says(self, name: str, text: str, reply_to: str | None = None) -> str:
        """A post of somebody's; its id."""
        return self._add(Stored("", text, self.someone(name), time.time(), reply_to)).id

    def own(self) -> list[Stored]:
        """The account's posts, oldest first."""
        return [post for post in self.posts.values() if post.author == OWN_ID]

    def texts(self) -> list[str]:
        return [post.text for post in self.own()]

    def settle(self) -> None:
        for post in self.posts.values():
            post.listed = True

    def use_until(self, request: str, at: float) -> None:
        """The app's window of an endpoint ends at that time."""
        self._used[f"app {request}"] = (0, at)

    def forget_limits(self) -> None:
        self._used.clear()

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], sent: bytes
    ) -> tuple[int, dict[str, str], Any]:
        parts = urlsplit(target)
        request, ids = _template(method, parts.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        limited: dict[str, str] = {}
        params: Any = None
        with self._lock:
            self.requests.append(f"{method} {parts.path}")
            try:
                who = self._who(method, target, headers)
                self.auths.append(who)
                limited = self._count(request, who)
                params = json.loads(sent) if sent else {} if method != "GET" else _listed(query)
                status, body = 200, self._act(request, ids, params, who)
                if isinstance(body, tuple):
                    status, body = body
            except Refusal as refusal:
                status, body = refusal.status, refusal.body
                if status == 429:
                    limited = self._headers(request, self.auths[-1])
        if params is not None and request in _ROUTES:
            self.on_exchange(Exchange(request, params, status, body))
        return status, limited, body

    def _who(self, method: str, target: str, headers: Mapping[str, str]) -> str:
        """Returns app or user. Raises Refusal 401."""
        said = headers.get("Authorization", "")
        if said == f"Bearer {BEARER}":
            return "app"
        if said.startswith("OAuth ") and self._signed(method, target, said):
            return "user"
        raise Refusal(401, "Unauthorized")

    def _signed(self, method: str, target: str, said: str) -> bool:
        given = {k: unquote(v) for k, v in re.findall(r'(\w+)="([^"]*)"', said)}
        signature, nonce = given.pop("oauth_signature", ""), given.get("oauth_nonce", "")
        fresh = abs(int(given.get("oauth_timestamp", "0")) - time.time()) < 300 and nonce not in self._nonces
        self._nonces.add(nonce)
        parts = urlsplit(target)
        pairs = [*given.items(), *parse_qsl(parts.query, keep_blank_values=True)]
        encoded = sorted((quote(k, safe="-._~"), quote(v, safe="-._~")) for k, v in pairs)
        normal = "&".join(f"{k}={v}" for k, v in encoded)
        key = f"{SECRETS['api_secret']}&{SECRETS['access_secret']}".encode()
        right = [_signature(key, method, f"{host}{parts.path}", normal) for host in (self.url, *self.known_as)]
        whose = given.get("oauth_consumer_key") == SECRETS["api_key"] and given.get("oauth_token") == TOKEN
        return fresh and whose and signature in right

    def _count(self, request: str, who: str) -> dict[str, str]:
        name = f"{who} {request}"
        used, reset = self._used.get(name, (0, 0.0))
        if time.time() >= reset:
            used, reset = 0, time.time() + _WINDOW_S
        if used >= self.limits.get(request, 900):
            raise Refusal(429, "Too Many Requests", "Too Many Requests")
        self._used[name] = (used + 1, reset)
        return self._headers(request, who)

    def _headers(self, request: str, who: str) -> dict[str, str]:
        used, reset = self._used[f"{who} {request}"]
        limit = self.limits.get(request, 900)
        numbers = {"limit": limit, "remaining": max(0, limit - used), "reset": int(reset) + 1}
        return {f"x-rate-limit-{part}": str(number) for part, number in numbers.items()}

    def _act(self, request: str, ids: list[str], params: Any, who: str) -> Any:
        route = _ROUTES.get(request)
        if route is None:
            raise Refusal(404, f"no such path: {request}")
        if who == "app" and (not request.startswith("GET") or request == "GET /2/users/me"):
            raise Refusal(
                403,
                "Authenticating with OAuth 2.0 Application-Only is forbidden for this endpoint.",
                "Unsupported Authentication",
                "https://api.twitter.com/2/problems/unsupported-authentication",
            )
        if who == "user" and request == "GET /2/usage/tweets":
            raise Refusal(
                403, "Authenticating with OAuth 1.0a User Context is forbidden.", "Unsupported Authentication"
            )
        return route(self, ids, params)

    def create(self, ids: list[str], sent: dict[str, Any]) -> Any:
        text = sent.get("text", "")
        reply_to = sent.get("reply", {}).get("in_reply_to_tweet_id")
        media = tuple(sent.get("media", {}).get("media_ids", ()))
        if not text and not media:
            raise _invalid("Your Tweet must have text or media.")
        if len(_LINK.sub("x" * 23, text)) > 280:
            raise _invalid("Your Tweet text is too long. For more information see …/counting-characters.")
        if any(one not in self.uploads for one in media):
            raise _invalid("Your media IDs are invalid.")
        if reply_to is not None and reply_to not in self.posts:
            raise Refusal(403, "You attempted to reply to a Tweet that is deleted or not visible to you.")
        if any(one.text == text and one.reply_to == reply_to and not media for one in self.own()):
            raise Refusal(403, "You are not allowed to create a Tweet with duplicate content.")
        quoted = sent.get("quote_tweet_id")
        made = self._add(Stored("", text, OWN_ID, time.time(), reply_to, quoted, sent.get("poll"), media))
        made.listed = not self.lagging
        return 201, {"data": {"id": made.id, "text": self._written(made)[0], "edit_history_tweet_ids": [made.id]}}

    def delete(self, ids: list[str], sent: Any) -> Any:
        post = self.posts.get(ids[0])
        if post is None:
            raise Refusal(404, "Could not find tweet.")
        if post.author != OWN_ID:
            raise Refusal(403, "You are not authorized to delete this Tweet.")
        del self.posts[ids[0]]
        return {"data": {"deleted": True}}

    def one(self, ids: list[str], asked: Any) -> Any:
        body = self.many([], {**asked, "ids": ids})
        return {**body, "data": body["data"][0]} if "data" in body else body

    def many(self, ids: list[str], asked: Any) -> Any:
        there = [self.posts[id] for id in asked["ids"] if id in self.posts]
        gone = [_not_found("tweet", "ids", id) for id in asked["ids"] if id not in self.posts]
        return self._answered(there, asked, errors=gone)

    def search(self, ids: list[str], asked: Any) -> Any:
        words = asked["query"].split()

        def fits(post: Stored) -> bool:
            name = self.users[post.author]
            return all(
                word == f"from:{name}" if word.startswith("from:") else word.lower() in post.text.lower()
                for word in words
            )

        return self._paged([post for post in self.posts.values() if fits(post)], asked, "next_token")

    def mentions(self, ids: list[str], asked: Any) -> Any:
        name = self.users[ids[0]]
        return self._paged([one for one in self.posts.values() if name in _NAME.findall(one.text)], asked)

    def timeline(self, ids: list[str], asked: Any) -> Any:
        return self._paged([one for one in self.posts.values() if one.author == ids[0] and one.listed], asked)

    def me(self, ids: list[str], asked: Any) -> Any:
        return {"data": self._user(OWN_ID, asked)}

    def user(self, ids: list[str], asked: Any) -> Any:
        if ids[0] not in self.users:
            return {"errors": [_not_found("user", "id", ids[0])]}
        return {"data": self._user(ids[0], asked)}

    def user_named(self, ids: list[str], asked: Any) -> Any:
        known = {name.lower(): id for id, name in self.users.items()}
        if ids[0].lower() not in known:
            return {"errors": [_not_found("user", "username", ids[0])]}
        return {"data": self._user(known[ids[0].lower()], asked)}

    def users_named(self, ids: list[str], asked: Any) -> Any:
        known = {name.lower(): id for id, name in self.users.items()}
        found = [self._user(known[name.lower()], asked) for name in asked["usernames"] if name.lower() in known]
        gone = [_not_found("user", "usernames", name) for name in asked["usernames"] if name.lower() not in known]
        return _nonempty({"data": found, "errors": gone})

    def like(self, ids: list[str], sent: Any) -> Any:
        self._there(sent["tweet_id"]).likes.add(ids[0])
        return {"data": {"liked": True}}

    def unlike(self, ids: list[str], sent: Any) -> Any:
        self._there(ids[1]).likes.discard(ids[0])
        return {"data": {"liked": False}}

    def retweet(self, ids: list[str], sent: Any) -> Any:
        post = self._there(sent["tweet_id"])
        if ids[0] in post.retweets:
            raise Refusal(403, "You cannot retweet a Tweet that you have already retweeted.")
        post.retweets.add(ids[0])
        return {"data": {"retweeted": True}}

    def unretweet(self, ids: list[str], sent: Any) -> Any:
        self._there(ids[1]).retweets.discard(ids[0])
        return {"data": {"retweeted": False}}

    def upload(self, ids: list[str], sent: Any) -> Any:
        content = base64.b64decode(sent["media"], validate=True)
        id = self._new_id()
        self.uploads[id] = Upload(len(content), sent["media_category"], {0: content})
        return {"data": {"id": id, "media_key": f"3_{id}", "size": len(content), "expires_after_secs": 86400}}

    def begin(self, ids: list[str], sent: Any) -> Any:
        id = self._new_id()
        self.uploads[id] = Upload(sent["total_bytes"], sent["media_type"], states=list(self.states))
        return {"data": {"id": id, "media_key": f"7_{id}", "expires_after_secs": 86400}}

    def append(self, ids: list[str], sent: Any) -> Any:
        self.uploads[ids[0]].parts[sent["segment_index"]] = base64.b64decode(sent["media"], validate=True)
        return {"data": {"expires_at": int(time.time()) + 86400}}

    def finalize(self, ids: list[str], sent: Any) -> Any:
        upload = self.uploads[ids[0]]
        if len(upload.content) != upload.total:
            raise _invalid("Segments do not add up to provided total file size.")
        return self._progress(ids[0])

    def progress(self, ids: list[str], asked: Any) -> Any:
        return self._progress(asked["media_id"])

    def describe(self, ids: list[str], sent: Any) -> Any:
        self.uploads[sent["id"]].alt = sent["metadata"]["alt_text"]["text"]
        return {"data": {"id": sent["id"], "associated_metadata": sent["metadata"]}}

    def usage(self, ids: list[str], asked: Any) -> Any:
        return {"data": {"project_usage": "17", "project_cap": "2000000", "cap_reset_day": 5}}

    def _progress(self, id: str) -> Any:
        states = self.uploads[id].states
        state = states.pop(0) if len(states) > 1 else states[0]
        return {"data": {"id": id, "media_key": f"7_{id}", "processing_info": {"state": state, "check_after_secs": 2}}}

    def _there(self, id: str) -> Stored:
        if id not in self.posts:
            raise Refusal(404, f"Could not find tweet with tweet_id: [{id}].")
        return self.posts[id]

    def _add(self, post: Stored) -> Stored:
        with self._lock:
            post.id = self._new_id()
            parent = self.posts.get(post.reply_to or "")
            post.thread = parent.thread if parent else post.id
            self.posts[post.id] = post
            return post

    def _new_id(self) -> str:
        self._next += 4_096_123
        return str(self._next)

    def _paged(self, posts: list[Stored], asked: Any, token: str = "pagination_token") -> Any:
        newest = sorted(posts, key=lambda post: -int(post.id))
        since, after = int(asked.get("since_id", 0)), asked.get(token)
        behind = int(after.removeprefix("page-of-posts-")) if after else 2**63
        rest = [post for post in newest if since < int(post.id) < behind]
        size = int(asked.get("max_results", 10))
        body = self._answered(rest[:size], asked)
        meta: dict[str, Any] = {"result_count": len(rest[:size])}
        if rest:
            meta |= {"newest_id": rest[0].id, "oldest_id": rest[:size][-1].id}
        if len(rest) > size:
            meta["next_token"] = f"page-of-posts-{rest[size - 1].id}"
        return {**body, "meta": meta}

    def _answered(self, posts: list[Stored], asked: Any, errors: Iterable[Any] = ()) -> Any:
        body: dict[str, Any] = {"data": [self._shown(post, asked) for post in posts], "errors": list(errors)}
        if "author_id" in asked.get("expansions", ()) and posts:
            authors = dict.fromkeys(post.author for post in posts)
            body["includes"] = {"users": [self._user(author, asked) for author in authors]}
        return _nonempty(body)

    def _shown(self, post: Stored, asked: Any) -> dict[str, Any]:
        text, urls = self._written(post)
        referenced = {"replied_to": post.reply_to, "quoted": post.quote}
        counts = {"like_count": len(post.likes), "retweet_count": len(post.retweets), "quote_count": 0}
        replies = sum(one.reply_to == post.id for one in self.posts.values())
        every = {
            "author_id": post.author,
            "created_at": datetime.fromtimestamp(post.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "conversation_id": post.thread,
            "entities": {"urls": urls} if urls else None,
            "public_metrics": {**counts, "reply_count": replies, "impression_count": post.impressions},
            "non_public_metrics": {"impression_count": post.impressions},
            "referenced_tweets": [{"type": kind, "id": id} for kind, id in referenced.items() if id],
        }
        wanted = {name: every[name] for name in asked.get("tweet.fields", ()) if every[name]}
        return {"id": post.id, "text": text, "edit_history_tweet_ids": [post.id], **wanted}

    def _written(self, post: Stored) -> tuple[str, list[dict[str, Any]]]:
        """The text as X shows it: links shortened, signs of HTML escaped, a short link for pictures."""
        urls = list[dict[str, Any]]()

        def short(link: str, **more: str) -> str:
            made = f"https://t.co/{hashlib.sha1(f'{post.id} {link}'.encode()).hexdigest()[:10]}"
            urls.append({"start": 0, "end": len(made), "url": made, "expanded_url": link, **more})
            return made

        text = _LINK.sub(
            lambda found: short(found[0], display_url=found[0].partition("//")[2]), html.escape(post.text, False)
        )
        if post.media:
            own = f"https://x.com/{OWN_NAME}/status/{post.id}/photo/1"
            text = f"{text} {short(own, display_url='pic.x.com/abcdefghij', media_key=f'3_{post.media[0]}')}".strip()
        return text, urls

    def _user(self, id: str, asked: Any) -> dict[str, Any]:
        name = self.users[id]
        posts = sum(post.author == id for post in self.posts.values())
        every = {
            "created_at": "2020-01-02T03:04:05.000Z",
            "description": f"{name} &amp; friends",
            "protected": False,
            "verified": False,
            "public_metrics": {"followers_count": 7, "following_count": 3, "tweet_count": posts, "listed_count": 0},
        }
        wanted = {field: every[field] for field in asked.get("user.fields", ()) if field in every}
        return {"id": id, "name": name.title(), "username": name, **wanted}


_ROUTES: dict[str, Callable[[TwitterEmulator, list[str], Any], Any]] = {
    "POST /2/tweets": TwitterEmulator.create,
    "GET /2/tweets": TwitterEmulator.many,
    "GET /2/tweets/{id}": TwitterEmulator.one,
    "DELETE /2/tweets/{id}": TwitterEmulator.delete,
    "GET /2/tweets/search/recent": TwitterEmulator.search,
    "GET /2/users/{id}/mentions": TwitterEmulator.mentions,
    "GET /2/users/{id}/tweets": TwitterEmulator.timeline,
    "GET /2/users/me": TwitterEmulator.me,
    "GET /2/users/{id}": TwitterEmulator.user,
    "GET /2/users/by": TwitterEmulator.users_named,
    "GET /2/users/by/username/{id}": TwitterEmulator.user_named,
    "POST /2/users/{id}/likes": TwitterEmulator.like,
    "DELETE /2/users/{id}/likes/{id}": TwitterEmulator.unlike,
    "POST /2/users/{id}/retweets": TwitterEmulator.retweet,
    "DELETE /2/users/{id}/retweets/{id}": TwitterEmulator.unretweet,
    "POST /2/media/upload": TwitterEmulator.upload,
    "GET /2/media/upload": TwitterEmulator.progress,
    "POST /2/media/upload/initialize": TwitterEmulator.begin,
    "POST /2/media/upload/{id}/append": TwitterEmulator.append,
    "POST /2/media/upload/{id}/finalize": TwitterEmulator.finalize,
    "POST /2/media/metadata": TwitterEmulator.describe,
    "GET /2/usage/tweets": TwitterEmulator.usage,
}


PATHS = tuple(_ROUTES)


def _template(method: str, path: str) -> tuple[str, list[str]]:
    ids, steps = list[str](), path.split("/")
    for number, step in enumerate(steps):
        if (step.isdigit() and number > 1) or steps[number - 1] == "username":
            ids.append(unquote(step))
            steps[number] = "{id}"
    return f"{method} {'/'.join(steps)}", ids


def _signature(key: bytes, *parts: str) -> str:
    base = "&".join(quote(part, safe="-._~") for part in parts)
    return base64.b64encode(hmac.new(key, base.encode(), hashlib.sha1).digest()).decode()


def _listed(query: dict[str, str]) -> dict[str, Any]:
    return {k: v.split(",") if k in _LISTS or k.endswith(".fields") else v for k, v in query.items()}


def _nonempty(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value}


def _invalid(detail: str) -> Refusal:
    return Refusal(400, detail, kind="https://api.twitter.com/2/problems/invalid-request")


def _not_found(what: str, parameter: str, value: str) -> dict[str, Any]:
    return {
        "type": "https://api.twitter.com/2/problems/resource-not-found",
        "title": "Not Found Error",
        "detail": f"Could not find {what} with {parameter}: [{value}].",
        "resource_type": what,
        "parameter": parameter,
        "value": value,
        "resource_id": value,
    }


class _Handler(BaseHTTPRequestHandler):
    emulator: ClassVar[TwitterEmulator]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.emulator.answer(self.command, self.path, self.headers, sent)
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server calls them

    def log_message(self, format: str, *args: object) -> None:
        """Silent: `requests` tells."""
