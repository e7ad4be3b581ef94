"""What there is to pack: pictures, pairs and splits, found by name in a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from mprnet_plugin.data.pairs import pair_keys
from mprnet_plugin.data.stores import FolderStore, picture_size
from mprnet_plugin.errors import InputError

log = logging.getLogger(__name__)

# LMDB's limit is 511 bytes; the rest is for the number of a patch.
_KEY_MAX = 490
_SHOWN = 3


@dataclass(frozen=True)
class Picture:
    """One source picture: an image file, or a block of a SIDD ``.mat`` file where ``variable`` is given.

    Attributes:
        path: The file.
        size: (height, width) in pixels as decoded.
        variable: Name of the array in a ``.mat`` file, shaped (scenes, blocks, H, W, 3).
        position: (scene, block) in that array.
    """

    path: Path
    size: tuple[int, int]
    variable: str = ""
    position: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Pair:
    """An input and its target under one database key."""

    key: str
    input: Picture
    target: Picture


@dataclass(frozen=True)
class Split:
    """One part of a dataset, for example ``train`` or ``Test100``.

    Attributes:
        name: Start of the databases' names.
        layout: Which layout was found, in words.
        pairs: All pairs, in the order of their keys.
        published: Numbers of pairs that the dataset's authors or its users report.
        training: Whether patches are cut from it where they are asked for.
    """

    name: str
    layout: str
    pairs: tuple[Pair, ...]
    published: tuple[int, ...]
    training: bool


def lmdb_key(name: str) -> str:
    """Turn a path without suffix into a key that the host can read: ASCII, no dots, folders kept.

    A dot becomes ``_``; any other character that needs it is percent-encoded.

    Example:
        >>> lmdb_key("GOPR0372_07_00/a.1 b")
        'GOPR0372_07_00/a_1%20b'
    """
    return quote(name.replace(".", "_"), safe="/")


def unique_pairs(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Return the pairs sorted by key.

    Raises:
        InputError: Two keys are equal, or differ in case only (a trap where pairs are unpacked on macOS or Windows), or
            a key is too long for LMDB.
    """
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if len(pair.key) > _KEY_MAX:
            raise InputError(
                f"{pair.input.path}: key of {len(pair.key)} bytes, LMDB allows {_KEY_MAX}; shorten the name"
            )
        other = seen.setdefault(pair.key.casefold(), pair)
        if other is not pair:
            raise InputError(
                f"{pair.input.path} and {other.input.path} need the keys {pair.key!r} and {other.key!r}, equal but "
                "for case; rename one"
            )
    return tuple(sorted(seen.values(), key=lambda pair: pair.key))


def folder_pairs(inputs: Path, targets: Path, prefix: str = "", drop_unequal: bool = False) -> list[Pair]:
    """Pair the images of two folders by name.

    Args:
        inputs: Folder of degraded images.
        targets: Folder of clean images.
        prefix: Put before each key.
        drop_unequal: Leave out pairs whose sizes differ, with a warning, where the dataset is known to have one.

    Raises:
        InputError: Orphans (listed), unreadable headers, pairs of unequal size, or as
            :func:`mprnet_plugin.data.folders.list_images`.
    """
    input_store, target_store = FolderStore(inputs), FolderStore(targets)
    names = pair_keys(input_store.keys(), target_store.keys(), inputs, targets)
    pairs = [
        Pair(
            prefix + lmdb_key(name),
            Picture(Path(input_store.where(name)), input_store.size(name)),
            Picture(Path(target_store.where(name)), target_store.size(name)),
        )
        for name in tqdm(names, desc=f"sizes in {inputs.name}", unit="pair", leave=False, delay=1)
    ]
    return equal_pairs(pairs, drop_unequal)


def equal_pairs(pairs: Sequence[Pair], drop_unequal: bool = False) -> list[Pair]:
    """Return the pairs whose two sizes are equal; the others are an error, or a warning with ``drop_unequal``."""
    unequal = [pair for pair in pairs if pair.input.size != pair.target.size]
    if unequal:
        names = ", ".join(f"{p.input.path} {_hw(p.input)} and {_hw(p.target)}" for p in unequal[:_SHOWN])
        text = f"{len(unequal)} pairs of unequal size: {names}{', ...' if len(unequal) > _SHOWN else ''}"
        if not drop_unequal:
            raise InputError(f"{text}; correct or remove them")
        log.warning("warning: %s; left out", text)
    return [pair for pair in pairs if pair.input.size == pair.target.size]


def check_count(split: Split, strict: bool) -> None:
    """Compare the number of pairs with the published one: a warning, or an error where ``strict``."""
    if len(split.pairs) in split.published:
        return
    text = f"{split.name}: {len(split.pairs)} pairs, published are {' or '.join(map(str, split.published))}"
    if strict:
        raise InputError(f"{text}; complete the dataset, or leave out --strict to pack a part")
    log.warning("warning: %s", text)


def child(folder: Path, *names: str) -> Path | None:
    """Return the first of ``folder/name`` that is a folder."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def prepared_pairs(folder: Path | None, drop_unequal: bool = False) -> list[Pair]:
    """Return the pairs of ``folder/{input,target}``, or none where that is not there."""
    if folder is None or not (folder / "input").is_dir() or not (folder / "target").is_dir():
        return []
    return folder_pairs(folder / "input", folder / "target", drop_unequal=drop_unequal)


def listed_pairs(root: Path, listing: Path) -> list[Pair]:
    """Return the pairs that a text file lists, one a line: the sharp and the blurred picture's path below ``root``.

    The key is the folder above the sharp picture's own, and its number or name, as in ``scene230/7``.

    Raises:
        InputError: A line of another form, a path that leads out of ``root``, or pictures that are not there.
    """
    pairs = []
    for number, line in enumerate(_lines(listing), 1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2 or any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
            raise InputError(f"{listing}:{number}: {line[:100]!r} must be SHARP BLURRED, paths below {root}")
        target, source = (_listed(root / name, listing, number) for name in names)
        pairs.append(Pair(lmdb_key(_listed_key(Path(names[0]))), source, target))
    return equal_pairs(pairs)


def _lines(listing: Path) -> list[str]:
    try:
        return listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{listing} cannot be read ({error}); get the list anew") from error


def _listed(path: Path, listing: Path, number: int) -> Picture:
    if not path.is_file():
        raise InputError(f"{path} is not there, though {listing.name}:{number} lists it; complete the dataset")
    return Picture(path, picture_size(path))


def _listed_key(sharp: Path) -> str:
    """``.../scene230/gt/gt_7.png`` is ``scene230/7``, ``RSBlur/0001/000022/gt/gt_sharp.png`` is ``0001/000022``."""
    scene = sharp.parent.parent
    name = sharp.stem.removeprefix("gt_")
    return f"{scene.parent.name}/{scene.name}" if name == "sharp" else f"{scene.name}/{name}"


def _hw(picture: Picture) -> str:
    return f"{picture.size[1]}x{picture.size[0]}"
