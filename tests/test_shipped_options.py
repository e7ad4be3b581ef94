"""The options files that come with the package, and the command that lists and copies them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mprnet_plugin.errors import InputError
from mprnet_plugin.shipped_options import SCHEMA, find_options, main, shipped


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_bare_names_are_found_from_any_folder_and_a_file_that_exists_wins() -> None:
    assert find_options("train_MPRNet_Deblur.yml") == shipped()["train_MPRNet_Deblur.yml"]
    assert find_options("train_MPRNet_Deblur") == shipped()["train_MPRNet_Deblur.yml"]
    mine = Path("train_MPRNet_Deblur.yml")
    mine.write_text("name: mine\n")
    assert find_options("train_MPRNet_Deblur.yml") == mine
    assert find_options("options/train_MPRNet_Deblur.yml") == Path(
        "options/train_MPRNet_Deblur.yml"
    )  # a path, not ours
    assert not find_options("~nosuchuser/run.yml").exists()
    with pytest.raises(InputError, match=r"No such file .* did you mean 'train_MPRNet_Denoise\.yml'"):
        find_options("train_MPRNet_Denois.yml")


def test_the_list_says_what_each_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


def test_a_copy_is_the_file_with_its_schema_and_replaces_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test_MPRNet_Derain"]) == 0
    assert "python -m basicsr.test -opt test_MPRNet_Derain.yml" in capsys.readouterr().out
    source = shipped()["test_MPRNet_Derain.yml"]
    copy = Path("test_MPRNet_Derain.yml").read_text(encoding="utf-8")
    assert copy.splitlines()[1:] == source.read_text(encoding="utf-8").splitlines()[1:]
    schema = Path(copy.splitlines()[0].partition("$schema=")[2])
    assert schema == source.parent / SCHEMA
    assert schema.is_file()
    with pytest.raises(InputError, match="exists and is left alone"):
        main(["test_MPRNet_Derain"])
    assert main(["test_MPRNet_Derain", "--output", "mine/other.yml"]) == 0
    assert Path("mine/other.yml").is_file()
