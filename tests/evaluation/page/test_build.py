"""The page as a file: self-contained, escaped, within its size, and of the numbers in results.json."""

from __future__ import annotations

import re

import pytest

from tests.evaluation.page.pages import NASTY, write_report
from tests.factories import chirps
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.evaluation.page import build, media, plots
from uniaudio_cli.evaluation.page.build import ClipRow
from uniaudio_cli.evaluation.page.pairs import PairPage
from uniaudio_cli.evaluation.systems import MissingLibrary


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    results = write_report(folder)
    return results, (folder / "report" / "report.html").read_text(encoding="utf-8")


def test_nothing_is_fetched(report):
    _, text = report
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", text)
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_names_are_escaped(report):
    _, text = report
    assert NASTY not in text
    assert text.count("<script>") == 1
    assert "&lt;script&gt;" in text
    assert "clip 0&amp;&lt;b&gt;.wav" in text


def test_every_clip_is_there_with_player_and_spectrogram(report):
    results, text = report
    assert text.count('<li class="clip"') == len(results.reviews) == 9
    assert text.count('src="data:audio/mpeg;base64,') == 9
    assert text.count('src="data:image/webp;base64,') == 9


def test_ids_are_used_once(report):
    _, text = report
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_same_results_make_the_same_page(report, tmp_path):
    _, text = report
    write_report(tmp_path)
    assert (tmp_path / "report" / "report.html").read_text(encoding="utf-8") == text


def test_a_full_page_takes_no_more(tmp_path):
    write_wav(tmp_path / "a.wav", chirps(16_000, 1)[0], 16_000)
    whole = media.medium(tmp_path / "a.wav", media.Room())
    assert (whole.seconds, whole.cut, bool(whole.picture)) == (1.0, False, True)
    little = media.Room(left=len(whole.picture) + 10.0)
    found = media.medium(tmp_path / "a.wav", little)
    assert (found.audio, bool(found.picture), little.refused) == ("", True, 1)


def test_a_clip_that_is_gone_says_so(tmp_path):
    found = media.medium(tmp_path / "gone.wav", media.Room())
    assert "gone.wav" in found.error


def test_labelled_clips_without_truth(tmp_path):
    write_wav(tmp_path / "a.wav", chirps(4_000, 1)[0], 16_000)
    rows = [
        ClipRow(0, str(tmp_path / "a.wav"), NASTY, [(NASTY, 0.9), ("b", 0.1)], 0.2),
        ClipRow(1, str(tmp_path / "a.wav"), None, [("b", 0.5), ("c", 0.5)], 1.0),
    ]
    build.write_review(rows, tmp_path / "review.html", "2 clips", "about")
    text = (tmp_path / "review.html").read_text(encoding="utf-8")
    assert NASTY not in text
    assert text.index("no label: too unsure") < text.index("&lt;script&gt;alert(1)&lt;/script&gt;</b>")
    assert 'value="wrong"' not in text


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r"matplotlib, Pillow, jinja2: pip install 'uniaudio\[eval\]'"):
        build.require()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_heat_map_cells_are_readable(share):
    """WCAG's contrast of 4.5 between a cell and what is written on it."""
    background, ink = plots.shade(share)
    channels = [int(background[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    light = sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    contrast = 1.05 / (light + 0.05) if ink == "#fff" else (light + 0.05) / 0.05
    assert contrast >= 4.5


def test_recordings_before_and_after(tmp_path):
    page = PairPage("uniaudio codec eval")
    wav = chirps(4_000, 1)[0]
    write_wav(tmp_path / "a.wav", wav, 16_000)
    page.add(NASTY, {"original": tmp_path / "a.wav", "decoded": wav}, 16_000, {"stoi": 0.9})
    page.add("half", {"original": wav[:, ::2], "decoded": wav}, 8_000)
    page.write(tmp_path / "pairs.html", "2 recordings", "about")
    text = (tmp_path / "pairs.html").read_text(encoding="utf-8")
    assert NASTY not in text
    assert (text.count("<audio "), text.count("<img ")) == (4, 4)
    assert "stoi 0.900" in text
    assert "Play decoded, half" in text
