"""What pages ask for, one after another, by the predictor and nothing else."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mprnet_plugin.archs import PRESETS, MPRNet
from mprnet_plugin.inference.predictor import MPRPredictor
from mprnet_plugin.inference.progress import Cancelled
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.web.limits import limits_of
from mprnet_plugin.web.looks import outcome, progress
from mprnet_plugin.web.sessions import Session
from mprnet_plugin.web.work import DEMO, OWN, PUBLISHED, Asked, Work, Workshop, restore_all, show_all
from mprnet_plugin.weights.download import demo_weights
from tests.helpers import picture, write_picture
from tests.web.served import wait_until


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / "page", limits_of(1 << 34, 1 << 36))


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    workshop = Workshop()
    yield workshop
    workshop.close()


def adopted(session: Session, *files: Path) -> list[Path]:
    found = session.adopt(files, 1 << 30)
    assert found.refused == []
    return found.pictures


def done(workshop: Workshop, session: Session, pictures: list[Path], asked: Asked) -> Work:
    work = workshop.submit(session, partial(restore_all, session, pictures, asked))
    assert work.future is not None
    work.future.result()
    return work


def test_every_option_reaches_the_predictor(
    session: Session, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPRNET_PLUGIN_CACHE", str(tmp_path / "none"))
    write_picture(tmp_path / "a.png", picture(1, 72, 80, np.uint16))
    write_picture(tmp_path / "b.bmp", picture(2, 72, 80))
    pictures = adopted(session, tmp_path / "a.png", tmp_path / "b.bmp")
    asked = Asked("Deraining", 0.35, DEMO, None, "fp32", "torch", 64, True)
    work = done(workshop, session, pictures, asked)
    assert (work.problem, work.share) == ("", 1.0)
    predictor = MPRPredictor(
        "derain",
        output_path=tmp_path / "expected",
        strength=0.35,
        precision="fp32",
        engine="torch",
        tile=64,
        local_pooling=True,
    )
    expected = [one.output for one in predictor.run(tmp_path / "a.png", tmp_path / "b.bmp")]
    assert [result.output.read_bytes() for result in work.results if result.output] == [
        path.read_bytes() for path in expected
    ]
    assert work.archive is not None
    with zipfile.ZipFile(work.archive) as archive:
        assert archive.namelist() == ["a_restoration.png", "b_restoration.bmp"]
    plain = done(workshop, session, pictures[:1], Asked("Deraining"))
    assert plain.archive is None
    assert expected[0].read_bytes() != plain.results[0].output.read_bytes()  # type: ignore[union-attr]


def test_large_pictures_are_shown_reduced_and_in_part(session: Session, workshop: Workshop, tmp_path: Path) -> None:
    write_picture(tmp_path / "long.png", picture(0, 16, 1300))
    (result,) = done(workshop, session, adopted(session, tmp_path / "long.png"), Asked("Denoising")).results
    assert result.whole is not None
    assert result.part is not None
    assert result.output is not None
    assert [Image.open(path).size for path in result.whole] == [(1200, 15)] * 2
    before, after = (np.asarray(Image.open(path)) for path in result.part)
    assert before.shape == after.shape == (15, 1200, 3)
    whole = np.asarray(Image.open(result.output))
    assert any(
        np.array_equal(after, whole[top : top + 15, left : left + 1200]) for top in (0, 1) for left in range(101)
    )


def test_weights_that_do_not_go_are_one_line(
    session: Session, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPRNET_PLUGIN_CACHE", str(tmp_path / "none"))
    write_picture(tmp_path / "a.png", picture(1))
    pictures = adopted(session, tmp_path / "a.png")
    (tmp_path / "mine.pth").write_bytes(b"no weights")
    upload = session.folder.parent / "upload" / "rain.pth"
    upload.parent.mkdir()
    torch.save(MPRNet(**PRESETS["Deraining"]).state_dict(), upload)
    other = session.keep_weights(upload)
    for asked, line in (
        (Asked("Denoising", weights=OWN), "there are no own weights for Denoising: drop a file under Advanced"),
        (Asked("Denoising", weights=OWN, weight_path=tmp_path / "mine.pth"), "mine.pth: "),
        (Asked("Denoising", weights=OWN, weight_path=other), "rain.pth: is for Deraining"),
        (Asked("Denoising", engine="ncnn", precision="bf16"), "engine ncnn computes in fp32, not in bf16"),
        (Asked("Denoising", strength=0), "strength 0 must be above 0"),
    ):
        work = done(workshop, session, pictures, asked)
        assert work.problem.startswith(line), work.problem
        assert (work.results, str(tmp_path) in work.problem) == ([], False)
        assert "0 of 1 restored" in outcome(work, 1)


def test_published_weights_are_taken_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPRNET_PLUGIN_CACHE", str(tmp_path))
    published = tmp_path / TASKS["Deraining"].weights[1].name
    torch.save(MPRNet(**PRESETS["Deraining"]).state_dict(), published)
    found = {
        (task, source): Asked(task, weights=source).weights_file() for task in TASKS for source in (PUBLISHED, DEMO)
    }
    assert found.pop(("Deraining", PUBLISHED)) == published
    assert found == {(task, source): demo_weights(task) for task, source in found}
    pytest.importorskip("gradio")
    import gradio

    from mprnet_plugin.web.parts import Parts

    with gradio.Blocks(analytics_enabled=False):
        parts = Parts(limits_of(1 << 34, 1 << 36))
    label, source = parts.weights.choices[0]
    assert (label, source, parts.weights.value) == (
        "The published ones, which you have downloaded (derain; small ones for the rest)",
        PUBLISHED,
        PUBLISHED,
    )
    assert "non-commercial" in str(parts.weights.info)


def test_one_picture_that_fails_is_named_and_the_rest_is_done(
    session: Session, workshop: Workshop, tmp_path: Path
) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", picture(number))
    pictures = adopted(session, *(tmp_path / f"{number}.png" for number in range(3)))
    pictures[1].write_bytes(pictures[1].read_bytes()[:200])
    work = done(workshop, session, pictures, Asked("Denoising"))
    assert [result.output is not None for result in work.results] == [True, False, True]
    assert work.results[1].message.startswith("1.png: cannot be decoded (damaged")
    text = outcome(work, 3)
    assert "2 of 3 restored" in text
    assert str(session.folder) not in text


def test_what_waits_can_be_cancelled_and_what_breaks_is_no_secret(
    session: Session, workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    go, began = threading.Event(), threading.Event()

    def slow(work: Work) -> None:
        work.begin("slow")
        began.set()
        go.wait(30)

    def broken(work: Work) -> None:
        raise RuntimeError("<unforeseen>")

    first = workshop.submit(session, slow)
    waiting, last = workshop.submit(session, slow), workshop.submit(session, broken)
    assert began.wait(30)
    assert "waiting for the pictures of another page" in progress(waiting)
    assert "slow" in progress(first)
    waiting.cancel()
    assert "stopping" in progress(waiting)
    session.close()
    assert session.folder.exists()
    go.set()
    assert wait_until(lambda: last.done)
    assert waiting.waits
    assert not session.folder.exists()
    assert "lost its connection" in last.problem
    other = Session(session.folder.parent / "other", session.limits)
    failed = workshop.submit(other, broken)
    assert wait_until(lambda: failed.done)
    assert "the terminal of mprnet-web shows what" in failed.problem
    assert "<unforeseen>" in caplog.text


def test_all_three_on_the_first_picture(session: Session, workshop: Workshop, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", picture(1))
    (path,) = adopted(session, tmp_path / "a.png")
    work = workshop.submit(session, partial(show_all, session, path, Asked("Denoising")))
    assert wait_until(lambda: work.done, 120)
    assert list(work.panels) == ["as it is", "deblur", "denoise", "derain"]
    assert {Image.open(panel).size for panel in work.panels.values()} == {(48, 40)}
    np.testing.assert_array_equal(np.asarray(Image.open(work.panels["as it is"])), picture(1))


def test_work_that_nobody_wants_ends_where_it_next_tells() -> None:
    work = Work()
    tell = work.told(0.5, 0.5)
    tell(0.5)
    work.cancel()
    with pytest.raises(Cancelled):
        tell(0.6)
    assert work.share == 0.75
