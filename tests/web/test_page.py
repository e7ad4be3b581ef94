"""The page as a person meets it: a real server, a real browser, and the command's own results to compare with."""

from __future__ import annotations

import http.client
import os
import pickle
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image, ImageCms

from mprnet_plugin.weights.download import demo_weights
from tests.helpers import run
from tests.web.served import NO_BROWSER, Server, find_browser, served, wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
pytest.importorskip("gradio", reason="pip install 'mprnet-plugin[web]'")
BROWSER = find_browser()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)]

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402 - where it is not, this file is skipped

PATIENCE = 60_000
"""Milliseconds; a busy machine takes long."""
NOISE, RAIN = re.compile("Noise"), re.compile("of rain")
EXAMPLES = Path(__file__).parents[2] / "mprnet_plugin" / "web" / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Settings of somebody's environment that would open the page to others, or the folder to the page.
    folder = tmp_path_factory.mktemp("web")
    with served(folder, GRADIO_SHARE="True", GRADIO_ALLOWED_PATHS="/", GRADIO_SERVER_NAME="::") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def asked() -> list[str]:
    """Hold what the page asks for, from its first moment on."""
    return []


@pytest.fixture
def page(server: Server, browser: Browser, asked: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    context.on("request", lambda request: asked.append(request.url))
    yield opened(context.new_page(), server)
    context.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two photographs of one name, one of them with EXIF and a profile, and a large one."""
    folder = tmp_path_factory.mktemp("pictures")
    photograph = Image.open(EXAMPLES / "noisy.jpg")
    for name in ("one", "two"):
        (folder / name).mkdir()
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "Maker", "© Somebody"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photograph.crop((0, 0, 128, 112)).save(
        folder / "one" / "a cup, at night.jpg", quality=95, exif=exif, icc_profile=profile, dpi=(300, 300)
    )
    photograph.crop((100, 90, 228, 218)).save(folder / "two" / "a cup, at night.jpg", quality=95)
    photograph.crop((40, 40, 160, 150)).save(folder / "one" / "Größe (2).png")
    photograph.resize((1400, 1000)).save(folder / "large.png")
    return folder


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Restore them by the command, in a process of its own."""
    folder = tmp_path_factory.mktemp("expected")
    arguments = ("one", "--task", "denoise", "--strength", "0.6", "--output_path", str(folder / "one"))
    whole = ("two", "--task", "denoise", "--output_path", str(folder / "two"))
    for words in (arguments, whole):
        done = run(pictures, "mprnet_plugin.inference", *words, MPRNET_PLUGIN_CACHE=str(folder / "cache"))
        assert done.returncode == 0, done.stderr
    return folder


def opened(page: Page, server: Server) -> Page:
    page.set_default_timeout(PATIENCE)
    page.goto(server.address)
    page.wait_for_selector("#restore")
    page.wait_for_selector("#examples img")
    return page


def drop(page: Page, *paths: Path) -> None:
    page.set_input_files("#pictures input[type=file]", list(paths))


def restore(page: Page, task: re.Pattern[str] = NOISE) -> None:
    page.get_by_label(task).check()
    expect(page.locator("#restore")).to_be_enabled(timeout=PATIENCE)
    page.evaluate("document.querySelectorAll('#status .summary, #status li').forEach(one => one.className = 'old')")
    page.click("#restore")


def status(page: Page) -> str:
    """Wait for the end and return what the page then says, in lines."""
    page.wait_for_selector("#status .summary, #status li:not(.old)", timeout=PATIENCE)
    expect(page.locator("#restore")).to_be_visible(timeout=PATIENCE)
    return "\n".join(page.locator("#status .summary, #status li").all_inner_texts())


def downloaded(page: Page, button: str = "#download") -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, download.value.path().read_bytes()


def no_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_results_are_those_of_the_command(
    page: Page, asked: list[str], server: Server, pictures: Path, expected: Path
) -> None:
    limits = page.locator("#limits").inner_text()
    assert re.fullmatch(
        r"Up to \d+ pictures, each of at most \d+ MB and \d+ megapixels, together at most \d+ MB\.", limits
    )
    assert page.locator("#restore").is_disabled()
    # One as soon as the other is shown, which adds them up: by then the page has had no answer yet to the first.
    for count, path in enumerate(sorted((pictures / "one").iterdir(), reverse=True), 1):
        drop(page, path)
        expect(page.locator("#pictures tr.file")).to_have_count(count, timeout=PATIENCE)
    page.locator("#strength input[type=number]").fill("60")
    page.locator("#strength input[type=number]").press("Tab")
    restore(page)
    assert status(page) == "2 of 2 restored"

    wanted = {path.name: path.read_bytes() for path in (expected / "one" / "Denoising").iterdir()}
    assert len(wanted) == 2
    names = sorted(wanted)
    for name in names:
        page.click("#picked input")
        page.get_by_role("option", name=name).click()
        expect(page.locator("#download")).to_have_text(re.compile(re.escape(name)), timeout=PATIENCE)
        assert downloaded(page) == (name, wanted[name])
    name, content = downloaded(page, "#download-all")
    assert name == "restored-denoise.zip"
    archive = pictures.parent / name
    archive.write_bytes(content)
    with zipfile.ZipFile(archive) as inside:
        assert {entry: inside.read(entry) for entry in inside.namelist()} == wanted
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} == {
        urlsplit(server.address).netloc
    }


