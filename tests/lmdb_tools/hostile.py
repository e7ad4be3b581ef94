"""Databases that somebody else made: mutated from good ones by a seed. Run as a script, it gives them to the commands.

    python tests/lmdb_tools/hostile.py FOLDER FIRST COUNT

prints one JSON line a database: which mutation, and what ``verify`` and ``info`` made of it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import random
import shutil
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from lmdb_tools import info, verify
from lmdb_tools.codec import ppm
from mprnet_plugin.errors import InputError
from mprnet_plugin.memory import most_memory

HANG = 30  # seconds
NAMES = ("data.mdb", "meta_info.txt", "manifest.json")
ODD: list[Any] = [
    None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x" * 5000, "\ud800", [], {}, [[]], [[[[]]]], {"a": {}},
    "../x", "\n",
]  # fmt: skip
EXTREMES = (0, 1, 2, 7, 16, 255, 4095, 4096, 1 << 15, (1 << 16) - 1, (1 << 31) - 1, 1 << 32, 1 << 62, (1 << 64) - 1)
LINES = (
    "{key}.png (0,0,3) 1", "{key}.png (40,56,3) 1\n{key}.png (40,56,3) 1", "{key}.png (-1,56,3) 1",
    "{key}.png (99999999999999999999,1,3) 1", "{key}.png (1" + "0" * 5000 + ",1,3) 1", "{key}.png", "", "\x00",
    "../../{key}.png (40,56,3) 1", "/etc/{key}.png (40,56,3) 1", "a//{key}.png (40,56,3) 1", "{key}",
    "é.png (40,56,3) 1",
    "a\\{key}.png (40,56,3) 1", "{key}\x00.png (40,56,3) 1", "\x1b[2J{key}.png (40,56,3) 1", ".png (40,56,3) 1",
    "{key}.png (9999999,9999999,3) 1", "x" * 100_000, "{key}.png (56,40,3) 1", "{key}.png (40,56) 1",
)  # fmt: skip
Mutation = Callable[[Path, random.Random], None]


def write(root: Path, values: dict[str, bytes], size: tuple[int, int] = (40, 56)) -> None:
    """Write a database as the host does, without a manifest."""
    shutil.rmtree(root, ignore_errors=True)
    with (
        lmdb.open(str(root), map_size=1 << 26, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key.encode(), value)
    lines = (f"{key}.png ({size[0]},{size[1]},3) 1\n" for key in values)
    (root / "meta_info.txt").write_text("".join(lines))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG of a declared size; its pixels may be missing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def flipped_bytes(root: Path, rng: random.Random) -> None:
    data = bytearray((root / "data.mdb").read_bytes())
    for _ in range(rng.choice([1, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (root / "data.mdb").write_bytes(data)


def extreme_fields(root: Path, rng: random.Random) -> None:
    """Put extreme numbers where the two head pages and the pages of the tree have theirs."""
    data = bytearray((root / "data.mdb").read_bytes())
    tree = [at for at in range(8192, len(data), 4096) if data[at + 10] in (1, 2) and data[at + 11] == 0]
    for _ in range(rng.choice([1, 1, 3])):
        form = rng.choice("HIQ")
        width = struct.calcsize(form)
        page = rng.choice([0, 4096, *tree, *tree])
        place = page + rng.choice([rng.randrange(0, 168, 2), rng.randrange(0, 168, 2), rng.randrange(0, 4088, 2)])
        struct.pack_into(f"={form}", data, place, rng.choice(EXTREMES) & ((1 << 8 * width) - 1))
    (root / "data.mdb").write_bytes(data)


def moved_pages(root: Path, rng: random.Random) -> None:
    data = bytearray((root / "data.mdb").read_bytes())
    first, second = (4096 * rng.randrange(len(data) // 4096) for _ in range(2))
    page = rng.choice([bytes(4096), bytes(data[second : second + 4096]), rng.randbytes(4096)])
    data[first : first + 4096] = page
    (root / "data.mdb").write_bytes(data)


def truncated(root: Path, rng: random.Random) -> None:
    path = root / rng.choice(NAMES[: 2 + (root / "manifest.json").exists()])
    os.truncate(path, rng.randrange(path.stat().st_size))


def other_content(root: Path, rng: random.Random) -> None:
    content = rng.choice([b"", b"\0" * 9000, rng.randbytes(20_000), b"[" * 100_000, b"{}", b"\xff\xfe{}", b"%!PS\n"])
    (root / rng.choice(NAMES)).write_bytes(content)


def special_file(root: Path, rng: random.Random) -> None:
    path = root / rng.choice(NAMES)
    path.unlink(missing_ok=True)
    kind = rng.randrange(6)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        with socket.socket(socket.AF_UNIX) as server:
            here = os.open(root, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{here}/{path.name}")  # the whole path is too long for a socket
            os.close(here)
    elif kind < 5:
        path.symlink_to(rng.choice(["/dev/zero", "/dev/tty", path.name, "nothing", "/proc/self/mem", "/dev/stdin"]))


def meta_lines(root: Path, rng: random.Random) -> None:
    path = root / "meta_info.txt"
    lines = path.read_text().splitlines()
    for _ in range(rng.choice([1, 1, 3])):
        index = rng.randrange(len(lines))
        lines[index] = rng.choice(LINES).replace("{key}", lines[index].split(".")[0])
    path.write_text(rng.choice(["\n", "\n", "\r\n"]).join(lines), encoding="utf-8", newline="")


def manifest_tree(root: Path, rng: random.Random) -> None:
    """Replace, remove or repeat something in the manifest, at any depth."""
    path = root / "manifest.json"
    if not path.exists():
        return meta_lines(root, rng)
    content = json.loads(path.read_text())
    place: Any = content
    while True:
        name = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if rng.random() < 0.5 or not isinstance(place[name], (dict, list)) or not place[name]:
            break
        place = place[name]
    action = rng.randrange(4)
    if action == 0:
        del place[name]
    elif action == 1 and isinstance(place, list):
        place.append(place[name])
    else:
        place[name] = rng.choice(ODD)
    path.write_text(json.dumps(content))
    return None


def odd_values(root: Path, rng: random.Random) -> None:
    """Values that no packer writes, in a whole database."""
    good = ppm(np.zeros((40, 56, 3), np.uint8))
    whole = png(56, 40, bytes(40 * (1 + 56 * 3)))
    odd = rng.choice(
        [
            b"", b"P6\n0 0\n255\n", b"P6\n56 40\n0\n" + bytes(6720), b"P6\n99999999999 1\n255\n", b"P6\n56 40\n65535\n",
            good[:-1], good + b"x", b"P6\n-5 9\n255\n", png(30_000, 30_000), png(13_000, 13_000), png(0, 0), whole[:60],
            whole + bytes(3000), b"\xff\xd8\xff\xe0", b"%!PS-Adobe-3.0 EPSF\n", b"II*\0" + bytes(40), b"BM" + bytes(60),
            b"GIF89a", b"RIFF\x10\0\0\0WEBPVP8X" + b"\xff" * 30, whole, rng.randbytes(3000),
            png(1 << 31, 1), bytes(1 << 20),
        ]
    )  # fmt: skip
    write(root, {"0": good, "1": odd, "2": good}, rng.choice([(40, 56), (40, 56), (13_000, 13_000), (1, 1)]))


MUTATIONS: tuple[Mutation, ...] = (
    flipped_bytes, extreme_fields, extreme_fields, moved_pages, truncated, other_content, special_file, meta_lines,
    manifest_tree, manifest_tree, odd_values,
)  # fmt: skip


def make(bases: Path, number: int, place: Path) -> str:
    """Put mutated database ``number`` into a folder; return which mutation it had."""
    rng = random.Random(number)  # noqa: S311 (no secret)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(rng.choice(sorted(bases.iterdir())), place)
    mutation = MUTATIONS[number % len(MUTATIONS)]
    mutation(rng.choice(sorted(place.iterdir())), rng)
    return mutation.__name__


def outcome(command: Callable[[list[str]], int], arguments: list[str]) -> tuple[str, str]:
    """Run a command in this process; return its status in a word, and what it printed."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            status = str(command(arguments))
        except InputError as error:
            status = f"refused: {error}"
        except BaseException as error:
            status = f"traceback: {error!r}"
    faulthandler.cancel_dump_traceback_later()
    return status, output.getvalue()


def main(folder: Path, first: int, count: int) -> None:
    """Make databases and give them to both commands."""
    place, sheets = folder / "place", folder / "sheets"
    for number in range(first, first + count):
        began = time.monotonic()
        name = make(folder / "bases", number, place)
        sys.stdout.write(json.dumps({"number": number, "mutation": name}) + "\n")
        sys.stdout.flush()
        row: dict[str, Any] = {"number": number, "mutation": name}
        row["verify"], row["verify_says"] = outcome(verify.main, [str(place), "--workers", "2"])
        row["info"], row["info_says"] = outcome(info.main, [str(place), "--sheet", str(sheets), "--side", "32"])
        row["seconds"] = time.monotonic() - began
        row["peak"] = most_memory()
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
