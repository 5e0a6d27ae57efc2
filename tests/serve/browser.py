"""The page in headless Chromium, as a person uses it."""

from __future__ import annotations

import os
import shutil
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WAIT = 120


@contextmanager
def chromium_with_microphone(folder: Path) -> Iterator[Any]:
    """Chromium with a microphone that plays a chord; the test is skipped where it or its driver is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver")
    microphone = folder / "chord.wav"
    time_axis = np.arange(48_000) / 48_000
    chord = np.sum([np.sin(2 * np.pi * pitch * time_axis) for pitch in (330, 495, 660)], axis=0) / 4
    with wave.open(str(microphone), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes((32_000 * chord).astype("<i2").tobytes())
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-audio-capture={microphone}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_script_timeout(WAIT)
    try:
        yield found
    finally:
        found.quit()


class Page:
    """What a person does on the page."""

    def __init__(self, browser, address: str) -> None:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        self.browser, self.css = browser, By.CSS_SELECTOR
        self.waiting = WebDriverWait(browser, WAIT)
        browser.get(address)
        self.until(lambda _: self.all("body[data-ready=yes]"))

    def until(self, condition):
        return self.waiting.until(condition)

    def all(self, css: str) -> list:
        return self.browser.find_elements(self.css, css)

    def one(self, css: str):
        return self.all(css)[0]

    def choose(self, css: str, value: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.one(css)).select_by_value(value)

    def status(self, words: str) -> None:
        self.until(lambda _: words in self.one("#status").text)

    def record(self, button, seconds: float = 1.0) -> None:
        button.click()
        self.until(lambda _: button.text == "Stop")
        time.sleep(seconds)
        button.click()
        self.until(lambda _: button.text == "Record")

    def screenshots(self, name: str) -> None:
        """Both themes, narrow and wide, into $UNIAUDIO_SCREENSHOTS where it is set; nothing is wider than the page."""
        for width in (400, 1200):
            metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
            self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for theme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": theme}]
                self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                wide = self.browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= width, (name, width, wide)
                self.check_accessibility(f"{name} {theme} {width}")
                if folder := os.environ.get("UNIAUDIO_SCREENSHOTS"):
                    self.browser.save_screenshot(str(Path(folder) / f"{name}-{theme}-{width}.png"))

    def check_accessibility(self, where: str) -> None:
        """No serious fault by axe-core, where UNIAUDIO_AXE names its axe.min.js."""
        if not (axe := os.environ.get("UNIAUDIO_AXE")):
            return
        self.browser.execute_script(Path(axe).read_text(encoding="utf-8"))
        run = "const done = arguments[0]; axe.run().then(found => done(found.violations))"
        faults = [each for each in self.browser.execute_async_script(run) if each["impact"] in ("serious", "critical")]
        shown = [(fault["id"], [node["html"][:120] for node in fault["nodes"][:3]]) for fault in faults]
        assert not faults, (where, shown)

    def check_console(self) -> None:
        assert [line for line in self.browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []
