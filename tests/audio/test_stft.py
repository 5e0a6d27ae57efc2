"""Spectra of blocks, and back."""

from __future__ import annotations

import numpy as np
import pytest

from uniaudio_cli.audio.stft import BlockFilter, spectra_of


@pytest.mark.parametrize("samples", [1, 5, 511, 512, 513, 20_000])
@pytest.mark.parametrize("block", [1, 256, 700, 20_000])
def test_spectra_left_alone_give_the_signal_back(samples, block):
    if samples / block > 2_000:
        pytest.skip("slow, and covered by shorter signals")
    wav = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    filter_ = BlockFilter(2, 16_000, lambda spectra: spectra)
    made = [filter_.push(wav[:, start : start + block]) for start in range(0, samples, block)]
    made = np.concatenate([*made, filter_.finish()], axis=1)
    np.testing.assert_allclose(made, wav, atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 48_000])
def test_a_tone_is_in_its_bin_at_any_rate(rate):
    wav = np.sin(2 * np.pi * 1_000 * np.arange(rate) / rate).astype(np.float32)
    power = np.square(np.abs(spectra_of(wav, rate)))[5:-5].mean(axis=0)
    assert power.argmax() == 32  # 31.25 Hz a bin
    assert power.max() == pytest.approx(0.1, rel=0.1)  # whatever the rate
