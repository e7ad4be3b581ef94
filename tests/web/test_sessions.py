"""A page's folder: what it takes, what it refuses and why, and that nothing stays."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from mprnet_plugin.errors import InputError
from mprnet_plugin.web.limits import Limits, limits_of
from mprnet_plugin.web.sessions import Session, Sessions
from tests.helpers import picture, write_picture

LIMITS = Limits(pictures=3, file_bytes=2_000_000, total_bytes=5_000_000, pixels=1_000_000)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / "page", LIMITS)


def uploaded(folder: Path, name: str, seed: int = 0, height: int = 40) -> Path:
    path = folder / f"upload-{seed}-{name}"
    path.mkdir(parents=True)
    write_picture(path / name, picture(seed, height))
    return path / name


def test_pictures_of_one_name_are_two(session: Session, tmp_path: Path) -> None:
    files = [uploaded(tmp_path, "a.png", seed) for seed in (1, 2)]
    first = session.adopt(files[:1], 10**6)
    assert [path.name for path in first.pictures] == ["a.png"]
    both = session.adopt([*first.pictures, files[1], files[1]], 10**6)
    assert [path.name for path in both.pictures] == ["a.png", "a-2.png"]
    assert both.refused == ["a.png: is there already"]
    assert [path.read_bytes() for path in both.pictures] == [file.read_bytes() for file in files]
    assert [session.pixels(path) for path in both.pictures] == [40 * 48] * 2
    assert files[0].exists(), "another page may have uploaded the same"
    left = session.adopt(both.pictures[1:], 10**6)
    assert left.pictures == both.pictures[1:]
    assert [path.name for path in session.inputs.iterdir()] == ["a-2.png"]


def test_uploads_that_follow_each_other_closely_all_stay(session: Session, tmp_path: Path) -> None:
    """The page sends what it shows, and what it shows may be older or newer than the last answer that it got."""
    files = [uploaded(tmp_path, f"{number}.png", number) for number in (1, 2)]
    first = session.adopt(files[:1], 10**6, keep=True)
    both = session.adopt(files, 10**6, keep=True)
    assert [path.name for path in both.pictures] == ["1.png", "2.png"]
    assert session.adopt([files[0]], 10**6, keep=True) == both, "sent before the second, heard after it"
    assert session.own(files) == session.own([*both.pictures, *files]) == both.pictures
    assert session.adopt([files[1]], 10**6).pictures == both.pictures[1:], "the first was taken away"
    assert session.own(files) == both.pictures[1:]
    again = session.adopt([*both.pictures[1:], files[0]], 10**6, keep=True)
    assert again.pictures == [both.pictures[1], first.pictures[0]], "and was dropped again"


def test_limits_are_said_by_name(session: Session, tmp_path: Path) -> None:
    small = [uploaded(tmp_path, f"{number}.png", number) for number in range(4)]
    wide, heavy = tmp_path / "wide.png", tmp_path / "heavy.png"
    write_picture(wide, np.zeros((900, 1500, 3), np.uint8))
    heavy.write_bytes(b"\0" * 3_000_000)
    assert session.adopt(small, 10**6).refused == ["3.png: is more than 3 pictures at once; restore those first"]
    assert session.adopt([wide], 10**6).refused == [
        "wide.png: has 1500 x 900 pixels, expected 1 million at most: cut it into parts"
    ]
    assert session.adopt([heavy], 10**7).refused == ["heavy.png: has 3 MB, expected 2 at most"]
    assert session.adopt([small[0]], 10).refused == [
        "0.png: there is no room for it; remove pictures, or restore in several goes"
    ]
    assert session.adopt([tmp_path / "gone.png"], 10**6).refused == ["gone.png: did not arrive whole; choose it again"]
    assert list(session.inputs.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".hidden.png", "hidden.png"),
        ("-o.png", "o.png"),
        ("a\nb.png", "a_b.png"),
        ("Größe (2).PNG", "Größe (2).PNG"),
        (f"{'x' * 200}.png", f"{'x' * 80}.png"),
        ("...png", "picture.png"),
    ],
)
def test_names_become_plain_ones(session: Session, tmp_path: Path, name: str, expected: str) -> None:
    original = uploaded(tmp_path, "a.png")
    (path,) = session.adopt([original.rename(original.parent / name)], 10**6).pictures
    assert path == session.inputs / expected


def test_only_this_pages_own_files_are_its_own(session: Session, tmp_path: Path) -> None:
    other = Session(tmp_path / "other", LIMITS)
    (theirs,) = other.adopt([uploaded(tmp_path, "a.png")], 10**6).pictures
    (mine,) = session.adopt([uploaded(tmp_path, "b.png")], 10**6).pictures
    outside: list[str | Path] = [
        theirs,
        "/etc/passwd",
        session.inputs / ".." / ".." / "upload-0-a.png" / "a.png",
        session.folder,
    ]
    assert session.own([mine, *outside]) == [mine]


def test_weights_are_taken_over_once(session: Session, tmp_path: Path) -> None:
    file, next_file = uploaded(tmp_path, "w.png", 1), uploaded(tmp_path, "w.png", 2)
    weights = session.keep_weights(file)
    assert weights == session.folder / "weights" / "w.png"
    file.unlink()  # swept
    session.adopt([], 10**6)
    assert session.keep_weights(file) == session.keep_weights(str(weights)) == weights
    assert session.keep_weights(next_file).read_bytes() == next_file.read_bytes()
    assert len(list(weights.parent.iterdir())) == 1
    with pytest.raises(InputError, match=r"w\.png: is no longer there"):
        session.keep_weights(file)  # which had the name of the next one
    theirs = Session(tmp_path / "other", LIMITS).keep_weights(uploaded(tmp_path, "x.png", 3))
    for path in (tmp_path / "gone" / "w.png", theirs, "/etc/passwd", session.folder / ".." / ".." / next_file.name):
        with pytest.raises(InputError, match="is no longer there; choose it again"):
            session.keep_weights(path)
    assert weights.exists()


def test_a_closed_page_is_gone_when_its_work_is(session: Session, tmp_path: Path) -> None:
    session.adopt([uploaded(tmp_path, "a.png")], 10**6)
    with session.used():
        closing = threading.Thread(target=session.close)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()
        assert session.folder.exists()
    assert not session.folder.exists()
    for refused in (
        lambda: session.adopt([], 0),
        lambda: session.fresh_folder("x"),
        lambda: session.used().__enter__(),
    ):
        with pytest.raises(InputError, match="this page has lost its connection"):
            refused()
    assert not session.folder.exists()


def test_uploads_are_swept_and_pages_are_not(tmp_path: Path) -> None:
    (tmp_path / "of the page itself").mkdir()
    sessions = Sessions(tmp_path, LIMITS)
    sessions.keep_what_is_there()
    page = sessions.of("x")
    assert sessions.of("x") is page
    page.adopt([uploaded(tmp_path, "a.png")], sessions.room())
    assert sessions.room() == LIMITS.total_bytes - (page.inputs / "a.png").stat().st_size
    (tmp_path / "tmpfile").write_bytes(b"left")
    sessions.sweep(age=3600)
    assert len(list(tmp_path.iterdir())) == 4
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    sessions.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {"of the page itself", "upload-0-a.png", page.folder.name}
    page.adopt([], 0)  # the page shows it no more
    sessions.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {"of the page itself", page.folder.name}
    sessions.close("x")
    sessions.close("never there")
    assert {path.name for path in tmp_path.iterdir()} == {"of the page itself"}
    assert sessions.of("x") is not page


@pytest.mark.parametrize("memory", [1 << 20, 1 << 28, 1 << 34, 1 << 44])
@pytest.mark.parametrize("disk", [1 << 20, 1 << 34])
def test_limits_fit_the_machine(memory: int, disk: int) -> None:
    limits = limits_of(memory, disk)
    assert limits.pictures >= 1
    assert limits.file_bytes <= limits.total_bytes
    assert limits.pixels * 4 * 3 <= max(memory, 12_000_000)
    assert limits.pictures <= 100
