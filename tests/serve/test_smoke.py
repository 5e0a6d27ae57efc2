"""`uniaudio serve` as a user starts it, and its page in headless Chromium: one answer, nothing in the console."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.browser import Page
from uniaudio_cli.core.errors import MissingWeightsError
from uniaudio_cli.models import registry

pytestmark = pytest.mark.slow
QUERY = Path(__file__).parents[2] / "examples" / "audio" / "sound-queries" / "rain" / "1.flac"


@pytest.fixture
def address(browser, tmp_path):
    """Of `uniaudio serve` with the tiny models; skipped where those are not here."""
    try:
        registry.path("tiny")
    except MissingWeightsError:
        pytest.skip("needs `uniaudio models pull tiny`")
    command = [sys.executable, "-m", "uniaudio_cli", "serve", "--model", "tiny", "--port", "0", "--state", tmp_path]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as server:
        try:
            said = ""
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)):
                line = server.stderr.readline()
                assert line, said  # it has ended
                said += line
            yield found[0]
            server.send_signal(signal.SIGTERM)
            assert "Finished server process" in server.communicate(timeout=60)[1]
        finally:
            server.kill()


def test_one_answer(browser, address):
    page = Page(browser, address)
    page.choose("#base", "example-sounds")
    page.one("#query-files").send_keys(str(QUERY))
    page.status("1 clip labelled by the examples")
    assert page.one("#results .label").text == "rain"
    assert page.one("#results .words").text.startswith("Words for the LLM: ")
    page.check_console()
