"""Stands for the Hugging Face Hub: the few routes by which huggingface_hub reads and writes a repository."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "a" * 34


class Hub(ThreadingHTTPServer):
    """A Hub in memory: repository to file to content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.claims: dict[str, int] = {}
        """File to the size that its headers claim."""
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repo: str) -> str:
        """Return a commit's name that follows from the content, as Git's does."""
        digest = hashlib.sha1(repr(sorted(self.repositories[repo].items())).encode())  # noqa: S324
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, content: Any) -> None:
        self.reply(200, json.dumps(content).encode(), Content_Type="application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/models/") and "/tree/" in path:
            repo, _, _ = path.removeprefix("api/models/").partition("/tree/")
            files = self.server.repositories.get(repo)
            if files is None:
                return self.reply(404, X_Error_Code="RepoNotFound")
            return self.json(
                [{"type": "file", "path": name, "size": len(body), "oid": "0"} for name, body in files.items()]
            )
        repo, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        files = self.server.repositories.get(repo)
        if files is None:
            return self.reply(401, X_Error_Code="RepoNotFound")
        commit = self.server.commit(repo)
        if revision not in ("main", commit):
            return self.reply(404, X_Error_Code="RevisionNotFound")
        if name not in files:
            return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        body = files[name]
        headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X_Repo_Commit": commit}  # noqa: S324
        if name in self.server.claims:
            headers["X_Linked_Size"] = str(self.server.claims[name])
        return self.reply(200, body, **headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.reply(401)
        path = urlsplit(self.path).path.strip("/")
        if path == "api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if path == "api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            self.server.repositories.setdefault(repo, {})
            return self.json({"url": f"{self.server.url}/{repo}"})
        repo, _, rest = path.removeprefix("api/models/").rpartition("/")[0].rpartition("/")
        if rest == "preupload":
            names = [one["path"] for one in json.loads(body)["files"]]
            files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return self.json({"files": files})
        for line in body.splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                self.server.repositories[repo][value["path"]] = base64.b64decode(value["content"])
        commit = self.server.commit(repo)
        return self.json({"commitUrl": f"{self.server.url}/{repo}/commit/{commit}", "commitOid": commit})


@contextmanager
def serving() -> Iterator[Hub]:
    """Have a Hub for a while."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
