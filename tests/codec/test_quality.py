"""Reconstruction quality: segments, metrics, code usage and pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.factories import chirps, small_codec
from uniaudio_cli.audio.features import mel_distance, stft_distance, texture
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.codec import quality
from uniaudio_cli.codec.quality import SEGMENT_SECONDS, bits, code_rates, measure, segments, si_sdr, spectrograms, usage
from uniaudio_cli.data.manifest import Row

RATE = 16_000


def test_segments_are_long_enough_and_of_one_group(tmp_path):
    rows = []
    for number, (group, seconds) in enumerate([("b", 2.0), ("a", 2.0), ("b", 1.5), ("a", 2.0), ("b", 1.0), ("c", 1.0)]):
        write_wav(tmp_path / f"{number}.wav", torch.full((1, int(seconds * RATE)), 0.1 * (ord(group) - 96)), RATE)
        rows.append(Row(tmp_path / f"{number}.wav", group=group))
    found = list(segments(rows, RATE))
    assert [piece.shape[-1] / RATE for piece in found] == [4.0, 3.5]  # what is left of b, and c, are too short
    assert all(piece.shape[-1] >= SEGMENT_SECONDS * RATE for piece in found)
    assert [len(set(np.round(piece[0].numpy(), 2))) for piece in found] == [1, 1]


def test_distances_are_zero_for_the_same_and_grow():
    wav = chirps(2 * RATE)[0]
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    for distance in (lambda a, b: mel_distance(a, b, RATE), stft_distance):
        assert distance(wav, wav) == 0.0
        assert 0 < distance(wav, wav + 0.01 * noise) < distance(wav, wav + 0.1 * noise)
    assert si_sdr(wav, 0.5 * wav) > 60
    assert si_sdr(wav, wav + noise * wav.square().mean().sqrt()) == pytest.approx(0.0, abs=0.3)


def test_a_clip_of_a_few_milliseconds_has_a_spectrum_too():
    for samples in (1, 160, 1_024):
        wav = chirps(samples)[0]
        assert mel_distance(wav, wav, RATE) == 0.0
        assert np.isfinite(texture(wav, RATE)).all()


def test_texture_does_not_depend_on_when_events_happen():
    noise = 0.1 * torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    pulses = noise * (torch.arange(2 * RATE) % 1_600 < 800)
    alike = np.linalg.norm(texture(noise, RATE) - texture(noise.roll(RATE, dims=1), RATE))
    assert alike < 0.05 * np.linalg.norm(texture(noise, RATE) - texture(pulses, RATE))
    assert texture(noise, RATE).shape == (240,)


def test_a_batch_is_reconstructed_before_its_metrics(monkeypatch):
    codec = small_codec()
    wavs = [chirps(RATE, seed=seed)[0] for seed in range(5)]
    calls = []
    monkeypatch.setattr(quality, "SEGMENTS_PER_BATCH", 3)
    for name in ("reconstruct", "compute_metrics"):
        real = getattr(quality, name)
        monkeypatch.setattr(
            quality, name, lambda *args, n=name, f=real, **options: (calls.append(n), f(*args, **options))[1]
        )
    found = list(quality.measure_all(codec, wavs, mos=False))
    assert calls == ["reconstruct"] * 3 + ["compute_metrics"] * 3 + ["reconstruct"] * 2 + ["compute_metrics"] * 2
    for each, wav in zip(found, wavs, strict=True):
        assert each.metrics["mel_l1"] == measure(codec, wav, mos=False).metrics["mel_l1"]


def test_a_clip_is_measured_at_the_codecs_level():
    codec = small_codec()
    wav = chirps(4 * RATE)[0]
    quiet, loud = (measure(codec, gain * wav, mos=False) for gain in (0.01, 0.9))
    assert quiet.metrics["mel_l1"] == pytest.approx(loud.metrics["mel_l1"], abs=1e-3)
    assert quiet.decoded.shape == wav.shape
    assert {"mel_l1", "stft", "si_sdr", "stoi", "times_real_time"} <= set(quiet.metrics)
    assert [len(level) for level in quiet.codes] == [34, 68, 136]


def test_usage_counts_codes_and_their_perplexity():
    level, other = usage([[np.array([0, 1]), np.array([2, 2])], [np.array([2, 3]), np.array([2, 2])]], (8, 4))
    assert level == {"codes": 8, "used": 4, "perplexity": 4.0}
    assert other == {"codes": 4, "used": 1, "perplexity": 1.0}


def test_bits_are_rates_times_entropy():
    codec = small_codec()  # 60, 320 and 320 codes at 8.3, 16.7 and 33.3 Hz
    rates = code_rates(codec)
    assert bits(rates, codec.config.sizes) == pytest.approx(100 / 12 * np.log2(60) + 50 * np.log2(320))
    assert bits(rates, [1.0, 2.0, 4.0]) == pytest.approx(100 / 6 + 2 * 100 / 3)


def test_spectrograms_are_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    spectrograms(tmp_path / "new" / "a.png", {"one": chirps(RATE)[0], "two": chirps(2 * RATE)[0]}, RATE)
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
