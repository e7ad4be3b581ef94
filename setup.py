"""Build and metadata of mprnet-plugin.

Two things here are out of the ordinary: the autoload file has to lie in site-packages itself, and the host's own
source package builds neither on Python 3.13 and later nor with the pip that Python 3.10 brings.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import site
import sys
import sysconfig
import zipfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.dist_info import dist_info
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).resolve().parent
HOST_VERSION = "1.4.2"
OLDEST_PIP = (23, 1)
"""Earlier ones run the host's old set-up script in place, which tries to make eggs of torch and its CUDA packages."""
SKIP_HOST_CHECK = "MPRNET_PLUGIN_SKIP_HOST_CHECK"
# Python up to 3.14 reads the .pth, later ones prefer the .start (PEP 829).
AUTOLOAD = ("mprnet_plugin_autoload.pth", "mprnet_plugin_autoload.start")


class DistInfo(dist_info):
    """Metadata is what pip asks for first when it installs: the place to say that the host has to come before us."""

    def run(self) -> None:
        """Look for the host where pip would go on to fail at the host's own build."""
        if not os.environ.get(SKIP_HOST_CHECK):
            require_host()
        super().run()


def require_host() -> None:
    """Stop with one clear message if the environment lacks the host and pip could not build it."""
    if installed(f"basicsr-{HOST_VERSION}*-info"):
        return
    host = f"error: basicsr {HOST_VERSION}, which mprnet-plugin extends, does not build with"
    skip = f"then this command again ({SKIP_HOST_CHECK}=1 skips this check)"
    if sys.version_info >= (3, 13):
        raise SystemExit(
            f"{host} pip alone on Python 3.13 and later: run `{sys.executable} scripts/install_host.py` in the "
            f"plugin's source folder first, {skip}"
        )
    found = (re.match(r"pip-(\d+)\.(\d+)", name) for name in installed("pip-*.dist-info"))
    versions = [(int(one[1]), int(one[2])) for one in found if one]
    if versions and max(versions) < OLDEST_PIP:
        version = ".".join(map(str, max(versions)))
        raise SystemExit(f"{host} pip {version}: run `{sys.executable} -m pip install --upgrade pip` first, {skip}")


def installed(pattern: str) -> list[str]:
    """List entries of the environment; looks at folders, since pip hides what is installed while it builds."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
    return [path.name for folder in folders for path in Path(folder).glob(pattern)]


class EditableWheel(editable_wheel):
    """An editable wheel holds links to the packages only; this one carries the autoload files too."""

    def run(self) -> None:
        """Build the wheel, then write it anew with the autoload files in it and in its RECORD."""
        super().run()
        (wheel,) = Path(self.dist_dir).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        (record,) = (name for name in members if name.endswith(".dist-info/RECORD"))
        for name in AUTOLOAD:
            members[name] = content = (HERE / name).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            members[record] += f"{name},sha256={digest},{len(content)}\n".encode()
        members[record] = members.pop(record)  # stays the last, as the wheel format recommends
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)


def version() -> str:
    """Read the version from the package without importing it."""
    lines = (HERE / "mprnet_plugin" / "__init__.py").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("__version__ = "))
    return line.split('"')[1]


def lmdb_commands() -> list[str]:
    """Return the modules of lmdb_tools that are commands, so that a new one needs no mention here."""
    modules = sorted((HERE / "lmdb_tools").glob("*.py"))
    return [path.stem for path in modules if "\ndef cli()" in path.read_text(encoding="utf-8")]


WEB = ["gradio>=6.31"]
DOCS = ["sphinx>=8.1", "myst-parser>=4", "furo>=2025.7.19"]
EXPORT = ["onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20", "openvino>=2024.6", "ncnn>=1.0.20240410"]
HUB = ["huggingface_hub>=1.0"]

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""Those that .github/workflows/ci.yml tests."""

setup(
    name="mprnet-plugin",
    version=version(),
    description="Train, test and run MPRNet (deblurring, denoising, deraining) with the stock BasicSR",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: End Users/Desktop",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: {version}" for version in PYTHONS),
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=f">={PYTHONS[0]}",
    packages=[*find_packages(include=["mprnet_plugin*", "lmdb_tools*"]), "mprnet_plugin.recipes"],
    package_dir={"mprnet_plugin.recipes": "options"},
    package_data={
        # "..": beside the package, thus straight in site-packages.
        "mprnet_plugin": [
            "py.typed",
            "weights/demo/*.safetensors",
            "web/favicon.png",
            "web/examples/*",
            *(f"../{name}" for name in AUTOLOAD),
        ],
        "mprnet_plugin.recipes": ["*.yml", "*.json", "mmengine/*.py", "mmengine/_base_/*.py"],
        "lmdb_tools": ["py.typed"],
    },
    include_package_data=False,
    zip_safe=False,
    install_requires=[
        f"basicsr=={HOST_VERSION}",
        "torch>=2.6",
        "torchvision>=0.21",
        "mmengine>=0.10",
        "lmdb>=1.4",
        "opencv-python>=4.8",
        "tensorboard>=2.15",
        "numpy>=1.26",
        "scipy>=1.11",
        "PyYAML>=6.0",
        "tqdm>=4.65",
        "Pillow>=10.1",
        "safetensors>=0.4.3",
        "pydantic>=2.9",
        "typing_extensions>=4.10",
        "tifffile>=2023.2",
        "ncnn>=1.0.20240410",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff>=0.8",
            "mypy>=1.13",
            "types-PyYAML",
            "types-tqdm",
            "setuptools>=77",
            "spandrel-extra-arches>=0.2",
            "scikit-image>=0.22",
            "h5py>=3.10",
            "jsonschema>=4.20",
            "pillow-heif>=0.16",
            "build>=1.2",
            "twine>=6.1",
            "readme_renderer[md]>=44",
            "playwright>=1.48",
            "markdown-it-py>=3",
            *HUB,
            *EXPORT,
            *WEB,
            *DOCS,
        ],
        "hub": HUB,
        "web": WEB,
        "export": EXPORT,
        "mat73": ["h5py>=3.10"],
        "heic": ["pillow-heif>=0.16"],
        "demo": ["scikit-image>=0.22", "matplotlib>=3.7"],
        "docs": DOCS,
    },
    entry_points={
        "console_scripts": [
            "mprnet-restore = mprnet_plugin.inference.cli:cli",
            "mprnet-convert = mprnet_plugin.weights.command:cli",
            "mprnet-export = mprnet_plugin.export.cli:cli",
            "mprnet-web = mprnet_plugin.web.cli:cli",
            "mprnet-options = mprnet_plugin.shipped_options:cli",
            *(f"mprnet-lmdb-{name} = lmdb_tools.{name}:cli" for name in lmdb_commands()),
        ]
    },
    cmdclass={"dist_info": DistInfo, "editable_wheel": EditableWheel},
)
