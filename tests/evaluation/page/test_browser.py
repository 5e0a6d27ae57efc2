"""The page as a browser shows it, from disk: numbers, players, console, accessibility, both themes, two widths.

Skipped without chromium, chromedriver and selenium. axe-core is checked where UNIAUDIO_AXE names its axe.min.js.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.evaluation.page.pages import write_report
from uniaudio_cli.evaluation.page.build import shown

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium or chromedriver")

PLAYERS = """
const done = arguments[0];
Promise.all([...document.querySelectorAll("audio")].map((audio) => new Promise((loaded) => {
  audio.addEventListener("loadeddata", () => loaded(audio.duration));
  audio.addEventListener("error", () => loaded(-1));
  audio.preload = "auto";
  audio.load();
}))).then(done);
"""
AXE = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then((found) => done(
  found.violations.filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 150)}`)));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(folder)
    return folder / "report"


@pytest.fixture(scope="module")
def browser(folder):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    driver.get((folder / "report.html").as_uri())
    yield driver
    driver.quit()


def show(browser, theme="light", width=1200):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_numbers_are_those_of_results_json(browser, folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    script = (
        "return [...document.querySelectorAll('[data-at]')].map((e) => [e.dataset.at, e.dataset.style, e.textContent])"
    )
    numbers = browser.execute_script(script)
    assert len(numbers) > 60
    for pointer, style, text in numbers:
        value = results
        for key in (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")):
            value = value[int(key)] if isinstance(value, list) else value[key]
        assert text == shown(value, style), pointer


def test_players_load_and_the_console_is_quiet(browser):
    seconds = browser.execute_async_script(PLAYERS)
    assert len(seconds) == 9
    assert all(0.2 < each < 0.5 for each in seconds), seconds
    assert browser.get_log("browser") == []


def test_clips_are_chosen(browser):
    script = """
    const choice = document.querySelector("input[value=wrong]");
    choice.checked = true;
    choice.dispatchEvent(new Event("input", {bubbles: true}));
    return [...document.querySelectorAll(".clip:not([hidden])")].map((clip) => clip.dataset.verdict);
    """
    assert set(browser.execute_script(script)) <= {"wrong", "mixed"}
    count = browser.find_element("css selector", ".count").text
    assert count.endswith("of 9 clips")
    browser.execute_script(script.replace("wrong", "all"))


@pytest.mark.parametrize("width", [400, 1200])
def test_no_width_scrolls_sideways(browser, width):
    show(browser, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_axe_finds_no_serious_fault(browser, theme, width):
    axe = Path(os.environ.get("UNIAUDIO_AXE", "nowhere"))
    if not axe.is_file():
        pytest.skip("UNIAUDIO_AXE names no axe.min.js")
    show(browser, theme, width)
    browser.execute_script(axe.read_text(encoding="utf-8"))
    assert browser.execute_async_script(AXE) == []


def test_themes_differ(browser):
    colours = []
    for theme in ("light", "dark"):
        show(browser, theme)
        colours.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
