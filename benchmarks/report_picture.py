"""The README's picture: the report of the demo in a browser.

    python -m picket_gpu configs/demo.yaml
    python -m benchmarks.report_picture

writes docs/report.png, down to the table: what follows it names files of the machine. It needs the
extra dev, and Chromium with its driver (Debian: chromium, chromium-driver).
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "demo_output" / "demo" / "report.html"
SIZE = (1280, 2000)
COLOURS = 128  # of the palette; pictures of noise compress badly


def main() -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as profile:
        for flag in ("headless", "no-sandbox", "hide-scrollbars", f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        browser.set_window_size(*SIZE)
        browser.get(REPORT.as_uri())
        wait = WebDriverWait(browser, 10)
        wait.until(lambda b: b.execute_script("return document.body.dataset.drawn"))
        notes = browser.find_element(By.ID, "notes").rect
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
        browser.quit()
    picture = picture.crop((0, 0, picture.width, int(notes["y"] + notes["height"]) + 8))
    small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(ROOT / "docs" / "report.png", optimize=True)


if __name__ == "__main__":
    main()
