"""The README's picture: the report of the demo in a browser.

    python -m picket_gpu configs/demo.yaml
    python -m benchmarks.report_picture

writes docs/report.png: a particle is asked about, and the command names no directory of this
machine. It needs the extra dev, and Chromium with its driver (Debian: chromium, chromium-driver).
"""

import io
import shutil
import tempfile
import time
from base64 import b64decode
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "demo_output" / "demo" / "report.html"
SIZE = (1280, 900)
HEIGHT = 1250  # of the picture: some rows of the gallery
COMMAND = "python -m picket_gpu.pick demo_output/demo --choices choices.json --name ranked"
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
        for _ in range(2):
            browser.find_element(By.TAG_NAME, "body").send_keys("n")
        browser.execute_script("byId('choices-command').value = arguments[0]", COMMAND)
        time.sleep(3)  # means and gallery are drawn after the picture
        clip = {"x": 0, "y": 0, "width": SIZE[0], "height": HEIGHT, "scale": 1}
        options = {"captureBeyondViewport": True, "clip": clip}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", options)
        picture = Image.open(io.BytesIO(b64decode(shot["data"])))
        browser.quit()
    small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(ROOT / "docs" / "report.png", optimize=True)


if __name__ == "__main__":
    main()
