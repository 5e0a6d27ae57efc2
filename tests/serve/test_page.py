"""The page in headless Chromium: the Teach path with files and a fake microphone, Speak, Enhance, both themes."""

from __future__ import annotations

import os
import shutil
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.kits import make_kit
from tests.serve.conftest import listening, wav
from uniaudio_cli.serve.settings import Limits

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SOUNDS = ROOT / "examples" / "audio" / "sounds"
WAIT = 120


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of small parts."""
    with listening(make_kit(), tmp_path_factory.mktemp("state"), Limits()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium with a microphone that plays a chord; skipped where it or its driver is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver")
    microphone = tmp_path_factory.mktemp("microphone") / "chord.wav"
    time_axis = np.arange(48_000) / 48_000
    chord = sum(np.sin(2 * np.pi * pitch * time_axis) for pitch in (330, 495, 660)) / 4
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
    yield found
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
        """No serious fault by axe-core, where $AXE names its axe.min.js."""
        if not (axe := os.environ.get("AXE")):
            return
        self.browser.execute_script(Path(axe).read_text(encoding="utf-8"))
        run = "const done = arguments[0]; axe.run().then(found => done(found.violations))"
        faults = [each for each in self.browser.execute_async_script(run) if each["impact"] in ("serious", "critical")]
        shown = [(fault["id"], [node["html"][:120] for node in fault["nodes"][:3]]) for fault in faults]
        assert not faults, (where, shown)

    def check_console(self) -> None:
        assert [line for line in self.browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


@pytest.fixture
def page(browser, address) -> Page:
    return Page(browser, address)


def test_teach_with_files_and_the_microphone(page):
    page.choose("#task", "spoken-digit")  # of small parts, the levels of sounds are made of too little
    names, uploads = page.all("#labels .card > input"), page.all("#labels input[type=file]")
    for name, upload, label in zip(names, uploads, ("rain", "siren"), strict=True):
        name.send_keys(label)
        upload.send_keys("\n".join(str(path) for path in sorted((SOUNDS / label).iterdir())[:2]))
    page.all("#add-label")[0].click()
    page.all("#labels .card > input")[2].send_keys("chord")
    page.record(page.all("#labels .card")[2].find_elements(page.css, "button")[0])
    page.until(lambda _: page.all("#labels .card:nth-child(3) .clips li"))
    page.one("#query-files").send_keys(
        "\n".join(str(SOUNDS / label / f"{number}.flac") for label, number in (("rain", 5), ("siren", 5)))
    )
    page.status("2 clips labelled by the examples")
    assert len(page.all("#results article")) == 2
    assert all(card.text.strip() in ("rain", "siren", "chord") for card in page.all("#results .label"))
    assert len(page.all("#results meter")) == 6
    page.record(page.one("#record-query"))
    page.status("1 clip labelled by the examples")
    page.screenshots("teach")
    page.all("#results article")[0].find_elements(page.css, "fieldset button")[0].click()
    page.status("is now an example of")
    assert len(page.all("#results article")) == 2
    page.one("#export").click()
    page.status("uniaudio classify --demos")
    page.check_console()


def test_teach_by_names_and_from_an_example(page):
    for name, label in zip(page.all("#labels .card > input"), ("rain", "siren"), strict=True):
        name.send_keys(label)
    page.one("#query-files").send_keys(str(SOUNDS / "rain" / "1.flac"))
    page.status("1 clip labelled by the names alone")
    page.choose("#base", "example-sounds")
    assert len(page.all("#labels .card")) == 6
    page.one("#query-files").send_keys(str(SOUNDS / "rain" / "2.flac"))
    page.status("1 clip labelled by the examples")
    page.check_console()


def test_keys_reach_every_tab_and_speak_and_enhance(page, tmp_path):
    from selenium.webdriver.common.keys import Keys

    page.one("#tab-teach").send_keys(Keys.ARROW_RIGHT)
    assert page.one("#speak").is_displayed()
    page.one("#question").clear()
    page.one("#question").send_keys("seven", Keys.ENTER)
    page.until(lambda _: page.all("#answer article"))
    assert page.one("#answer .label").text == "seven"
    page.screenshots("speak")
    page.one("#tab-speak").send_keys(Keys.ARROW_RIGHT)
    (tmp_path / "noisy.wav").write_bytes(wav(3))
    page.one("#noisy-file").send_keys(str(tmp_path / "noisy.wav"))
    page.status("Cleaned.")
    assert [each.text for each in page.all("#cleaned .label")] == ["A: recording", "B: cleaned"]
    page.one("#cleaned button").click()
    page.screenshots("enhance")
    page.check_console()


def test_errors_are_shown(page, tmp_path):
    page.choose("#base", "example-sounds")
    (tmp_path / "page.wav").write_text("no audio")
    page.one("#query-files").send_keys(str(tmp_path / "page.wav"))
    page.status("page.wav: cannot be read as audio")