def test_the_slider_shows_before_and_after(page: Page, pictures: Path) -> None:
    drop(page, pictures / "two" / "a cup, at night.jpg")
    restore(page)
    assert status(page) == "Restored"
    before, after = (page.locator("#slider img").nth(number) for number in (0, 1))
    shown = [before.screenshot(), after.screenshot()]
    sources = [str(image.get_attribute("src")) for image in (before, after)]
    assert [source.rpartition("/")[2] for source in sources] == ["whole-before.png", "whole-after.png"]
    handle = page.locator("#slider [data-testid=slider]")
    box = handle.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 150, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    moved = handle.bounding_box()
    assert moved is not None
    assert moved["x"] < box["x"] - 100
    assert after.screenshot() != shown[1]
    original = np.asarray(Image.open(pictures / "two" / "a cup, at night.jpg").convert("RGB"))
    answer = page.request.get(sources[0])
    (pictures / "seen.png").write_bytes(answer.body())
    np.testing.assert_array_equal(np.asarray(Image.open(pictures / "seen.png")), original)
    assert answer.headers["cache-control"] == "no-store"


def test_a_bad_file_costs_the_others_nothing(page: Page, pictures: Path, tmp_path: Path) -> None:
    good = pictures / "one" / "Größe (2).png"
    (tmp_path / "notes.jpg").write_bytes(b"no picture")
    (tmp_path / "camera.CR2").write_bytes(b"raw")
    (tmp_path / "<b>bold.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "cut.jpg").write_bytes((pictures / "two" / "a cup, at night.jpg").read_bytes()[:3000])
    drop(page, *sorted(tmp_path.iterdir()), good)
    page.wait_for_selector("#refused li")
    refused = page.locator("#refused li").all_inner_texts()
    assert [line for line in refused if line.startswith("camera.CR2: is a RAW file of a camera; develop it")]
    assert [line for line in refused if line.startswith("notes.jpg: cannot be decoded (no picture that is known)")]
    assert "/" not in "".join(refused)
    assert page.locator("#refused b").count() == 0
    restore(page)
    lines = status(page).splitlines()
    assert lines[0].endswith("restored")
    assert [line for line in lines if line.startswith("cut.jpg: is a truncated JPEG")]
    name, content = downloaded(page)
    assert name == "Größe (2)_restoration.png"
    assert content.startswith(b"\x89PNG")


def test_two_pages_at_once_each_get_their_own(server: Server, browser: Browser, pictures: Path, expected: Path) -> None:
    contexts = [browser.new_context(accept_downloads=True) for _ in range(2)]
    first, second = (opened(context.new_page(), server) for context in contexts)
    drop(first, pictures / "large.png")
    drop(second, pictures / "two" / "a cup, at night.jpg")
    restore(first, RAIN)
    restore(second)
    expect(second.locator("#status")).to_contain_text("waiting for the pictures of another page", timeout=PATIENCE)
    mine = server.pages()
    assert len(mine) >= 2
    contexts[0].close()  # in the middle of its work, which nobody wants any more
    assert status(second) == "Restored"
    name, content = downloaded(second)
    assert content == (expected / "two" / "Denoising" / name).read_bytes()
    contexts[1].close()
    assert wait_until(lambda: not set(mine) & set(server.pages())), "closed pages leave their pictures"


def test_cancelling_stops_soon_and_the_page_goes_on(page: Page, pictures: Path) -> None:
    drop(page, pictures / "large.png")
    restore(page, RAIN)
    expect(page.locator("#status")).to_have_text(
        re.compile(r"large\.png · [1-9]\d* % · about .* left"), timeout=PATIENCE
    )
    start = time.monotonic()
    page.click("#cancel")
    assert status(page) == "Stopped: 0 of 1 restored"
    assert time.monotonic() - start < 30
    page.locator("#pictures button[aria-label=Clear]").click()
    expect(page.locator("#restore")).to_be_disabled(timeout=PATIENCE)
    drop(page, pictures / "two" / "a cup, at night.jpg")
    restore(page)
    assert status(page) == "Restored"


def test_all_three_on_a_phone(server: Server, browser: Browser) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = opened(phone.new_page(), server)
    assert no_sideways(page)
    page.locator("#examples button").nth(2).tap()
    expect(page.locator("#show-three")).to_be_enabled(timeout=PATIENCE)
    page.locator("#show-three").tap()
    expect(page.locator("#trial img")).to_have_count(4, timeout=PATIENCE)
    assert page.locator("#trial .caption-label").all_inner_texts() == ["As it is", "Deblur", "Denoise", "Derain"]
    assert no_sideways(page)
    page.locator("#trial button").nth(2).tap()
    expect(page.get_by_label(NOISE)).to_be_checked(timeout=PATIENCE)
    page.get_by_text("Advanced").tap()
    expect(page.get_by_label("Precision")).to_be_visible(timeout=PATIENCE)
    assert no_sideways(page)
    phone.close()


def test_weights_of_ones_own(page: Page, pictures: Path, expected: Path, tmp_path: Path) -> None:
    page.get_by_text("Advanced").click()
    page.get_by_label("A file of your own").check()
    drop(page, pictures / "two" / "a cup, at night.jpg")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(_Evil()))
    for name, line in (("evil.pth", "evil.pth: "), ("mine.safetensors", "")):
        if not line:
            shutil.copy(str(demo_weights("denoise")), tmp_path / name)
            page.locator("#own-weights button[aria-label=Clear]").click()
        page.set_input_files("#own-weights input[type=file]", tmp_path / name)
        expect(page.locator("#own-weights tr.file")).to_contain_text(Path(name).stem, timeout=PATIENCE)
        restore(page)
        assert line in status(page)
    assert not Path("evil-ran").exists()
    assert status(page) == "Restored"
    name, content = downloaded(page)
    assert content == (expected / "two" / "Denoising" / name).read_bytes()


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil-ran",)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file={root}/../../../../../../../../../../etc/passwd",
        "/gradio_api/file={root}/.lock",
        "/gradio_api/file=setup.py",
        "/gradio_api/file=https://example.org/",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://example.org/",
        "/assets/../../../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/monitoring",
        "/gradio_api/openapi.json",
        "/docs",
    ],
)
def test_nothing_else_of_the_machine_is_served(server: Server, path: str) -> None:
    code, body = ask(server, path.format(root=server.root))
    assert code in (403, 404), body
    assert b"root:" not in body


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:{port}"}, {"Origin": "https://evil.example"}, {"Origin": "null"}],
)
def test_pages_of_others_get_no_answer(server: Server, headers: dict[str, str]) -> None:
    named = {name: value.format(port=server.port) for name, value in headers.items()}
    assert ask(server, "/", headers=named)[0] == 403
    assert ask(server, "/gradio_api/upload", "POST", named, b"")[0] == 403
    assert ask(server, "/")[0] == 200


def test_uploads_that_do_not_fit_are_refused_by_their_header(server: Server) -> None:
    assert ask(server, "/gradio_api/upload", "POST", {"Content-Length": str(1 << 50)})[0] == 413
    assert ask(server, "/gradio_api/upload", "POST", {"Transfer-Encoding": "chunked"})[0] == 411


def ask(
    server: Server, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in (headers or {}))
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_only_this_machine_is_listened_to(server: Server) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    wanted = f":{server.port:04X}"
    addresses = {words[1] for line in listening if (words := line.split())[1].endswith(wanted) and words[3] == "0A"}
    assert addresses == {f"0100007F{wanted}"}


def test_the_end_leaves_nothing(page: Page, server: Server, pictures: Path) -> None:
    """The last test of this file: it ends the server that all of them share, in the middle of its work."""
    drop(page, pictures / "large.png")
    restore(page, RAIN)
    expect(page.locator("#status")).to_contain_text(re.compile(r"large\.png · [1-9]"), timeout=PATIENCE)
    start = time.monotonic()
    code, errors = server.end()
    assert time.monotonic() - start < 30
    assert code == 0, errors
    assert "Traceback" not in errors, errors
    assert list(server.temporary.iterdir()) == []
