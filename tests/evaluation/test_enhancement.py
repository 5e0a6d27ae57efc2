"""Noise at an SNR, scores of enhancers, and tables of them."""

from __future__ import annotations

import pytest
import soundfile
import torch

from tests.factories import chirps
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.data.demonstrations import load_demonstrations
from uniaudio_cli.evaluation import enhancement
from uniaudio_cli.evaluation.enhancement_peers import peers

RATE = 16_000


@pytest.fixture
def pairs(tmp_path):
    for side in ("noisy", "clean"):
        (tmp_path / side).mkdir()
        for n in range(3):
            soundfile.write(tmp_path / side / f"{n}_{5 * n} dB.wav", chirps(RATE, n)[0][0].numpy(), RATE)
    return load_demonstrations(tmp_path, "pair")


@pytest.fixture
def scored(monkeypatch):
    """The pairs whose score was asked for; scores that need no package."""
    asked = []

    def score(clean, made):
        asked.append(made)
        return {"stoi": float((clean - made).abs().mean()), "dnsmos": float(made.abs().max())}

    monkeypatch.setattr(enhancement, "score", score)
    return asked


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0])
def test_noise_lies_at_its_snr(snr):
    speech, noise = 0.1 * chirps(RATE, 1)[0], 0.01 * torch.randn(1, RATE // 3)
    noisy, clean = enhancement.mix_at_snr(speech, noise, snr)
    added = noisy - clean
    assert 10 * torch.log10(clean.square().mean() / added.square().mean()) == pytest.approx(snr, abs=0.01)
    assert enhancement.mix_at_snr(10 * speech, 10 * noise, snr)[0].abs().max() <= 1


def test_enhancers_are_scored_beside_the_noisy_input(pairs, scored, tmp_path):
    systems = {"copy": lambda wav, rate: wav, "half": lambda wav, rate: wav / 2}
    log = tmp_path / "rows.jsonl"

    def run():
        with JsonlLog(log, {}, resume=True) as rows:
            return list(enhancement.measure(pairs, systems, lambda pair: (pair.audio.stem[2:], pair.audio.stem), rows))

    rows = run()
    assert len(rows) == len(scored) == 9
    assert run() == rows
    assert len(scored) == 9  # none was scored again
    results = enhancement.summarise(rows, "data", pairs[:1])
    assert list(results.conditions) == ["0 dB", "5 dB", "10 dB", "all"]
    assert results.recordings == 3
    every = results.conditions["all"]
    assert list(every) == ["noisy", "copy", "half"]
    assert every["copy"].over_noisy["stoi"].value == 0
    assert every["half"].over_noisy["dnsmos"].high < 0
    assert every["half"].means["dnsmos"].n == 3
    assert "pesq_wb" not in every["half"].means
    lines = enhancement.table(results)
    assert len(lines) == 2 + 4 * 3
    assert lines[2].startswith("| 0 dB | noisy | 1 | 0.000 | - |")
    results.write(tmp_path / "results.json")
    again = enhancement.EnhancementResults.model_validate_json((tmp_path / "results.json").read_text())
    assert again == results


def test_scores_of_real_measures():
    for package in ("pystoi", "pesq", "speechmos"):
        pytest.importorskip(package)
    clean = 0.1 * chirps(2 * RATE, 1)[0]
    found = enhancement.score(clean, clean + 0.01 * torch.randn(1, 2 * RATE + 5)[:, : 2 * RATE])
    assert 0 < found["stoi"] <= 1
    assert 1 <= found["dnsmos"] <= 5


def test_peers_that_are_not_there(tmp_path):
    assert peers(None) == {}
    with pytest.raises(UsageError, match="holds neither"):
        peers(tmp_path)
