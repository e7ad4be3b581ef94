"""What the server answers: the page, its own files, nothing else, and only to a browser on this machine."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_FILE, _UPLOAD = "/gradio_api/file=", "/gradio_api/upload"
_GET = frozenset(
    {
        *("/", "/config", "/config/", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"),
        *("/gradio_api/startup-events", "/gradio_api/info", "/gradio_api/app_id"),
        *("/gradio_api/queue/data", "/gradio_api/upload_progress", "/gradio_api/theme.css"),
    }
)
_GET_BELOW = ("/assets/", "/static/", "/gradio_api/heartbeat/")
_POST = frozenset({_UPLOAD, "/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"})
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Refusal(NamedTuple):
    """An HTTP status and why."""

    status: int
    reason: str


class Guard:
    """Stands before an ASGI application: what it does not know is not there.

    Args:
        app: Answers the rest.
        root: The only folder of which files are served.
        upload: Most bytes of one upload.
    """

    def __init__(self, app: Application, root: Path, upload: int) -> None:
        self._app, self._root, self._upload = app, os.path.realpath(root), upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do so."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self.refusal(scope)
        if refusal is not None:
            await _answer(refusal, send)
            return
        private = scope["path"].startswith(_FILE)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if private:  # the browser's cache would keep pictures longer than we do
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return why a request is not answered, or None."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        # A page of somebody else's can send requests here, also under a name of its own that leads to this machine.
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in _OWN_NAMES:
            return Refusal(403, "this page is for a browser on the same machine")
        if "origin" in headers and urlsplit(headers["origin"]).netloc != host:
            return Refusal(403, "another page asks")
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD"):
            if path.startswith(_FILE):
                return None if self._is_ours(path.removeprefix(_FILE)) else Refusal(403, "no file of this page")
            return None if path in _GET or path.startswith(_GET_BELOW) else Refusal(404, "nothing is here")
        if method != "POST" or path not in _POST:
            return Refusal(404, "nothing is here")
        return self._too_large(headers) if path == _UPLOAD else None

    def _is_ours(self, path: str) -> bool:
        real = os.path.realpath(path) if os.path.isabs(path) else ""  # noqa: PTH117 - text from outside
        return real.startswith(f"{self._root}{os.sep}") and "/." not in real.removeprefix(self._root)

    def _too_large(self, headers: dict[str, str]) -> Refusal | None:
        length = headers.get("content-length", "")
        if not length.isdigit():
            return Refusal(411, "the upload does not say how large it is")
        if int(length) > self._upload:
            return Refusal(413, f"more than {self._upload / 1e6:.0f} MB together: drop fewer at once")
        return None


async def _answer(refusal: Refusal, send: Send) -> None:
    body = f"{refusal.reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
