"""One folder for each open page: what is dropped on it, what becomes of it, and that nothing of it stays."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mprnet_plugin.errors import InputError
from mprnet_plugin.inference.headers import picture_size
from mprnet_plugin.inference.inputs import find_pictures, result_name
from mprnet_plugin.inference.picture_files import read_picture
from mprnet_plugin.memory import check_pixels_fit
from mprnet_plugin.streams import printable
from mprnet_plugin.web.limits import BYTES_PER_PIXEL, Limits

__all__ = ["Adopted", "Session", "Sessions", "plain"]

_LONGEST_STEM = 80
_IDLE = 24 * 3600
"""Seconds after which a page is closed that nobody has used: its end may never have been heard of."""
_LEFTOVER = 60
"""Seconds after which an upload is removed that no page shows any more, or that none has asked for."""


class Adopted(NamedTuple):
    """The pictures that a page holds now, and a line for each file that it does not take."""

    pictures: list[Path]
    refused: list[str]


def plain(error: BaseException | str, path: Path) -> str:
    """Return a message about a file as its owner knows it: by name, without the server's folders, in one line."""
    text = str(error).replace(str(path), path.name).replace(f"{path.parent}{os.sep}", "")
    return printable(" ".join(text.split()))


class Session:
    """A page's own folder.

    Args:
        folder: Is made; nothing else uses it.
        limits: What is taken.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self.closed = False
        self._lock = threading.RLock()
        self._users = 0
        self._pixels: dict[Path, int] = {}
        self._uploads: dict[Path, Path] = {}
        self.last_used = time.monotonic()
        self.inputs.mkdir(parents=True)

    @property
    def inputs(self) -> Path:
        """The folder of what was dropped."""
        return self.folder / "in"

    def pixels(self, path: Path) -> int:
        """Return how many pixels a picture has by its header, and 1 where that does not tell."""
        return self._pixels.get(path, 1)

    def uploads(self) -> set[Path]:
        """Return the files of which this page has its own, but which it still shows as they came."""
        with self._lock:
            return set(self._uploads)

    def own(self, paths: Iterable[str | Path]) -> list[Path]:
        """Return those of this page's pictures that are meant, in order, by their paths or those of their uploads."""
        found = dict.fromkeys(self._uploads.get(Path(path), Path(path)) for path in paths)
        return [path for path in found if path.parent == self.inputs and path.is_file()]

    def adopt(self, files: Iterable[str | Path], room: int, keep: bool = False) -> Adopted:
        """Take pictures over that have arrived, and forget those that are no longer there.

        Args:
            files: Everything that the page shows: this page's pictures, and uploads.
            room: Bytes that uploads may still take on all pages together.
            keep: Whether to forget none: uploads that follow each other closely do not know of each other.

        Raises:
            InputError: The page is closed.
        """
        with self._lock:
            self._check_open()
            wanted = [Path(file) for file in files]
            pictures = list(self._pixels) if keep else self.own(wanted)
            self._forget(set(pictures))
            refused, seen = [], set[Path]()
            for file in wanted:
                taken = self._uploads.get(file, file)
                try:
                    if taken in seen:
                        raise InputError("is there already")
                    if taken.parent != self.inputs:
                        taken = self._take(file, len(pictures), room)
                        room -= taken.stat().st_size
                        pictures.append(taken)
                except (InputError, OSError) as error:
                    refused.append(_refusal(file, error))
                seen.add(taken)
            return Adopted(pictures, refused)

    def keep_weights(self, file: str | Path) -> Path:
        """Take over a file of weights in place of an earlier one, unless it is the one that is kept.

        Raises:
            InputError: It is gone, or the page is closed.
        """
        with self._lock:
            self._check_open()
            path = self._uploads.get(Path(file), Path(file).resolve())
            ours = path.parent == self.folder / "weights"
            # What a browser sends is a path: of all others, only those of uploads, root/anything/name, are anybody's.
            if not (ours or path.parent.parent == self.folder.parent) or not path.is_file():
                raise InputError(f"{path.name}: is no longer there; choose it again")
            if not ours:
                kept = self._link(path, self.fresh_folder("weights"))
                self._uploads = {upload: one for upload, one in self._uploads.items() if one.parent != kept.parent}
                self._uploads[path] = kept
                return kept
            return path

    def fresh_folder(self, name: str) -> Path:
        """Return an empty folder of this page's; what an earlier one of that name held is gone."""
        with self._lock:
            self._check_open()
            folder = self.folder / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            return folder

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the folder as long as work goes on in it, and no longer."""
        with self._lock:
            self._check_open()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self.closed and not self._users:
                    shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything, once nothing works on it any more."""
        with self._lock:
            self.closed = True
            if not self._users:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _check_open(self) -> None:
        if self.closed:
            raise InputError("this page has lost its connection, and its pictures were removed: load it again")

    def _take(self, file: Path, count: int, room: int) -> Path:
        size = file.stat().st_size
        if count >= self.limits.pictures:
            raise InputError(f"{file.name}: is more than {self.limits.pictures} pictures at once; restore those first")
        if size > self.limits.file_bytes:
            raise InputError(
                f"{file.name}: has {size / 1e6:.0f} MB, expected {self.limits.file_bytes / 1e6:.0f} at most"
            )
        if size > room:
            raise InputError(f"{file.name}: there is no room for it; remove pictures, or restore in several goes")
        find_pictures(file)  # which knows what to do with a camera's RAW file
        # Where the header does not tell, reading says why, or knows a layout that is seldom met.
        width, height = picture_size(file) or read_picture(file).pixels.shape[1::-1]
        if width * height > self.limits.pixels:
            raise InputError(
                f"{file.name}: has {width} x {height} pixels, expected {self.limits.pixels / 1e6:.0f} million at most: "
                "cut it into parts"
            )
        try:
            check_pixels_fit(width, height, BYTES_PER_PIXEL)
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from error
        taken = self._link(file, self.inputs)
        self._pixels[taken], self._uploads[file] = width * height, taken
        return taken

    def _link(self, file: Path, folder: Path) -> Path:
        """Give a file a second name in a folder of ours: an upload of the same bytes may be another page's too."""
        folder.mkdir(exist_ok=True)
        stem, suffix = _safe_name(file.name)
        results = {result_name(path) for path in folder.iterdir()}
        number = 1
        while True:
            path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
            if result_name(path) not in results:
                break
            number += 1
        try:
            os.link(file, path)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without such links, or somebody else's file
            shutil.copyfile(file, path)
        return path

    def _forget(self, kept: set[Path]) -> None:
        for path in set(self.inputs.iterdir()) - kept:
            path.unlink(missing_ok=True)
            self._pixels.pop(path, None)
        self._uploads = {upload: path for upload, path in self._uploads.items() if path.is_file()}


