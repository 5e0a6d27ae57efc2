"""Augmentation of training crops: tempo, band limits, noise and reverberation.

Tempo and band limits change the target too. Noise and reverberation (`degrade`) change the encoder's input alone, which
trains it to remove them; the shipped codec's decoder is not trained so, since sounds such as rain are noise too.
"""

from __future__ import annotations

import numpy as np

SNR_DB = (0.0, 20.0)
REVERB_SECONDS = (0.1, 0.6)
BAND_HZ = (2_000.0, 6_000.0)
TELEPHONE_HZ = (3_000.0, 4_000.0)


def degrade(wav: np.ndarray, noise: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """wav float32 [T] with one degradation drawn: `noise` [T] added, reverberation, or a band limit; float32 [T]."""
    kind = random.integers(3)
    if kind == 0:
        return add_noise(wav, noise, random.uniform(*SNR_DB))
    if kind == 1:
        return add_reverb(wav, random.uniform(*REVERB_SECONDS), sample_rate, random)
    return band_limit(wav, random.uniform(*BAND_HZ), sample_rate)


def change_tempo(wav: np.ndarray, tempo: float) -> np.ndarray:
    """wav [T] resampled to play `tempo` times as fast, [T / tempo]; pitch and formants move by the same factor."""
    if tempo == 1.0:
        return wav
    import soxr

    return soxr.resample(wav, tempo, 1.0, quality="MQ").astype(np.float32)


def add_noise(wav: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """wav [T] with `noise` [T] at a signal-to-noise ratio of `snr_db`; unchanged where either is silent."""
    signal, other = float(np.square(wav).mean()), float(np.square(noise).mean())
    if signal == 0 or other == 0:
        return wav
    gain = (signal / other / 10 ** (snr_db / 10)) ** 0.5
    return (wav + gain * noise).astype(np.float32)


def add_reverb(wav: np.ndarray, seconds: float, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """wav [T] with reverberation of RT60 `seconds`: exponentially decaying noise after the direct sound."""
    from scipy.signal import fftconvolve

    count = max(1, int(seconds * sample_rate))
    impulse_response = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    impulse_response *= 0.7 / np.sqrt(np.square(impulse_response).sum())
    impulse_response[0] = 1.0
    return fftconvolve(wav, impulse_response)[: len(wav)].astype(np.float32)


def band_limit(wav: np.ndarray, cutoff: float, sample_rate: int) -> np.ndarray:
    """wav [T] low-passed at `cutoff` Hz, as from a narrow-band channel."""
    from scipy.signal import butter, sosfiltfilt

    if len(wav) < 64:  # shorter than the filter's own padding
        return wav
    return sosfiltfilt(butter(6, cutoff, fs=sample_rate, output="sos"), wav).astype(np.float32)
