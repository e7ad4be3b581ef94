"""Get the published weights: resumed where it stopped, whole or not at all, and always the same bytes."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mprnet_plugin.errors import InputError, nearest
from mprnet_plugin.files import whole_file
from mprnet_plugin.tasks import find_task
from mprnet_plugin.weights.checkpoint import infer_config, load_state_dict

__all__ = [
    "cache_folder",
    "cached",
    "demo_weights",
    "download",
    "fetch",
    "verify",
]

CACHE_VARIABLE = "MPRNET_PLUGIN_CACHE"
_CHUNK = 1 << 18
_ATTEMPTS = 4
_PROGRESS = 1 << 20
_LIMIT = 1 << 30
"""No published file is near this many bytes."""


def cache_folder() -> Path:
    """Return where downloads are kept: ``MPRNET_PLUGIN_CACHE``, else ``mprnet_plugin`` in the user's cache folder.

    Raises:
        InputError: Neither is there.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mprnet_plugin"
    except RuntimeError:  # neither HOME nor an entry for the user, as in many containers
        raise InputError(f"there is no home folder to keep weights in; set {CACHE_VARIABLE} to a folder") from None


def demo_weights(task: str) -> Path | None:
    """Return the small checkpoint for ``task`` that comes with this package, or None."""
    path = Path(__file__).parent / "demo" / f"{find_task(task).name}.safetensors"
    return path if path.is_file() else None


def cached(task: str) -> Path | None:
    """Return the published weights for ``task`` in the cache, their bytes checked, or None.

    Raises:
        InputError: The file is not what it was when it was first used.
    """
    names = [item.name for item in find_task(task).weights]
    try:
        folder = cache_folder()
    except InputError:
        return None
    paths = (folder / name for name in names)
    path = next((path for path in paths if path.is_file()), None)
    return None if path is None else verify(path)


def fetch(task: str, publisher: str | None = None, timeout: float = 30.0) -> Path:
    """Return the published weights for ``task``, downloaded if they are not in the cache.

    Args:
        task: A preset's name.
        publisher: ``paddlegan`` or ``authors``; None takes what is in the cache, else the former.
        timeout: Seconds without a byte after which the connection is given up and made again.

    Raises:
        InputError: Unknown task or publisher, no network, or what arrived is not that network's weights.
    """
    wanted = find_task(task)
    items = {item.publisher: item for item in wanted.weights}
    if publisher is not None and publisher not in items:
        raise InputError(f"publisher {publisher!r} is unknown; {nearest(publisher, items)}")
    present = cached(task) if publisher is None else None
    if present is not None:
        return present
    item = items[publisher] if publisher else wanted.weights[0]

    def is_task(path: Path) -> None:
        config = infer_config(load_state_dict(path))
        if config.preset != wanted.name:
            raise InputError(f"{path}: is for {config.describe()}, expected {wanted.name}")

    return download(item.url, cache_folder() / item.name, is_task, timeout)


def verify(path: Path) -> Path:
    """Pin a file's SHA-256 beside it on first use, and compare from then on.

    Raises:
        InputError: The bytes differ from those that were pinned.
    """
    digest = _digest(path)
    pin = path.with_name(f"{path.name}.sha256")
    if pin.is_dir():
        raise InputError(f"{pin}: is a folder, expected the file with the SHA-256 of {path.name}: remove it")
    if not pin.exists():
        with suppress(InputError), whole_file(pin) as part:  # a folder that is only read needs no pin
            part.write_text(f"{digest}  {path.name}\n")
    elif _pinned(pin) != digest:
        raise InputError(
            f"{path}: its SHA-256 {digest} is not the one in {pin.name}; if you meant to change it, remove both"
        )
    return path


