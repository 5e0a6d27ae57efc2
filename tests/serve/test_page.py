"""The page in headless Chromium: the Teach path with files and a fake microphone, Speak, Enhance, both themes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits import make_kit
from tests.serve.browser import Page
from tests.serve.conftest import listening, wav
from uniaudio_cli.inference import gains
from uniaudio_cli.serve.settings import Limits

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SOUNDS = ROOT / "examples" / "audio" / "sounds"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server of small parts."""
    with listening(make_kit(), tmp_path_factory.mktemp("state"), Limits()) as port:
        yield f"http://127.0.0.1:{port}"


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
    assert page.one("#results .words").text == "The LLM is given nothing of the clip."
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
    assert page.one("#results .words").text.startswith("Words for the LLM: ")
    page.choose("#base", "example-sounds")
    assert len(page.all("#labels .card")) == 6
    page.one("#query-files").send_keys(str(SOUNDS / "rain" / "2.flac"))
    page.status("1 clip labelled by the examples")
    page.check_console()


def test_keys_reach_every_tab_and_speak_and_enhance(page, tmp_path, monkeypatch):
    monkeypatch.setattr(gains, "STEPS", 2)  # quick
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
    page.one("summary").click()
    for side, seed in (("noisy", 4), ("clean", 5)):
        (tmp_path / f"{side}.wav").write_bytes(wav(seed))
        page.one(f"#pair-{side}").send_keys(str(tmp_path / f"{side}.wav"))
    page.one("#learn").click()
    page.status("Learnt from 1 pair")
    page.one("#noisy-file").send_keys(str(tmp_path / "noisy.wav"))
    page.status("Cleaned.")
    page.one("#cleaned button").click()
    page.screenshots("enhance")
    page.check_console()


def test_errors_are_shown(page, tmp_path):
    page.choose("#base", "example-sounds")
    (tmp_path / "page.wav").write_text("no audio")
    page.one("#query-files").send_keys(str(tmp_path / "page.wav"))
    page.status("page.wav: cannot be read as audio")
