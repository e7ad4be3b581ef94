"""Options that nobody would write, drawn by a seeded generator: each is accepted or answered with one line.

``MPRNET_FUZZ`` in the environment says how many; CI draws 500.
"""

from __future__ import annotations

import copy
import os
import random
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from mprnet_plugin.errors import InputError

pytest.importorskip("basicsr")

from mprnet_plugin.hosts.basicsr.command_line import apply_override, read_options
from mprnet_plugin.hosts.basicsr.option_checks import check_model_type, check_options
from mprnet_plugin.hosts.basicsr.option_defaults import fill_defaults, fix_batch
from tests.helpers import at_most
from tests.hosts.basicsr.test_options import OPTIONS

COUNT = int(os.environ.get("MPRNET_FUZZ", "500"))
SECONDS = 20
"""For one file; a usual one takes a hundredth of that."""
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 8, 10**30, 0.5, -0.0, 1e300, float("nan"), float("inf")),
    *("", " ", "x", "~nosuchuser/x", "../up", "/", "\0", "n" * 239, "ü" * 200, "1e-4", "MPRNet", "Adam"),
    *([], [1], [[]], ["a", None], list(range(300)), {}, {1: 2}, {None: None}),
    *({"type": "MPRNet"}, {"type": None}, {"type": ["x"]}, {"type": {"a": 1}}, {"type": "SparseAdam", "lr": 1}),
]
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
"""Each line holds nine of the one before: 9**9 values in 400 bytes."""
TEXTS = [
    BOMB,
    "a: &a {b: *a}\n",
    "a: " + "[" * 2000 + "]" * 2000,
    "name: 2024-13-45\n",
    "name: " + "9" * 5000,
    "? [a]\n: b\n",
    "name: !!python/object/apply:os.system [true]\n",
    "name: !!binary x\n",
    "\x00",
    "name: a\nname: b\n",
    "- 1\n",
    "name: *nobody\n",
    "<<: 3\n",
    "name: !!timestamp x",
    "name: 0o9\n",
]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(tree, dict):
        return [path]
    return [path, *(place for key, value in tree.items() for place in places(value, (*path, key)))]


def mutate(opt: dict[str, Any], rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        path = rng.choice([place for place in places(opt) if place])
        section: Any = opt
        for key in path[:-1]:
            section = section[key]
        what = rng.random()
        if what < 0.7:
            section[path[-1]] = copy.deepcopy(rng.choice(VALUES))
        elif what < 0.85:
            del section[path[-1]]
        else:
            section[rng.choice(["typo", "type", "reduction", "bias", "betas", "name", 7])] = copy.deepcopy(
                rng.choice(VALUES)
            )


def read_and_check(path: Path, rng: random.Random) -> None:
    """Do what the runner does before it creates anything."""
    opt = read_options(str(path))
    if rng.random() < 0.2:
        apply_override(
            opt, f"{rng.choice(['train:total_iter', 'name', 'val:x', 'a.b', ''])}={rng.choice(['1', '[', '~'])}"
        )
    is_train = rng.random() < 0.8
    check_model_type(opt, path.name)
    check_options(opt, path.name, is_train)
    fill_defaults(opt, is_train)
    fix_batch(opt, rng.choice([1, 2]))
    yaml.safe_dump(opt)


def test_odd_options_are_accepted_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in", "out"):
        (tmp_path / name).mkdir()

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    outcomes = {"accepted": 0, "refused": 0}
    failures = []
    with at_most(1 << 30):
        for seed in range(COUNT):
            rng = random.Random(seed)  # noqa: S311 (no secret)
            path = tmp_path / "run.yml"
            if seed < len(TEXTS):
                path.write_text(TEXTS[seed])
            else:
                opt = copy.deepcopy(OPTIONS)
                mutate(opt, rng)
                path.write_text(yaml.safe_dump(opt))
            signal.alarm(SECONDS)
            try:
                read_and_check(path, rng)
                outcomes["accepted"] += 1
            except InputError as error:
                outcomes["refused"] += 1
                if "\n" in str(error) or len(str(error)) > 1500:
                    failures.append((seed, "no single line", str(error)[:200]))
            except BaseException as error:
                failures.append((seed, type(error).__name__, str(error)[:200]))
            finally:
                signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not failures, failures[:5]
    assert min(outcomes.values()) > COUNT // 50, outcomes  # neither answer to everything