def download(url: str, target: Path, check: Callable[[Path], object], timeout: float = 30.0) -> Path:
    """Download a file whole or not at all, going on where an earlier try stopped.

    What has arrived stays in ``<target>.part`` between tries and runs, and is continued only if the server says
    that the file is unchanged (``If-Range``).

    Args:
        url: An http or https address.
        target: Where the file goes once it is complete and checked.
        check: Raises :class:`InputError` when the content is not what was wanted.
        timeout: Seconds without a byte that count as a stall.

    Returns:
        ``target``, its hash pinned.

    Raises:
        InputError: It could not be had; the message says why and where to put the file by hand.
    """
    part = target.with_name(f"{target.name}.part")
    by_hand = f"where there is no network, get that file elsewhere and put it at {target}, or give --weight_path"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = _receive(url, part, timeout)
    except OSError as error:
        raise InputError(f"{part}: could not be written ({error.strerror or error}); free space there") from error
    if reason is not None:
        raise InputError(f"{url} could not be downloaded ({reason}); try again to continue, or {by_hand}")
    try:
        check(part)
        pin = target.with_name(f"{target.name}.sha256")
        if pin.is_file() and _pinned(pin) != _digest(part):
            raise InputError(
                f"{part}: differs from what {pin.name} remembers; remove {pin} if the publisher changed it"
            )
    except InputError as error:
        _forget(part)
        raise InputError(f"{url} did not give the weights ({error}); {by_hand}") from error
    try:
        part.replace(target)
    except OSError as error:
        raise InputError(f"{target}: could not be written ({error.strerror}); {part} is the whole file") from error
    _forget(part)
    return verify(target)


class _InterruptedError(Exception):
    """A transfer that ended early; what has arrived is kept."""


def _receive(url: str, part: Path, timeout: float) -> str | None:
    """Fill ``part``; return None, or why it is not complete."""
    tries, best, reason = 0, -1, ""
    while tries < _ATTEMPTS:
        try:
            with _connect(url, part, timeout) as response:
                _append(response, part)
            return None
        except _InterruptedError as error:
            reason = str(error)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # 416: what is here already is longer than the file, so start anew
                return f"HTTP status {error.code}"
            _forget(part)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        # Only a try that got well further than any before is free, so a server cannot keep this going for ever.
        size = part.stat().st_size if part.exists() else 0
        tries, best = (0 if size >= best + _PROGRESS and best >= 0 else tries + 1), max(size, best)
    return reason or "the server's answers contradict each other"


def _connect(url: str, part: Path, timeout: float) -> Any:  # noqa: ANN401 - urllib has no common type for responses
    if not url.startswith(("https://", "http://")):
        raise urllib.error.URLError("only http and https addresses are read")
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "mprnet-plugin"})  # noqa: S310
    validator = _validator(part)
    tag = validator.read_text(errors="replace") if validator.is_file() else ""
    if part.exists() and tag and tag.isascii() and tag.isprintable():
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", tag)
    return urllib.request.urlopen(request, timeout=timeout)  # noqa: S310 - the scheme is checked above


def _append(response: Any, part: Path) -> None:  # noqa: ANN401
    """Write a response to the end of ``part``, or from the start if the server sends everything again."""
    start = part.stat().st_size if part.exists() else 0
    if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        start = 0
        _forget(part)
        tag = response.headers.get("ETag") or ""
        tag = tag if tag.startswith('"') else response.headers.get("Last-Modified") or ""  # weak tags allow no ranges
        if tag:
            _validator(part).write_text(tag)
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with part.open("ab") as stream, bar:
        while chunk := _read(response):
            stream.write(chunk)
            bar.update(len(chunk))
            if stream.tell() > _LIMIT:
                raise urllib.error.URLError(f"more than {_LIMIT} bytes, which no weights have")
        size = stream.tell()
        os.fsync(stream.fileno())
    if total is not None and size < total:
        raise _InterruptedError(f"the connection closed after {size} of {total} bytes")


def _read(response: Any) -> bytes:  # noqa: ANN401
    try:
        chunk: bytes = response.read1(_CHUNK)
    except TimeoutError as error:
        raise _InterruptedError("the server stopped sending") from error
    except (OSError, HTTPException) as error:
        raise _InterruptedError(f"the connection broke: {error}") from error
    return chunk


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _pinned(pin: Path) -> str:
    return next(iter(pin.read_text(errors="replace").split()), "")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
