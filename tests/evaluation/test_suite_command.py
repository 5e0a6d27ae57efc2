"""`uniaudio eval suite` as a shell runs it: a suite of runs, and one of concepts."""

from __future__ import annotations

import json

import pytest
import soundfile

from tests.cli.conftest import uniaudio, world
from tests.cli.test_zero_shot import by_name
from tests.evaluation.folders import clip_folder
from tests.factories import chirps
from uniaudio_cli.evaluation import baselines, enhancement

__all__ = ["by_name", "uniaudio", "world"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"), takes=2)


def test_runs_get_a_report_each_and_one_table(uniaudio, world, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "ROWS", baselines.ROWS[:1])  # the peers need weights
    suite = tmp_path / "mine.yaml"
    runs = "  - {name: few, ways: 2, shots: [1], episodes: 3, controls: [shuffled-labels]}\n  - {name: other}\n"
    suite.write_text(f"name: mine\nabout: x\nlayout: audio-folder\ntask: {world.listen}\nruns:\n{runs}")
    done = uniaudio("eval", "--suite", suite, "--data", clips, "-o", "report", "--only", "few", "--json", *world.models)
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert list(summary["runs"]) == ["few"]
    assert "uniaudio, shuffled labels" in summary["runs"]["few"][0]["accuracy"]
    results = json.loads((tmp_path / "here" / "report" / "few" / "results.json").read_text())
    assert results["suite"] == "mine: few"
    refused = uniaudio("eval", "suite", suite, "--data", clips, "-o", "report", "--only", "none", *world.models)
    refused.is_error(2, "nothing to run named none")


def test_concepts_are_answered_by_name(by_name, clips, tmp_path):
    suite = tmp_path / "concepts.yaml"
    suite.write_text("# made\nconcepts:\n  mood:\n    question: what\n    labels: {calm: [one], alarm: [two, three]}\n")
    done = by_name("eval", "suite", suite, "--data", clips, "-o", "report", "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert (summary["concepts"], summary["clips"], summary["chance"]) == (1, 12, 0.5)
    assert {"uniaudio", "names, word overlap"} <= set(summary["accuracy"])
    assert (tmp_path / "here" / "report" / "mood" / "report.html").is_file()


def test_denoising_takes_the_layout_of_voicebank(uniaudio, tmp_path, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.cli.eval_pairs._systems", lambda shown: {"half": lambda wav, rate: wav / 2})
    monkeypatch.setattr(enhancement, "score", lambda clean, made: {"stoi": float(made.abs().max())})
    for part, count in (("trainset_28spk", 4), ("testset", 2)):
        for side in ("noisy", "clean"):
            (tmp_path / f"{side}_{part}_wav").mkdir()
            for n in range(count):
                soundfile.write(
                    tmp_path / f"{side}_{part}_wav" / f"p232_{n}.wav", chirps(8_000, n)[0][0].numpy(), 16_000
                )
    (tmp_path / "log_testset.txt").write_text("p232_0 bus 2.5\np232_1 cafe 7.5\n")
    done = uniaudio("eval", "suite", "denoising", "--data", tmp_path, "-o", "report", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert list(result["conditions"]) == ["2.5 dB", "7.5 dB", "all"]
    assert list(result["conditions"]["all"]) == ["noisy", "half"]
    assert result["shown"] == [f"p232_{n}.wav" for n in range(4)]
    assert json.loads((tmp_path / "here" / "report" / "results.json").read_text()) == result
    table = uniaudio("eval", "suite", "denoising", "--data", tmp_path, "-o", "report")
    assert "| 2.5 dB | noisy | 1 |" in table.out
    refused = uniaudio("eval", "suite", "denoising", "--data", tmp_path / "clean_testset_wav", "-o", "other")
    refused.is_error(2, "holds no noisy_testset_wav")
