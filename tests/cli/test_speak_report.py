"""`tts --report`: players of what is spoken, and what a recogniser makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from uniaudio_cli.evaluation import judges


def test_a_page_of_what_is_spoken(tts, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.models.registry.resolve_judge", lambda *_: Path("nowhere"))
    monkeypatch.setattr(judges.Transcriber, "__init__", lambda self, folder: None)
    monkeypatch.setattr(judges.Transcriber, "__call__", lambda self, wav: f"{len(wav) > 0} <b>")
    monkeypatch.setattr("sys.stdin", open_lines("one\ntwo\n"))
    done = tts("-", "-o", "out", "--report", "page.html")
    assert done.code == 0, done.err
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("<audio controls") == 2
    assert page.count("Whisper base recognises &#39;True &lt;b&gt;&#39;") == 2
    assert "2 spoken answers" in page
    assert "What is spoken" in page


def test_without_a_recogniser_the_page_says_less(tts):
    done = tts("one", "-o", "one.wav", "--report", "page.html")
    assert done.code == 0, done.err
    assert "the page shows no transcripts" in done.err
    assert "Whisper" not in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("output", [("-o", "-"), ("-o", "a.wav", "--stream")])
def test_a_stream_has_no_page(tts, output):
    tts("one", *output, "--report", "page.html").is_error(2, "--report: shows files")


def open_lines(text):
    import io

    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
