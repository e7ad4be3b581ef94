"""The arrows of docs/architecture.md, and how long a module and a function may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import ROOT

LAYERS = (
    ("hosts", "web"),
    ("training", "inference", "export"),
    ("hub",),
    ("weights", "data", "metrics", "losses"),
    ("archs",),
    ("tasks", "typed_options", "shipped_options", "files", "streams", "memory", "errors", "_lazy", "_startup"),
)
"""Parts of mprnet_plugin from the top down. Each imports itself and the layers below; the lowest layer is one."""
UNBOUND = ("__init__", "_startup", "shipped_options")
"""The package's lazy public names, the start that leads to a host, a command that explains a host's options: they
import nothing from above until somebody asks."""
UPWARD = {"mprnet_plugin/archs/pretrained.py": "mprnet_plugin.hub"}
"""Module to what it imports from above inside of its methods, when they are called: ``MPRNet.from_pretrained``."""
HOSTS = {
    "basicsr": "mprnet_plugin/hosts/basicsr/",
    "mmengine": "mprnet_plugin/hosts/mmengine/",
    "gradio": "mprnet_plugin/web/",
}
"""Host, or what serves the page, to the only folder that imports it."""
LONGEST_MODULE = 300
LONGEST_FUNCTION = 40
LONGER = {
    "mprnet_plugin/archs/mprnet_arch.py:MPRNet.__init__": "a line for each part of the network",
    "mprnet_plugin/archs/pretrained.py:Pretrained.from_pretrained": "two lines for each argument: name and docstring",
    "mprnet_plugin/archs/pretrained.py:Pretrained.push_to_hub": "two lines for each argument: name and docstring",
    "mprnet_plugin/hosts/basicsr/model.py:MPRNetModel.validation": "the host's one hook for all of validation",
    "mprnet_plugin/inference/predictor.py:MPRPredictor.__init__": "two lines for each argument: name and docstring",
    "mprnet_plugin/inference/restorer.py:Restorer.__call__": "mostly the docstring of the one public call",
    "mprnet_plugin/weights/download.py:download": "mostly the docstring of the one public call",
    "scripts/benchmarks/bench_packing.py:main": "the benchmark's steps, one after another",
}
"""Path, or path:function, that may be longer, with the reason."""


class Import(NamedTuple):
    path: str
    line: int
    module: str


def sources() -> list[Path]:
    return sorted(path for package in ("mprnet_plugin", "lmdb_tools") for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[Import]:
    """List what a module imports anywhere in it, functions and ``importlib.import_module("...")`` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        for name in names:
            yield Import(relative(path), getattr(node, "lineno", 0), name)


EVERY_IMPORT = [found for path in sources() for found in imports(path)]


def part(path: str) -> str:
    """Return the part of mprnet_plugin that a source file belongs to, ``__init__`` for the package's own file."""
    return path.split("/")[1].removesuffix(".py")


def level(name: str) -> int:
    (found,) = (number for number, layer in enumerate(LAYERS) if name in layer)
    return found


def test_every_part_has_its_place() -> None:
    parts = {part(relative(path)) for path in sources() if relative(path).startswith("mprnet_plugin/")}
    assert parts <= {name for layer in LAYERS for name in layer} | {"__init__"}


def test_arrows_point_down() -> None:
    wrong = []
    for path, line, module in EVERY_IMPORT:
        if path.startswith("mprnet_plugin/") and module.startswith("mprnet_plugin.") and part(path) not in UNBOUND:
            ours, theirs = part(path), module.split(".")[1]
            asked = module.startswith(f"{UPWARD.get(path, path)}.")
            lowest = level(ours) == level(theirs) == len(LAYERS) - 1
            if ours != theirs and level(theirs) <= level(ours) and not lowest and not asked:
                wrong.append(f"{path}:{line} imports {module}")
    assert wrong == []


def test_the_network_needs_nothing_from_above_until_it_is_asked() -> None:
    above = "any(name.startswith('mprnet_plugin.hub') for name in sys.modules)"
    code = f"import sys; from mprnet_plugin import MPRNet; MPRNet.from_pretrained; print({above})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(("host", "folder"), HOSTS.items())
def test_only_one_folder_imports_a_host(host: str, folder: str) -> None:
    users = {path for path, _, module in EVERY_IMPORT if module.split(".")[0] == host}
    assert [path for path in users if not path.startswith(folder)] == []
    package = folder.rstrip("/").replace("/", ".")
    others = tuple(other for other in HOSTS.values() if other != folder)
    assert [found for found in EVERY_IMPORT if found.path.startswith(others) and found.module.startswith(package)] == []


def test_lmdb_tools_stand_on_the_lower_layers_alone() -> None:
    """Packing needs the walk over folders, the decoders and the errors, nothing that trains or restores."""
    allowed = ("data", *LAYERS[-1])
    wrong = [
        found
        for found in EVERY_IMPORT
        if found.path.startswith("lmdb_tools/")
        and found.module.startswith("mprnet_plugin.")
        and found.module.split(".")[1] not in allowed
    ]
    assert wrong == []
    assert [found for found in EVERY_IMPORT if found.path.startswith("mprnet_") and "lmdb_tools" in found.module] == []


def test_lmdb_tools_import_no_torch() -> None:
    modules = [path.stem for path in (ROOT / "lmdb_tools").glob("*.py") if path.stem != "__main__"]
    names = ["lmdb_tools" if name == "__init__" else f"lmdb_tools.{name}" for name in sorted(modules)]
    assert "lmdb_tools.writer" in names
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("package", ["mprnet_plugin", "mprnet_plugin.tasks", "mprnet_plugin.errors"])
def test_what_shell_scripts_ask_needs_the_standard_library_alone(package: str) -> None:
    code = f"import {package}"
    command = [sys.executable, "-S", "-c", code]  # without site-packages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """List a module's functions, methods by ``Class.name``, with their lengths in lines."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            inside = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inside = f"{prefix}{child.name}."
                if not isinstance(child, ast.ClassDef):
                    yield f"{prefix}{child.name}", (child.end_lineno or 0) - child.lineno + 1
            yield from visit(child, inside)

    return visit(ast.parse(path.read_text(encoding="utf-8")), "")


def test_modules_and_functions_are_short_or_say_why() -> None:
    longer = set()
    for path in [*sources(), *(ROOT / "scripts").rglob("*.py")]:
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_MODULE:
            longer.add(relative(path))
        longer |= {f"{relative(path)}:{name}" for name, lines in functions(path) if lines > LONGEST_FUNCTION}
    assert longer - LONGER.keys() == set(), "shorten them, or list them above with the reason"
    assert LONGER.keys() - longer == set(), "these are short now: take them off the list above"


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_that_the_documents_name_are_there(document: str) -> None:
    folders = ("mprnet_plugin", "lmdb_tools", "tests", "scripts", "options", "docs", ".github")
    there = [f"/{relative(path)}" for name in folders for path in (ROOT / name).rglob("*.*")]
    there += [f"/{path.name}" for path in ROOT.iterdir()]
    named = re.findall(r"`([a-z_./]+\.(?:py|sh|yml|json|md|pth))`", (ROOT / document).read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []
