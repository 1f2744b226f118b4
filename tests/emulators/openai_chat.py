"""A server of chat completions: it holds each request to OpenAI's own types, and answers by script."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai.types.chat import ChatCompletion, completion_create_params
from pydantic import TypeAdapter

KEY = "sk-llm-nevershown00"
_REQUEST = TypeAdapter(completion_create_params.CompletionCreateParamsNonStreaming)


@dataclass(frozen=True)
class Reply:
    """`tool` is the name and the arguments of a tool to be called instead of an answer. `usage` None: none is told."""

    text: str = "fine"
    tool: tuple[str, dict[str, Any]] | None = None
    usage: tuple[int, int] | None = (100, 20)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    slow_s: float = 0.0


class ChatServer:
    """`answer` makes the reply to each request; `requests` are those that came."""

    def __init__(self, answer: Callable[[dict[str, Any]], Reply] | None = None) -> None:
        self.answer = answer or (lambda request: Reply())
        self.requests: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def prompts(self) -> list[str]:
        """What the last user message of each request said."""
        return [[m for m in one["messages"] if m["role"] == "user"][-1]["content"] for one in self.requests]

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert not self.problems, self.problems

    def reply(self, path: str, key: str | None, body: bytes) -> Reply:
        if path != "/v1/chat/completions":
            return Reply(status=404)
        if key != f"Bearer {KEY}":
            return Reply(status=401, text=f"Incorrect API key provided: {key}")
        request = json.loads(body)
        try:
            _REQUEST.validate_python(request)
        except ValueError as problem:
            self.problems.append(str(problem))
        self.requests.append(request)
        return self.answer(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                return

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                reply = server.reply(self.path, self.headers.get("authorization"), body)
                time.sleep(reply.slow_s)
                content = reply.raw if reply.raw is not None else json.dumps(_body(reply)).encode()
                self.send_response(reply.status)
                headers = {"content-type": "application/json", "content-length": str(len(content)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        return Handler


def _body(reply: Reply) -> dict[str, Any]:
    if reply.status >= 400:
        return {"error": {"message": reply.text, "type": "error", "param": None, "code": None}}
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.tool is not None:
        name, arguments = reply.tool
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        message |= {"content": None, "tool_calls": [call]}
    body: dict[str, Any] = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_770_000_000, "model": "tiny",
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool else "stop", "logprobs": None}
        ],
    }  # fmt: skip
    if reply.usage is not None:
        read, written = reply.usage
        body["usage"] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    ChatCompletion.model_validate(body)
    return body
