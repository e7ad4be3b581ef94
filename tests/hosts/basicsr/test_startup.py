"""The import hook, tried on hosts made up for each test in interpreters of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mprnet_plugin._startup import SWITCH, activate, find_spec

ROOT = Path(__file__).parents[3]
HOST = "import sys\nsys.log = [*getattr(sys, 'log', []), 'host']\n"
AUTOLOAD = f"exec(open({str(ROOT / 'mprnet_plugin_autoload.pth')!r}).read())\n"
ACTIVATE = "import mprnet_plugin._startup; mprnet_plugin._startup.activate()\n"
# Starts as site.py does, and puts a recorder in the place of our real part, which would need torch.
RECORDER = """
import sys, types
steps = types.ModuleType("mprnet_plugin.hosts.basicsr.import_steps")
sys.log = []
steps.before_import = lambda: sys.log.append("before")
steps.after_import = lambda: sys.log.append("after")
package = types.ModuleType("mprnet_plugin.hosts.basicsr")
package.import_steps = steps
sys.modules.update({package.__name__: package, steps.__name__: steps})
"""
START = AUTOLOAD + RECORDER
FAIL = """
def fail(): raise OSError("first line" + chr(10) + "second line")
"""


def python(code: str, *paths: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` without site-packages, so that no installed plugin or host takes part."""
    search = os.pathsep.join(str(p) for p in (*paths, ROOT))
    clean = {k: v for k, v in os.environ.items() if k != SWITCH}
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**clean, "PYTHONPATH": search, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def printed(code: str, *paths: Path, **env: str) -> str:
    """Return what a run prints, which must not fail or warn."""
    done = python(code, *paths, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Make a folder that holds a sound host."""
    package = tmp_path / "hosts" / "basicsr"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(HOST)
    (package / "train.py").write_text("import sys\nprint(__name__, sys.log)\n")
    (package / "VERSION").write_text("1.4.2")
    return package.parent


@pytest.mark.parametrize(
    ("start", "modules"),
    [(AUTOLOAD, "[]"), (ACTIVATE, "['mprnet_plugin', 'mprnet_plugin._lazy', 'mprnet_plugin._startup']")],
)
def test_start_imports_nothing_that_was_not_there(start: str, modules: str) -> None:
    code = f"import os, sys; had = set(sys.modules)\n{start}print(sorted(set(sys.modules) - had))"
    assert printed(code) == modules


@pytest.mark.parametrize("start", [AUTOLOAD, ACTIVATE, AUTOLOAD * 2, ACTIVATE + AUTOLOAD, AUTOLOAD + ACTIVATE])
def test_host_loads_between_our_two_parts(host: Path, start: str) -> None:
    code = "print(len([f for f in sys.meta_path if hasattr(f, 'mprnet_plugin')]))\nimport basicsr; print(sys.log)"
    assert printed(start + RECORDER + code, host) == "1\n['before', 'host', 'after']"


def test_submodule_first_and_runpy(host: Path) -> None:
    code = "import runpy; runpy.run_module('basicsr.train', run_name='__main__')"
    assert printed(START + code, host) == "__main__ ['before', 'host', 'after']"


def test_loaded_host_shows_no_trace_of_us(host: Path) -> None:
    code = """
import basicsr, importlib, importlib.machinery, importlib.resources, importlib.util, inspect, pkgutil
for loader in basicsr.__loader__, basicsr.__spec__.loader, importlib.util.find_spec("basicsr").loader:
    assert type(loader) is importlib.machinery.SourceFileLoader
assert inspect.getsource(basicsr).startswith("import sys")
assert pkgutil.get_data("basicsr", "VERSION") == b"1.4.2"
assert importlib.resources.files("basicsr").joinpath("VERSION").read_text() == "1.4.2"
assert [m.name for m in pkgutil.walk_packages(basicsr.__path__, "basicsr.")] == ["basicsr.train"]
importlib.reload(basicsr)
assert type(basicsr.__loader__) is importlib.machinery.SourceFileLoader
print(sys.log)
"""
    assert printed(START + code, host) == str(["before", "host", "after"] * 2)


def test_search_without_import_is_harmless(host: Path) -> None:
    code = """
import copy, importlib.util
spec = importlib.util.find_spec("basicsr")
assert "basicsr" not in sys.modules and spec.origin.endswith("__init__.py")
assert spec.submodule_search_locations and spec.has_location
loader = copy.deepcopy(spec.loader)
assert loader.is_package("basicsr") and loader.get_filename("basicsr") == spec.origin
assert loader.get_source("basicsr").startswith("import sys") and loader.get_code("basicsr").co_filename == spec.origin
assert loader.get_resource_reader("basicsr").files().joinpath("VERSION").is_file()
assert not hasattr(loader, "no_such_thing")
module = importlib.util.module_from_spec(spec)
assert sys.log == []
spec.loader.exec_module(module)
print(sys.log)
"""
    assert printed(START + code, host) == "['before', 'host', 'after']"


def test_lazily_loaded_host(host: Path) -> None:
    code = """
import importlib.util
spec = importlib.util.find_spec("basicsr")
spec.loader = importlib.util.LazyLoader(spec.loader)
module = sys.modules["basicsr"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert sys.log == []
module.__doc__
print(sys.log)
"""
    assert printed(START + code, host) == "['before', 'host', 'after']"


def test_zipped_host(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "host.zip", "w") as archive:
        archive.writestr("basicsr/__init__.py", HOST)
    code = "import basicsr; print(type(basicsr.__loader__).__name__, *sys.log)"
    assert printed(START + code, tmp_path / "host.zip") == "zipimporter before host after"


def test_plain_folder_of_the_hosts_name(tmp_path: Path) -> None:
    (tmp_path / "basicsr").mkdir()
    assert printed(START + "import basicsr; print(basicsr.__file__, sys.log)", tmp_path) == "None []"


def test_absent_host_gives_the_plain_error(tmp_path: Path) -> None:
    bare, hooked = (python(START + "import basicsr", tmp_path, **{SWITCH: switch}) for switch in "10")
    assert hooked.returncode == 1
    assert hooked.stderr.endswith("ModuleNotFoundError: No module named 'basicsr'\n")
    assert hooked.stderr == bare.stderr


def test_host_that_raises_keeps_its_error_and_may_be_tried_again(host: Path) -> None:
    (host / "basicsr" / "__init__.py").write_text(
        HOST + "if not hasattr(sys, 'sound'): raise KeyError('of the host')\n"
    )
    code = """
for _ in range(2):
    try:
        import basicsr
    except KeyError as error:
        assert error.args == ("of the host",) and error.__cause__ is None and error.__context__ is None
    assert "basicsr" not in sys.modules
sys.sound = True
import basicsr
print(sys.log)
"""
    assert printed(START + code, host) == str(["before", "host"] * 3 + ["after"])


@pytest.mark.parametrize(("step", "log"), [("before", "['host']"), ("after", "['before', 'host']")])
def test_our_failure_is_one_line_and_the_host_goes_on(host: Path, step: str, log: str) -> None:
    done = python(START + FAIL + f"steps.{step}_import = fail\nimport basicsr; print(sys.log)", host)
    assert done.returncode == 0
    assert done.stdout.strip() == log
    assert done.stderr == (
        f"mprnet-plugin: basicsr goes on without the plugin, since {step}_import failed "
        "(OSError: first line second line); MPRNET_PLUGIN_DISABLE=1 switches the plugin off\n"
    )


def test_our_failure_without_stderr(host: Path) -> None:
    code = "steps.before_import = fail\nsys.stderr = None\nimport basicsr; print(sys.log)"
    assert printed(START + FAIL + code, host) == "['host']"


def test_old_host_goes_on_without_us(host: Path) -> None:
    done = python(
        AUTOLOAD + "import basicsr; print(sys.log)", host
    )  # with our real part, which finds neither torch nor the host's registries
    assert (done.returncode, done.stdout.strip()) == (0, "['host']")
    assert done.stderr.startswith("mprnet-plugin: basicsr goes on without the plugin")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("switch", "log"), [("1", "['host']"), ("0", "['before', 'host', 'after']"), ("", None)])
def test_switch(host: Path, switch: str, log: str | None) -> None:
    expected = log or "['before', 'host', 'after']"
    assert printed(START + "import basicsr; print(sys.log)", host, **{SWITCH: switch}) == expected


def test_switch_within_the_program(host: Path) -> None:
    code = "import os; os.environ['MPRNET_PLUGIN_DISABLE'] = '1'; import basicsr; print(sys.log)"
    assert printed(START + code, host) == "['host']"


def test_second_hook_that_asks_everyone(host: Path) -> None:
    code = """
import importlib.machinery
class Asking:
    busy = False
    def find_spec(self, name, path=None, target=None):
        if self.busy: return None
        self.busy = True
        try: return next(filter(None, (f.find_spec(name, path, target) for f in sys.meta_path)), None)
        finally: self.busy = False
sys.meta_path.insert(0, Asking())
sys.meta_path.append(Asking())
import basicsr
print(sys.log)
"""
    assert printed(START + code, host) == "['before', 'host', 'after']"


@pytest.mark.parametrize("name", ["basicsr.train", "basicsr_extra", "torch", ""])
def test_every_other_name_is_left_alone(name: str) -> None:
    assert find_spec(name) is None


def test_spec_that_comes_back_is_wrapped_once(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("basicsr", [str(host)])

    class Cached:
        def find_spec(self, *_: object) -> object:
            return spec

    monkeypatch.setattr(sys, "meta_path", [object(), Cached()])  # object(): a finder of the old protocol
    activate()
    first = find_spec("basicsr")
    assert first is not None
    loader = first.loader
    assert find_spec("basicsr") is spec
    assert first.loader is loader


def test_twice_with_another_in_between(host: Path) -> None:
    between = "sys.meta_path.insert(0, type('Other', (), {'find_spec': lambda *_: None})())\n"
    code = START + between + AUTOLOAD + "import basicsr; print(sys.log)"
    assert printed(code, host) == "['before', 'host', 'after']"


@pytest.mark.parametrize("before", ["", "import gc; gc.disable()\n"])
def test_the_collector_rests_while_the_host_loads_and_is_as_before_afterwards(before: str, host: Path) -> None:
    kept = "kept = [[] for _ in range(100_000)]\n"  # stands for the modules that come to stay
    (host / "basicsr" / "__init__.py").write_text(f"import gc, sys\nsys.log = [gc.isenabled()]\n{kept}")
    code = START + before + "import gc, basicsr\nold = len(gc.get_objects(generation=2)) >= 100_000\n"
    code += "print(sys.log, gc.isenabled(), gc.get_freeze_count(), old or not gc.isenabled())"
    assert printed(code, host) == f"[False, 'after'] {not before} 0 True"