def _refusal(file: Path, error: Exception) -> str:
    """Say in one line, which begins with the file's name, why it is not taken."""
    if isinstance(error, FileNotFoundError):
        error = InputError("did not arrive whole; choose it again")
    text = plain(f"{error.strerror}; choose it again" if isinstance(error, OSError) else error, file)
    return text if text.startswith(file.name) else f"{file.name}: {text}"


def _safe_name(name: str) -> tuple[str, str]:
    """Return stem and suffix that are one plain name in a folder, whatever the name was."""
    path = Path(name.replace("\\", "/"))
    letters = "".join(letter if letter.isprintable() else "_" for letter in path.stem).lstrip(".- ")
    suffix = path.suffix.lower() if path.suffix[1:].isalnum() else ""
    return letters[:_LONGEST_STEM] or "picture", path.suffix if suffix else ""


class Sessions:
    """All open pages below one folder, in which uploads arrive too.

    Args:
        root: This program's own folder.
        limits: What each page takes, and all of them together.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root, self.limits = root, limits
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        self._kept: frozenset[Path] = frozenset()

    def keep_what_is_there(self) -> None:
        """Never take for a leftover what lies in the folder now: the page's own pictures."""
        self._kept = frozenset(self.root.iterdir())

    def of(self, key: str) -> Session:
        """Return the session of a page, made at its first use."""
        with self._lock:
            session = self._open.get(key)
            if session is not None:
                session.last_used = time.monotonic()
            if session is None:
                # A name that nobody can guess, as whoever knows it can fetch what is in it.
                session = Session(self.root / f"page-{secrets.token_hex(16)}", self.limits)
                self._open[key] = session
            return session

    def close(self, key: str) -> None:
        """Forget a page."""
        with self._lock:
            session = self._open.pop(key, None)
        if session is not None:
            session.close()
        self.sweep()

    def room(self) -> int:
        """Return how many bytes uploads may still take."""
        with self._lock:
            open_now = list(self._open.values())
        used = 0
        for session in open_now:
            with suppress(OSError):
                used += sum(path.stat().st_size for path in session.inputs.iterdir())
        return max(self.limits.total_bytes - used, 0)

    def sweep(self, age: float = _LEFTOVER) -> None:
        """Remove uploads of so many seconds ago that no page shows, and pages that are forgotten."""
        with self._lock:
            idle = [key for key, one in self._open.items() if time.monotonic() - one.last_used > _IDLE]
            for session in [self._open.pop(key) for key in idle]:
                session.close()
            ours = {session.folder for session in self._open.values()}
            ours |= {upload.parent for session in self._open.values() for upload in session.uploads()}
        with suppress(OSError):
            for path in self.root.iterdir():
                if path in self._kept or path in ours or path.name.startswith("page-"):
                    continue
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > age:
                        shutil.rmtree(path, ignore_errors=True)
                        path.unlink(missing_ok=True)
