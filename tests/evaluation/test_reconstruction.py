"""Reconstruction: segments of every group, intervals over groups, and the suite as a shell runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.cli.conftest import uniaudio, world
from tests.evaluation.test_layouts import VOICEBANK, write
from tests.factories import chirps, small_codec
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.codec import quality
from uniaudio_cli.codec.quality import MeasuredReconstruction
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.manifest import Row
from uniaudio_cli.evaluation.layouts import any_folder, voicebank_clean
from uniaudio_cli.evaluation.reconstruction import Comparison, spread
from uniaudio_cli.evaluation.suite import ReconstructionSuite, load_suite

__all__ = ["uniaudio", "world"]
RATE = 16_000


@pytest.fixture(autouse=True)
def without_dnsmos(monkeypatch):
    """Its network takes most of the time."""
    monkeypatch.setattr(quality, "dnsmos", lambda: None)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of three speakers each, by names as VCTK has them, that make a segment; and one that is no audio."""
    folder = tmp_path_factory.mktemp("clips")
    for speaker in range(3):
        for take in range(2):
            write_wav(folder / f"p{300 + speaker}_00{take}.wav", chirps(25_000, 10 * speaker + take)[0], RATE)
    (folder / "p400_001.wav").write_bytes(b"no audio")
    return folder


def test_groups_are_those_that_names_or_metadata_tell(clips, tmp_path):
    assert [item.group for item in any_folder(clips)] == ["p300", "p300", "p301", "p301", "p302", "p302", "p400"]
    write(tmp_path, ["a.wav", "b/c.wav"])
    assert {item.group for item in any_folder(tmp_path)} == {str(tmp_path), str(tmp_path / "b")}
    (tmp_path / "metadata.csv").write_text("file_name,group\na.wav,anna\nb/c.wav,ben\n")
    assert [item.group for item in any_folder(tmp_path)] == ["anna", "ben"]


def test_clean_sides_of_voicebank_are_the_clips(tmp_path):
    write(tmp_path, VOICEBANK)
    assert [(item.path.parts[-2:], item.group) for item in voicebank_clean(tmp_path)] == [
        (("clean_testset_wav", "p232_001.wav"), "p232"), (("clean_testset_wav", "p257_434.wav"), "p257"),
    ]  # fmt: skip


def test_intervals_are_over_groups():
    comparison = Comparison(small_codec())
    codes = [np.zeros(2, dtype=np.int64)] * 3
    for number in range(12):
        value = {"stoi": 0.1 * (number // 2)} | ({"pesq_wb": 1.0} if number == 0 else {})
        wav = torch.zeros(1, 3 * RATE)
        comparison.measured.append(MeasuredReconstruction(wav, codes, wav, 1.0, value))
        comparison.groups.append(f"speaker {number // 2}")
    found = comparison.summary()
    stoi = found.metrics["stoi"]
    assert (found.segments, found.seconds, stoi.n, stoi.clusters) == (12, 36.0, 12, 6)
    assert stoi.value == pytest.approx(0.25)
    assert stoi.low < 0.18 < 0.32 < stoi.high  # far wider than of twelve that are independent
    assert (found.metrics["pesq_wb"].n, found.metrics["pesq_wb"].clusters) == (1, 0)


def test_every_speaker_is_measured(clips):
    comparison, unread = Comparison(small_codec()), []
    wavs = list(comparison.measure(any_folder(clips), 5, lambda clip, problem: unread.append(clip.path.name)))
    assert comparison.groups == ["p300", "p301", "p302"]
    assert unread == ["p400_001.wav"]
    assert [list(each) for each in wavs] == [["original", "decoded"]] * 3
    assert {"mel_l1", "si_sdr"} <= set(comparison.summary().metrics)
    assert comparison.compared() == {}
    with pytest.raises(UniAudioError, match="fewer than two segments"):
        Comparison(small_codec()).summary()


def test_a_few_segments_still_have_every_group(tmp_path):
    rows = [Row(tmp_path / f"{n}.wav", group=f"{n % 5}") for n in range(400)]
    assert {row.group for row in spread(rows, 2)} == {"0", "1", "2", "3", "4"}
    assert len(spread(rows, 200)) == 400


def test_the_suite_writes_results(uniaudio, world, clips, tmp_path):
    done = uniaudio("eval", "suite", "reconstruction", "--data", clips, "-o", "report", "--json", *world.models)
    assert done.code == 0, done.err
    assert "left out" in done.err
    result = json.loads(done.out)
    assert json.loads((tmp_path / "here" / "report" / "results.json").read_text()) == result
    assert (result["suite"], result["groups"], result["left_out"]) == ("reconstruction", 3, ["p400_001.wav"])
    (codec,) = result["codecs"].values()
    assert codec["segments"] == 3
    assert {"value", "low", "high", "n", "clusters"} == set(codec["metrics"]["mel_l1"])
    shown = uniaudio("eval", "suite", "reconstruction", "--data", clips, "-o", "report", *world.models)
    assert "3 segments" in shown.out
    assert "intervals over segments" in shown.err  # three speakers are too few
    refused = uniaudio("eval", "suite", "reconstruction-voicebank", "--data", clips, "-o", "x", *world.models)
    refused.is_error(2, "holds no noisy_testset_wav")
    refused = uniaudio("eval", "suite", "reconstruction", "--data", clips, "-o", "x", "--peers", "opus", *world.models)
    refused.is_error(2, "--peers: there is no 'opus'; choose encodec, dac, mimi")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: reconstruction\nname: a\nabout: x\nlayout: tapes\n", "'layout' must be one of fsdd"),
        ("kind: speech\nname: a\nabout: x\nlayout: folder\n", "'kind' must be"),
        ("kind: reconstruction\nname: a\nabout: x\nlayout: folder\ntask: emotion\n", "unknown key 'task'"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_suite(str(tmp_path / "mine.yaml"))
    assert isinstance(load_suite("reconstruction"), ReconstructionSuite)
