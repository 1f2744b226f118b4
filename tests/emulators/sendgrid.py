"""A SendGrid on loopback: it takes mail and keeps it, knows contacts, lists, templates, figures and suppressions, and
signs the events it posts. What it answers is held to SendGrid's published document by the tests that use it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.emulators.loopback import Loopback

KEY = "SG.nevershown00000000000"
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_LISTS = {"bounces": "bounce", "spam_reports": "spam", "invalid_emails": "invalid", "unsubscribes": "unsubscribe"}
_NAME = re.compile(r".*@.*|\d+|[0-9a-f]{8}-.*")  # of one thing, in a path
_EPOCH_DAY = "2026-11-21"
_SUBSTITUTED = 10_000


@dataclass(frozen=True, slots=True)
class Exchange:
    request: str
    params: Any
    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Mailed:
    """One mail to one person, as it would be delivered."""

    to: str
    subject: str
    text: str | None
    html: str | None
    message_id: str
    template: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    sender: str = ""


class Refused(Exception):
    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.field = status, message, field


class SendGridEmulator(Loopback):
    """A context manager; `mails` is what was delivered, `dropped` what its own suppressions kept back.

    `before_answer` is called after a mail was taken and before that is told.
    """

    def __init__(self, on_exchange: Callable[[Exchange], None] | None = None) -> None:
        self.key = KEY
        self.mails: list[Mailed] = []
        self.dropped: list[str] = []
        self.sends: list[dict[str, Any]] = []
        self.checked_only: list[dict[str, Any]] = []
        self.exchanges: list[Exchange] = []
        self.suppressed: dict[str, dict[str, int]] = {reason: {} for reason in _LISTS.values()}
        self.groups: dict[int, set[str]] = {1: set()}
        self.contacts: dict[str, dict[str, Any]] = {}
        self.lists: dict[str, str] = {}
        self.templates: dict[str, dict[str, str]] = {}
        self.exports: dict[str, tuple[list[str], int]] = {}
        self.jobs: set[str] = set()
        self.wrong: set[str] = set()  # addresses it finds wrong
        self.before_answer: Callable[[], None] = lambda: None
        self._on_exchange = on_exchange
        self._lock = threading.RLock()
        self.listen(_Handler)

    def to(self) -> list[str]:
        return [mail.to for mail in self.mails]

    def suppress(self, email: str, reason: str = "unsubscribe", at: int = 1_790_000_000) -> None:
        self.suppressed[reason][email.lower()] = at

    def add_template(self, subject: str) -> str:
        id = f"d-{uuid.uuid4().hex}"
        self.templates[id] = {"name": f"about {subject}", "subject": subject}
        return id

    def handle(self, method: str, target: str, headers: Mapping[str, str], sent: bytes) -> _Answer:
        parts = urlsplit(target)
        if parts.path.startswith("/download/"):
            return self._download(parts.path)
        query = {name: values[0] if len(values) == 1 else values for name, values in parse_qs(parts.query).items()}
        params: Any = json.loads(sent) if sent else query
        path = parts.path.removeprefix("/v3")
        name = f"{method} {'/'.join('{id}' if _NAME.fullmatch(unquote(one)) else one for one in path.split('/'))}"
        try:
            if headers.get("authorization") != f"Bearer {self.key}":
                raise Refused(401, "The provided authorization grant is invalid, expired, or revoked")
            with self._lock:
                answer = self._answer(method, path.strip("/").split("/"), params)
        except Refused as no:
            answer = _Answer(no.status, {"errors": [{"message": no.message, "field": no.field}]})
        exchange = Exchange(name, params, answer.status, {} if answer.body is None else answer.body)
        self.exchanges.append(exchange)
        if self._on_exchange is not None:
            self._on_exchange(exchange)
        if name == "POST /mail/send" and answer.status == 202:
            self.before_answer()
        return answer

    def _answer(self, method: str, path: list[str], params: Any) -> _Answer:
        names = [unquote(part) for part in path]
        match method, names:
            case "POST", ["mail", "send"]:
                return self._send(params)
            case "GET", ["scopes"]:
                return _Answer(200, {"scopes": ["mail.send", "stats.read"]})
            case "GET", ["stats"]:
                return _Answer(200, [{"date": _EPOCH_DAY, "stats": [{"metrics": self._metrics(None)}]}])
            case "GET", ["categories", "stats"]:
                asked = params["categories"] if isinstance(params["categories"], list) else [params["categories"]]
                stats = [{"type": "category", "name": one, "metrics": self._metrics(one)} for one in asked]
                return _Answer(200, [{"date": _EPOCH_DAY, "stats": stats}])
            case "GET", ["templates"]:
                return self._paged([_template(id, one) for id, one in self.templates.items()], params, "templates")
            case _, ["suppression", *rest]:
                return self._suppression(rest, params)
            case _, ["asm", *rest]:
                return self._asm(method, rest, params)
            case _, ["marketing", *rest]:
                return self._marketing(method, rest, params)
        raise Refused(404, "not found")

    def _send(self, said: dict[str, Any]) -> _Answer:
        _check_mail(said, self.wrong, self.templates)
        if said.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            self.checked_only.append(said)
            return _Answer(200, None)
        id = uuid.uuid4().hex[:22]
        self.sends.append(said)
        for one in said["personalizations"]:
            email = one["to"][0]["email"]
            group = said.get("asm", {}).get("group_id")
            lists = [*self.suppressed.values(), self.groups.get(group, set())]
            if any(email.lower() in some for some in lists):
                self.dropped.append(email)
            else:
                self.mails.append(_mailed(said, one, id, self.templates))
        return _Answer(202, None, {"X-Message-Id": id})

    def _metrics(self, category: str | None) -> dict[str, int]:
        sent = sum(category is None or category in mail.categories for mail in self.mails)
        zero = (
            "blocks bounce_drops bounces clicks deferred invalid_emails opens spam_report_drops spam_reports "
            "unique_clicks unique_opens unsubscribe_drops unsubscribes"
        )
        return {**dict.fromkeys(zero.split(), 0), "processed": sent, "requests": sent, "delivered": sent}

    def _suppression(self, path: list[str], params: Any) -> _Answer:
        known = self.suppressed[_LISTS[path[0]]]
        rows = [
            {"created": at, "email": email, **({"ip": "10.0.0.1"} if path[0] == "spam_reports" else {})}
            for email, at in known.items()
        ]
        if len(path) == 2:
            return _Answer(200, [row for row in rows if row["email"] == path[1].lower()])
        new = [row for row in rows if row["created"] >= int(params.get("start_time", 0))]
        first = int(params.get("offset", 0))
        return _Answer(200, new[first : first + int(params.get("limit", 500))])

    def _asm(self, method: str, path: list[str], params: Any) -> _Answer:
        everyone = self.suppressed["unsubscribe"]
        match method, path:
            case "GET", ["groups"]:
                rows = [
                    {"id": id, "name": f"group {id}", "description": "news", "unsubscribes": len(gone)}
                    for id, gone in self.groups.items()
                ]
                return _Answer(200, rows)
            case "POST", ["groups", id, "suppressions", "search"]:
                left = self.groups.get(int(id), set())
                return _Answer(200, [one for one in params["recipient_emails"] if one.lower() in left])
            case "POST", ["groups", id, "suppressions"]:
                self.groups.setdefault(int(id), set()).update(one.lower() for one in params["recipient_emails"])
                return _Answer(201, {"recipient_emails": params["recipient_emails"]})
            case "DELETE", ["groups", id, "suppressions", email]:
                self.groups[int(id)].discard(email.lower())
                return _Answer(204, None)
            case "POST", ["suppressions", "global"]:
                everyone.update((one.lower(), int(time.time())) for one in params["recipient_emails"])
                return _Answer(201, {"recipient_emails": params["recipient_emails"]})
            case "GET", ["suppressions", "global", email]:
                return _Answer(200, {"recipient_email": email} if email.lower() in everyone else {})
            case "DELETE", ["suppressions", "global", email]:
                if everyone.pop(email.lower(), None) is None:
                    raise Refused(404, "not found")
                return _Answer(204, None)
        raise Refused(404, "not found")

    def _marketing(self, method: str, path: list[str], params: Any) -> _Answer:
        match method, path:
            case "PUT", ["contacts"]:
                return self._upsert(params)
            case "DELETE", ["contacts"]:
                gone = set(params["ids"].split(","))
                self.contacts = {email: one for email, one in self.contacts.items() if one["id"] not in gone}
                return _Answer(202, {"job_id": self._job()})
            case "GET", ["contacts", "count"]:
                return _Answer(200, {"contact_count": len(self.contacts), "billable_count": len(self.contacts)})
            case "GET", ["contacts", "imports", job]:
                if job not in self.jobs:
                    raise Refused(404, "not found")
                return _Answer(200, {"id": job, "status": "completed", "job_type": "upsert", "started_at": _EPOCH_DAY})
            case "POST", ["contacts", "search", "emails"]:
                found = {one: {"contact": self.contacts[one]} for one in params["emails"] if one in self.contacts}
                if not found:
                    raise Refused(404, "contacts not found")
                missing = {one: {"error": "contact not found"} for one in params["emails"] if one not in found}
                return _Answer(200, {"result": {**found, **missing}})
            case "POST", ["contacts", "search"]:
                part = re.search(r"LIKE '([^%']*)%'", params["query"])
                if part is None:
                    raise Refused(400, "invalid query", "query")
                rows = [one for email, one in self.contacts.items() if email.startswith(part[1])]
                return _Answer(200, {"result": rows[:50], "contact_count": len(rows)})
            case "POST", ["contacts", "exports"]:
                id = str(uuid.uuid4())
                self.exports[id] = (list(params.get("list_ids", [])), 0)
                return _Answer(202, {"id": id, "_metadata": {}})
            case "GET", ["contacts", "exports", id]:
                return self._export(id)
            case _, ["lists", *rest]:
                return self._list(method, rest, params)
        raise Refused(404, "not found")

    def _upsert(self, params: dict[str, Any]) -> _Answer:
        if not 0 < len(params["contacts"]) <= 30_000:
            raise Refused(400, "between 1 and 30000 contacts are required", "contacts")
        for row in params["contacts"]:
            email = row["email"].lower()
            known = self.contacts.get(email, {"id": str(uuid.uuid4()), "list_ids": [], "created_at": _EPOCH_DAY})
            lists = list(dict.fromkeys([*known["list_ids"], *params.get("list_ids", [])]))
            more = {"email": email, "list_ids": lists, "segment_ids": [], "updated_at": _EPOCH_DAY}
            self.contacts[email] = {**known, **row, **more}
        return _Answer(202, {"job_id": self._job()})

    def _job(self) -> str:
        self.jobs.add(job := str(uuid.uuid4()))
        return job

    def _export(self, id: str) -> _Answer:
        if id not in self.exports:
            raise Refused(404, "not found")
        lists, looked = self.exports[id]
        self.exports[id] = (lists, looked + 1)  # ready when it is looked at for the second time
        times = dict.fromkeys(("created_at", "updated_at", "expires_at"), _EPOCH_DAY)
        said: dict[str, Any] = {"id": id, "status": "ready" if looked else "pending", **times, "_metadata": {}}
        if looked:
            said |= {"urls": [f"{self.url}/download/{id}"], "completed_at": _EPOCH_DAY, "contact_count": 1}
        return _Answer(200, said)

    def _download(self, path: str) -> _Answer:
        lists, _ = self.exports[path.rpartition("/")[2]]
        rows = [one for one in self.contacts.values() if set(one["list_ids"]) & set(lists)]
        content = "\n".join(json.dumps(row) for row in rows).encode()
        return _Answer(200, gzip.compress(content), {"Content-Type": "application/octet-stream"})

    def _list(self, method: str, path: list[str], params: Any) -> _Answer:
        match method, path:
            case "GET", []:
                return self._paged([self._listed(id) for id in self.lists], params, "marketing/lists")
            case "POST", []:
                if params["name"] in self.lists.values():
                    raise Refused(400, "a list with that name exists", "name")
                id = str(uuid.uuid4())
                self.lists[id] = params["name"]
                return _Answer(200, self._listed(id))
            case "DELETE", [id] if id in self.lists:
                del self.lists[id]
                return _Answer(204, None)
            case "DELETE", [id, "contacts"] if id in self.lists:
                gone = set(params["contact_ids"].split(","))
                for one in self.contacts.values():
                    if one["id"] in gone:
                        one["list_ids"] = [other for other in one["list_ids"] if other != id]
                return _Answer(202, {"job_id": self._job()})
        raise Refused(404, "not found")

    def _listed(self, id: str) -> dict[str, Any]:
        count = sum(id in one["list_ids"] for one in self.contacts.values())
        return {"id": id, "name": self.lists[id], "contact_count": count, "_metadata": {"self": f"{self.url}/{id}"}}

    def _paged(self, rows: list[Any], params: Any, path: str) -> _Answer:
        size, first = min(int(params["page_size"]), 2), int(params.get("page_token", 0))
        said: dict[str, Any] = {"self": f"{self.url}/v3/{path}", "count": len(rows)}
        if first + size < len(rows):
            said["next"] = f"{self.url}/v3/{path}?page_size={size}&page_token={first + size}"
        return _Answer(200, {"result": rows[first : first + size], "_metadata": said})


class Events:
    """Signs what the event webhook posts; `public_key` is what SendGrid shows of it."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def signed(self, events: list[dict[str, Any]], at: float | None = None) -> tuple[bytes, dict[str, str]]:
        """The body of a post and its headers. `at` is when it is sent."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        body = json.dumps(events, separators=(",", ":")).encode() + b"\r\n"
        stamp = str(int(time.time() if at is None else at))
        signature = self._key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return body, {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        }


def event_of(mail: Mailed, kind: str, at: int = 1_790_000_000, **more: Any) -> dict[str, Any]:
    """What the event webhook says of a mail: processed, delivered, open, click, bounce, spamreport, unsubscribe…"""
    id = base64.urlsafe_b64encode(f"{mail.message_id}{mail.to}{kind}{at}".encode()).decode().rstrip("=")[:100]
    said = {"email": mail.to, "timestamp": at, "event": kind, "sg_event_id": id}
    message = f"{mail.message_id}.recvd-emulated-1"
    return {**said, "sg_message_id": message, "category": list(mail.categories), **mail.args, **more}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def _check_mail(said: dict[str, Any], wrong: set[str], templates: Mapping[str, Any]) -> None:
    """As SendGrid finds mails wrong, as far as it was seen or is written."""
    people = said.get("personalizations") or []
    if not 0 < len(people) <= 1000:
        raise Refused(400, "The personalizations field is required and must have at most 1000", "personalizations")
    if not _ADDRESS.fullmatch(said.get("from", {}).get("email", "")):
        raise Refused(400, "The from address does not match a verified Sender Identity.", "from")
    for place, one in enumerate(people):
        email = one["to"][0]["email"]
        if not _ADDRESS.fullmatch(email) or email in wrong:
            raise Refused(400, "Does not contain a valid address.", f"personalizations.{place}.to.0.email")
        if sum(len(name + value) for name, value in one.get("substitutions", {}).items()) > _SUBSTITUTED:
            raise Refused(400, "substitutions are too large", f"personalizations.{place}.substitutions")
    if said.get("template_id") is not None:
        if said["template_id"] not in templates:
            raise Refused(400, "The template_id must be a valid GUID", "template_id")
        return
    if not said.get("subject"):
        raise Refused(400, "The subject is required.", "subject")
    if not said.get("content"):
        raise Refused(400, "The content is required.", "content")


def _mailed(said: dict[str, Any], one: dict[str, Any], id: str, templates: Mapping[str, Any]) -> Mailed:
    def filled(text: str | None) -> str | None:
        for tag, value in one.get("substitutions", {}).items():
            text = text and text.replace(tag, value)
        return text

    content = {part["type"]: part["value"] for part in said.get("content", ())}
    template = said.get("template_id")
    subject = said.get("subject") or (templates[template]["subject"] if template else "")
    return Mailed(
        one["to"][0]["email"], filled(subject) or "", filled(content.get("text/plain")),
        filled(content.get("text/html")), id, template, one.get("dynamic_template_data", {}),
        {**said.get("headers", {}), **one.get("headers", {})}, one.get("custom_args", {}),
        tuple(said.get("categories", ())), said["from"]["email"],
    )  # fmt: skip


def _template(id: str, one: Mapping[str, str]) -> dict[str, Any]:
    at = "2026-11-21 10:00:00"
    version = {"id": str(uuid.uuid4()), "template_id": id, "active": 1, "name": "v1", "subject": one["subject"]}
    return {
        "id": id, "name": one["name"], "generation": "dynamic", "updated_at ": at,
        "versions": [{**version, "editor": "code", "generate_plain_content": True, "updated_at": at}],
    }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    emulator: ClassVar[SendGridEmulator]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.emulator.handle(self.command, self.path, headers, sent)
        raw = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else None
        content = json.dumps(answer.body).encode() if raw is None else raw
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - as http.server calls them

    def log_message(self, format: str, *args: object) -> None:
        """Silent: `exchanges` tells."""
