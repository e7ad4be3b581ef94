"""Take the pictures of docs/web.md, of the real page in a real browser.

mprnet-web & python scripts/screenshots.py [--address http://127.0.0.1:7860] [--output docs]

Needs playwright and a Chromium of the system's.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

from mprnet_plugin.errors import InputError, run_command

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "mprnet_plugin" / "web" / "examples"
PATIENCE = 300_000
"""Milliseconds."""


def main(argv: list[str] | None = None) -> int:
    """Take all pictures; return 0.

    Raises:
        InputError: There is no browser, or no page.
    """
    parser = argparse.ArgumentParser(description="Take the pictures of docs/web.md.")
    parser.add_argument("--address", default="http://127.0.0.1:7860/", help="of a running mprnet-web")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", metavar="DIR")
    args = parser.parse_args(argv)
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise InputError("there is no chromium to drive: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        on_a_desk(browser, args.address, args.output)
        on_a_phone(browser, args.address, args.output)
        browser.close()
    return 0


def on_a_desk(browser: Browser, address: str, output: Path) -> None:
    """Show the page before, while and after pictures are restored."""
    page = opened(browser, address, width=1000, height=760)
    keep(page, output / "web_before.jpg")
    page.set_input_files("#pictures input[type=file]", [EXAMPLES / "noisy.jpg", EXAMPLES / "blurred.jpg"])
    page.wait_for_selector("#restore:not([disabled])")
    page.get_by_label("Noise, the grain").check()
    page.click("#restore")
    page.get_by_text("left").wait_for()
    keep(page, output / "web_during.jpg")
    page.wait_for_selector("#status .summary")
    page.wait_for_timeout(1000)
    keep(page, output / "web_after.jpg")
    page.close()


def on_a_phone(browser: Browser, address: str, output: Path) -> None:
    """Show what all three tasks make of a picture, on a phone."""
    page = opened(browser, address, width=390, height=844)
    page.locator("#examples button").nth(2).click()
    page.wait_for_selector("#show-three:not([disabled])")
    page.click("#show-three")
    page.locator("#trial img").nth(3).wait_for()
    page.wait_for_timeout(1000)
    keep(page, output / "web_phone.jpg")
    page.close()


def opened(browser: Browser, address: str, width: int, height: int) -> Page:
    """Open the page and wait until all of it is there."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    try:
        page.goto(address)
    except Error as error:
        raise InputError(f"nothing answers at {address}: start mprnet-web first") from error
    page.locator("#examples img").nth(2).wait_for()
    page.wait_for_timeout(1000)
    return page


def keep(page: Page, path: Path) -> None:
    """Write a picture of the whole page."""
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    taken.convert("RGB").save(path, quality=82, optimize=True)


if __name__ == "__main__":
    run_command(main)
