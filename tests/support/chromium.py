"""A real Chromium, and what tests ask of its pages."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


@contextmanager
def chromium(profile: Path):
    """A browser that keeps its profile in a directory."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def open_page(browser, path: Path) -> None:
    """Open a page as one that has not been open before."""
    browser.get_log("browser")  # what was logged before is not this page's
    if browser.current_url.startswith("file:"):
        _leave(browser)
        browser.execute_script("sessionStorage.clear()")
    browser.get(path.as_uri())


def reload(browser) -> None:
    _leave(browser)
    browser.refresh()


def _leave(browser) -> None:
    """Let a page go that would ask whether to leave it."""
    browser.execute_script(
        "if (typeof isUnsaved === 'function')"
        "  for (const picks of picked) picks.savedAnswers = picks.answers"
    )


def assert_no_complaint(browser) -> None:
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def drawn(browser, z: int) -> None:
    """Wait until slice ``z`` is drawn."""
    WebDriverWait(browser, 10).until(
        lambda b: b.execute_script("return document.body.dataset.drawn") == str(z)
    )


def the(browser, css: str):
    return browser.find_element(By.CSS_SELECTOR, css)


def set_range(browser, css: str, value: float) -> None:
    browser.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
        the(browser, css),
        value,
    )


def saved(browser, button: str, directory: Path) -> Path:
    """What a button saves, in a new directory."""
    directory.mkdir()
    behaviour = {"behavior": "allow", "downloadPath": str(directory)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    the(browser, button).click()

    def whole(_) -> Path | None:  # a download in progress has another name
        files = list(directory.iterdir())
        done = len(files) == 1 and files[0].suffix in (".csv", ".star", ".json")
        return files[0] if done else None

    return WebDriverWait(browser, 10).until(whole)


def ground(browser, css: str) -> float:
    """Luminance of what an element lies on."""
    colour = browser.execute_script(
        """
        let place = arguments[0];
        while (/, 0\\)$/.test(getComputedStyle(place).backgroundColor)) place = place.parentElement;
        return getComputedStyle(place).backgroundColor;
        """,
        the(browser, css),
    )
    return luminance(colour)


def luminance(colour: str) -> float:
    """Relative luminance of rgb(...) or rgba(...)."""
    parts = colour[colour.index("(") + 1 : -1].split(",")[:3]
    levels = np.array([float(part) / 255 for part in parts])
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
