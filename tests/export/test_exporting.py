from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mprnet_plugin.archs.local_pooling import use_local_pooling
from mprnet_plugin.archs.mprnet_arch import MPRNet
from mprnet_plugin.errors import InputError
from mprnet_plugin.export import cli, forms
from mprnet_plugin.export.exporting import TOLERANCE, export
from mprnet_plugin.export.forms import FORMS, PictureNet
from mprnet_plugin.weights.convert import save_weights
from tests.helpers import ROOT, TINY, fill, run


def tiny() -> MPRNet:
    return fill(MPRNet(**TINY)).eval()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_nothing_of_the_network_changes(tmp_path: Path) -> None:
    net = tiny().double().train()
    assert export(net, tmp_path / "net.param") < TOLERANCE
    assert net.training
    assert net.tail.weight.dtype == torch.float64
    assert names(tmp_path) == {"net.param", "net.bin"}


def test_the_suffix_chooses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"net.onx: suffix '.onx' is no kind of export; did you mean '.onnx'"):
        export(tiny(), tmp_path / "net.onx")
    export(tiny(), tmp_path / "net.ncnn.PARAM")
    assert names(tmp_path) == {"net.ncnn.PARAM", "net.ncnn.bin"}


@pytest.mark.parametrize("name", ["net.param", "net.bin"])
def test_files_that_are_there_stay(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: is there already; .*--overwrite"):
        export(tiny(), tmp_path / "net.param")
    assert (tmp_path / name).read_text() == "mine"
    export(tiny(), tmp_path / "net.param", overwrite=True)
    assert "mine" not in (tmp_path / name).read_text(errors="replace")


def test_weights_of_another_form_are_not_replaced(tmp_path: Path) -> None:
    """ncnn's and OpenVINO's second files have the same suffix."""
    (tmp_path / "net.xml").write_text("mine")
    with pytest.raises(InputError, match=r"net.bin: belongs to .*net.xml; choose another name"):
        export(tiny(), tmp_path / "net.param", overwrite=True)


def test_local_pooling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="local pooling cannot be exported"):
        export(use_local_pooling(tiny()), tmp_path / "net.param")


@pytest.mark.parametrize("suffix", [suffix for suffix, form in FORMS.items() if form.packages])
def test_missing_packages_are_one_line(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = FORMS[suffix].packages[-1]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs the package {package}.*pip install 'mprnet-plugin\[export\]'"):
        export(tiny(), tmp_path / f"net{suffix}")
    assert names(tmp_path) == set()


def broken(wrong: Any) -> forms.Form:
    """Return ncnn's form with a runtime that does something else."""
    form = FORMS[".param"]
    return form._replace(load=lambda files: functools.partial(wrong, form.load(files)))


def raising(_: forms.Run, x: torch.Tensor) -> torch.Tensor:
    raise LookupError("no kernel\nsecond line")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda right, x: right(x) * (1 + 1e-3), r"differs from torch by \d\.\de-0\d of the range, .* at most 5e-05"),
        (lambda right, x: right(x) * torch.nan, "differs from torch by nan"),
        (lambda right, x: right(x)[..., 1:], r"could not be made \(it makes \(1, 3, 64, 47\) of \(1, 3, 64, 48\)\)"),
        (raising, r"could not be made \(no kernel\); try"),
    ],
)
def test_what_a_runtime_gets_wrong_gets_no_name(
    wrong: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMS, ".param", broken(wrong))
    (tmp_path / "net.param").write_text("older")
    with pytest.raises(InputError, match=message):
        export(tiny(), tmp_path / "net.param", overwrite=True)
    assert names(tmp_path) == {"net.param"}
    assert (tmp_path / "net.param").read_text() == "older"


def test_a_run_that_ends_between_two_names_leaves_no_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tiny(), tmp_path / "net.param")
    replace = Path.replace

    def stopped(self: Path, target: Path) -> Path:
        if target.suffix == ".param":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        export(MPRNet(**TINY), tmp_path / "net.param", overwrite=True)
    assert names(tmp_path) == {"net.bin"}  # which alone is nothing that could be loaded


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(tiny().state_dict(), tmp_path / "net.pth")
    assert cli.main([str(tmp_path / "net.pth"), str(tmp_path / "net.param")]) == 0
    line = r".*net\.param: custom \(n_feat=8, .*\), reloaded; differs from torch by \d\.\de-\d\d of the range\n"
    assert re.fullmatch(line, capsys.readouterr().out)


@pytest.mark.slow
def test_the_script_ends_in_one_line(tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / "export.py")
    done = run(tmp_path, script, "mprnet://demo/derain", "net.tflite", launcher=())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: net\.tflite: suffix '\.tflite' is no kind of export; .*\n", done.stderr)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every form, called as in docs/export.md; torch's exporter, half a minute, runs once."""
    folder = tmp_path_factory.mktemp("exports")
    write, trace = forms._write_onnx, forms._exported
    programs: list[torch.export.ExportedProgram] = []

    def traced(net: MPRNet) -> torch.export.ExportedProgram:
        programs[:] = programs or [trace(net)]
        return programs[0]

    def copied(net: MPRNet, files: list[Path]) -> None:
        if (folder / "deblur.onnx").exists():
            files[0].write_bytes((folder / "deblur.onnx").read_bytes())
        else:
            write(net, files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "_exported", traced)
        patch.setattr(forms, "_write_onnx", copied)
        net = tiny()
        for name in ("deblur.pt2", "deblur.onnx", "deblur.xml", "deblur.ncnn.param"):
            assert export(net, folder / name) < TOLERANCE
    cv2.imwrite(str(folder / "photo.png"), np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "smallest"), [(".onnx", 1), (".xml", 1), (".pt2", 9)])
def test_other_runtimes_take_any_size_and_batch(suffix: str, smallest: int, exports: Path) -> None:
    form, net = FORMS[suffix], PictureNet(tiny())
    loaded = form.load([exports / f"deblur{each}" for each in form.suffixes])
    for shape in [(1, 3, smallest, smallest), (3, 3, 64, 40), (1, 3, 17, 72)]:
        x = torch.rand(shape)
        with torch.inference_mode():
            expected, result = net(x), loaded(x)
        assert (result - expected).abs().max() < 2e-5 * (expected.max() - expected.min())


@pytest.mark.slow
def test_the_documents_examples_run(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exports)
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    first, *blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    space: dict[str, Any] = {}
    exec(first, space)  # noqa: S102 - our own document
    with torch.inference_mode():
        expected = PictureNet(tiny())(torch.from_numpy(space["pictures"])).numpy()
    assert len(blocks) == len(FORMS)
    for block in blocks:
        space["restored"] = None
        exec(block, space)  # noqa: S102
        result = np.asarray(space["restored"])
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=1e-4 * float(np.ptp(expected)))


@pytest.mark.slow
def test_files_say_nothing_about_who_exported_them(exports: Path) -> None:
    for path in exports.glob("deblur*"):
        assert str(ROOT).encode() not in path.read_bytes(), path
        assert b"mprnet_arch.py" not in path.read_bytes(), path
