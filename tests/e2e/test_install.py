"""Installing in fresh environments: as a wheel, from source, editable; the start, the switch, and uninstalling."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import setuptools

ROOT = Path(__file__).parents[2]
AUTOLOAD = {"mprnet_plugin_autoload.pth", "mprnet_plugin_autoload.start"}
OPTIONS = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
OWN = ("mprnet", "lmdb_tools", "__editable__")
REGISTERED = """
import sys, types
name = "torchvision.transforms.functional_tensor"  # without the plugin the host needs it, and torchvision dropped it
if {bare}: sys.modules[name] = types.ModuleType(name); sys.modules[name].rgb_to_grayscale = None
from basicsr.utils.registry import ARCH_REGISTRY
import basicsr
print("MPRNet" in ARCH_REGISTRY, "mprnet_plugin.hosts.basicsr" in sys.modules)
"""


class Environment:
    """A fresh virtual environment that sees the test environment's packages, except for the plugin itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "venv"
        self.empty = folder / "empty"
        self.empty.mkdir()
        venv.create(self.folder, symlinks=True)
        self.python = self.folder / "bin" / "python"
        self.site = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
        links = folder / "links"
        links.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.startswith(OWN) and entry.suffix != ".pth":
                (links / entry.name).symlink_to(entry)
        (self.site / "links.pth").write_text(f"{links}\n")

    def run(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python in an empty folder."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MPRNET"))}
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.empty,
            env={**inherited, "MPRNET_PLUGIN_SKIP_HOST_CHECK": "1", **env},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def pip(self, *arguments: str | Path) -> None:
        """Run pip, which must succeed."""
        done = self.run("-m", "pip", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> set[Path]:
        """List the environment's files."""
        return {path.relative_to(self.folder) for path in self.folder.rglob("*")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Copy what a build needs, since building writes beside the sources."""
    target = tmp_path / "source"
    target.mkdir()
    for path in ROOT.iterdir():
        if path.name in ("mprnet_plugin", "lmdb_tools", "options", "scripts"):
            shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file() and not path.name.startswith("."):
            shutil.copy(path, target)
    return target


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def wheel(environment: Environment, source: Path) -> None:
    environment.pip("wheel", *OPTIONS, "--wheel-dir", source / "dist", source)
    environment.pip("install", *OPTIONS, *(source / "dist").glob("*.whl"))


def from_source(environment: Environment, source: Path) -> None:
    environment.pip("install", *OPTIONS, source)


def editable(environment: Environment, source: Path) -> None:
    environment.pip("install", *OPTIONS, "--editable", source)


@pytest.mark.slow
@pytest.mark.parametrize("install", [wheel, from_source, editable])
def test_install_activate_uninstall(
    environment: Environment, source: Path, install: Callable[[Environment, Path], None]
) -> None:
    before = environment.files()
    modules = environment.run("-c", "import sys; print(*sorted(sys.modules))").stdout.split()
    install(environment, source)
    assert {path.name for path in environment.site.iterdir()} >= AUTOLOAD

    bare_start = environment.run("-c", "import sys; print(*sorted(sys.modules))")
    assert bare_start.stderr == ""
    new = set(bare_start.stdout.split()) - set(modules)
    # The .start file of Python 3.15 names a function of ours, the .pth of older ones does without.
    ours = {"mprnet_plugin", "mprnet_plugin._lazy", "mprnet_plugin._startup"} if sys.version_info >= (3, 15) else set()
    if install is editable:  # whose links are setuptools' own code
        new = {name for name in new if name.startswith(("mprnet", "lmdb", "basicsr", "torch", "numpy"))}
    assert new == ours

    installed = environment.files()
    for switch, expected in (("0", "True True"), ("1", "False False")):
        done = environment.run("-c", REGISTERED.format(bare=switch), MPRNET_PLUGIN_DISABLE=switch)
        assert done.stdout.strip() == expected, done.stderr
    assert "-opt" in environment.run("-m", "basicsr.train", "--help").stdout
    listed = environment.run("-m", "mprnet_plugin.shipped_options").stdout
    assert "train_MPRNet_Deblur.yml" in listed
    assert "mprnet_deblur_gopro.py" in listed
    assert list(environment.empty.iterdir()) == []
    assert {path for path in environment.files() - installed if "__pycache__" not in path.parts} == set()

    environment.pip("uninstall", "--yes", "--quiet", "mprnet-plugin")
    assert environment.files() == before
    after = environment.run("-c", "import sys; print(*sorted(sys.modules))")
    assert (after.stdout.split(), after.stderr) == (modules, "")


@pytest.mark.slow
def test_source_archive_is_complete(environment: Environment, source: Path) -> None:
    code = "import os, sys; os.chdir(sys.argv[1]); from setuptools.build_meta import build_sdist; build_sdist('dist')"
    done = environment.run("-c", code, source)
    assert done.returncode == 0, done.stderr
    (archive,) = (source / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert names >= {*AUTOLOAD, "LICENSE", "setup.py", "mprnet_plugin/py.typed", "scripts/install_host.py"}
    assert names >= {f"options/{path.name}" for path in (ROOT / "options").iterdir()}

    environment.pip("wheel", *OPTIONS, "--wheel-dir", source / "dist", archive)
    (built,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as content:
        assert set(content.namelist()) >= {*AUTOLOAD, "mprnet_plugin/py.typed", "lmdb_tools/py.typed"}
        demo = {f"mprnet_plugin/weights/demo/{task}.safetensors" for task in ("Deblurring", "Denoising", "Deraining")}
        assert set(content.namelist()) >= demo
        assert "mprnet_plugin/web/favicon.png" in content.namelist()
        assert {name for name in content.namelist() if name.startswith("mprnet_plugin/web/examples/")} == {
            f"mprnet_plugin/web/examples/{name}" for name in ("blurred.jpg", "noisy.jpg", "rainy.jpg", "README.md")
        }
        options = ROOT / "options"
        files = (path for path in options.rglob("*.*") if path.suffix in (".yml", ".json", ".py"))
        recipes = {f"mprnet_plugin/recipes/{path.relative_to(options)}" for path in files}
        assert set(content.namelist()) >= recipes
        (record,) = (name for name in content.namelist() if name.endswith("RECORD"))
        listed = {line.split(",")[0] for line in content.read(record).decode().splitlines()}
        assert listed == set(content.namelist())


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install_host() -> ModuleType:
    return load(ROOT / "scripts" / "install_host.py")


@pytest.mark.parametrize("version", [(3, 12), (3, 13), (3, 15)])
@pytest.mark.parametrize(
    "found", ["basicsr-1.4.2.dist-info", "basicsr-1.4.2-py3.13.egg-info", "basicsr-1.3.0.dist-info", ""]
)
@pytest.mark.parametrize("skip", ["", "1"])
def test_newer_python_without_the_host_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], found: str, skip: str
) -> None:
    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    setup = load(ROOT / "setup.py")
    (tmp_path / found).mkdir(exist_ok=True)
    monkeypatch.setattr(setup.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(setup.site, "getusersitepackages", lambda: str(tmp_path / "none"))
    monkeypatch.setenv("MPRNET_PLUGIN_SKIP_HOST_CHECK", skip)
    built: list[object] = []
    monkeypatch.setattr(setup.dist_info, "run", lambda self: built.append(self))
    command = setup.DistInfo(setuptools.Distribution())
    monkeypatch.setattr(sys, "version_info", version)
    (tmp_path / "pip-25.0.dist-info").mkdir()
    if version < (3, 13) or skip or "1.4.2" in found:
        command.run()
        assert built == [command]
        return
    with pytest.raises(SystemExit, match=r"^error: basicsr 1\.4\.2, .* does not build with pip alone") as refused:
        command.run()
    assert f"`{sys.executable} scripts/install_host.py`" in str(refused.value)
    assert built == []


@pytest.mark.parametrize("pips", [["23.0.1"], ["22.3", "9.0.3"], ["23.1"], ["9.0", "26.0"], []])
@pytest.mark.parametrize("host", [True, False])
def test_an_old_pip_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pips: list[str], host: bool
) -> None:
    """Python 3.10's 23.0.1 would go on to make eggs of torch's CUDA packages, whose versions then conflict."""
    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    setup = load(ROOT / "setup.py")
    for name in [*(f"pip-{version}.dist-info" for version in pips), *(["basicsr-1.4.2.dist-info"] if host else [])]:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(setup.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(setup.site, "getusersitepackages", lambda: str(tmp_path / "none"))
    monkeypatch.setattr(sys, "version_info", (3, 10))
    if host or not pips or pips[-1] not in ("23.0.1", "9.0.3"):
        setup.require_host()
        return
    version = {"23.0.1": "23.0", "9.0.3": "22.3"}[pips[-1]]
    with pytest.raises(SystemExit, match=rf"^error: basicsr 1\.4\.2, .* does not build with pip {version}: run `.*`"):
        setup.require_host()


def test_build_of_the_host_has_the_old_exec(install_host: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(install_host.SITECUSTOMIZE)
    code = """
def version():
    base = 4
    exec(compile("found = base + 1", "version.py", "exec"))
    return locals()["found"]
def apart():
    spaces = {"base": 1}, {}
    exec("found = base", *spaces)
    exec("more = base", spaces[0])
    return spaces[1], spaces[0]["more"]
exec("top = 7")
print(version(), apart(), top)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("5 ({'found': 1}, 1) 7\n", "")


@pytest.mark.parametrize(("statuses", "expected"), [([0, 0], 0), ([0, 3], 3), ([4], 4)])
def test_host_is_built_after_what_it_needs(
    install_host: ModuleType, monkeypatch: pytest.MonkeyPatch, statuses: list[int], expected: int
) -> None:
    calls: list[list[str]] = []

    def pip_install(arguments: list[str], env: dict[str, str] | None = None) -> int:
        calls.append(arguments)
        return statuses[len(calls) - 1]

    monkeypatch.setattr(install_host, "installed_version", lambda: None)
    monkeypatch.setattr(install_host, "pip_install", pip_install)
    assert install_host.main(["--quiet"]) == expected
    assert len(calls) == len(statuses)
    assert all(call[-1] == "--quiet" for call in calls)
    assert any(argument.startswith("torch>=") for argument in calls[0])
    assert ["basicsr==1.4.2" in call for call in calls] == [False, True][: len(calls)]


def test_host_that_is_there_stays(install_host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_host, "pip_install", lambda *_: pytest.fail("called pip"))
    assert install_host.main([]) == 0
