"""Noise at an SNR, and tables of enhancers."""

from __future__ import annotations

import pytest
import torch

from tests.factories import chirps
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation import enhancement

RATE = 16_000


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0])
def test_noise_lies_at_its_snr(snr):
    speech, noise = 0.1 * chirps(RATE, 1)[0], 0.01 * torch.randn(1, RATE // 3)
    added = enhancement.mix_at_snr(speech, noise, snr) - speech
    assert 10 * torch.log10(speech.square().mean() / added.square().mean()) == pytest.approx(snr, abs=0.01)
    assert enhancement.mix_at_snr(10 * speech, 10 * noise, snr).abs().max() <= 1


def test_enhancers_are_scored_beside_the_noisy_input(monkeypatch):
    monkeypatch.setattr(
        enhancement, "speech_metrics", lambda clean, wav, rate: {"stoi": float((clean - wav).abs().mean())}
    )
    pairs = [(chirps(RATE, n)[0], chirps(RATE, n + 10)[0]) for n in range(3)]
    rows = enhancement.score_enhancers(pairs, {"copy": lambda wav, rate: wav}, RATE)
    assert all(row["copy"] == row["noisy"] for row in rows)
    lines = enhancement.table(rows).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| noisy", "| copy", "| copy less noisy, paired"]
    assert "+0.00 +- 0.00" in lines[-1]


def test_peers_that_are_not_there(tmp_path):
    assert enhancement.peers(None) == {}
    with pytest.raises(UsageError, match="holds neither"):
        enhancement.peers(tmp_path)
