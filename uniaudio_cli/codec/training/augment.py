"""Other voices and telephones for a crop; bad rooms and noise for the codec's input alone. Never knows files.

`degrade_probability` is 0 in the shipped recipe: a codec that removes noise would erase rain, and would be the enhancer
that the LLM is meant to be.
"""

from __future__ import annotations

import numpy as np

SNR_DB = (0.0, 20.0)
REVERB_SECONDS = (0.1, 0.6)
BAND_HZ = (2_000.0, 6_000.0)
TELEPHONE_HZ = (3_000.0, 4_000.0)


def spoiled(wav: np.ndarray, noise: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """wav float32 [T] with one of: `noise` [T] added, reverberation, or its upper band cut off; float32 [T]."""
    kind = random.integers(3)
    if kind == 0:
        return noisy(wav, noise, random.uniform(*SNR_DB))
    if kind == 1:
        return reverberant(wav, random.uniform(*REVERB_SECONDS), sample_rate, random)
    return band_limited(wav, random.uniform(*BAND_HZ), sample_rate)


def faster(wav: np.ndarray, tempo: float) -> np.ndarray:
    """wav [T] played `tempo` times as fast, [T / tempo]: pitch and formants move with it, as between two people."""
    if tempo == 1.0:
        return wav
    import soxr

    return soxr.resample(wav, tempo, 1.0, quality="MQ").astype(np.float32)


def noisy(wav: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`noise` added so that the signal is `snr_db` louder; as it was where either is silent."""
    signal, other = float(np.square(wav).mean()), float(np.square(noise).mean())
    if signal == 0 or other == 0:
        return wav
    gain = (signal / other / 10 ** (snr_db / 10)) ** 0.5
    return (wav + gain * noise).astype(np.float32)


def reverberant(wav: np.ndarray, seconds: float, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """`wav` in a room that takes `seconds` to fall by 60 dB: noise that decays, after the direct sound."""
    from scipy.signal import fftconvolve

    count = max(1, int(seconds * sample_rate))
    room = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    room *= 0.7 / np.sqrt(np.square(room).sum())
    room[0] = 1.0
    return fftconvolve(wav, room)[: len(wav)].astype(np.float32)


def band_limited(wav: np.ndarray, cutoff: float, sample_rate: int) -> np.ndarray:
    """`wav` without what is above `cutoff` Hz, as from a narrow channel."""
    from scipy.signal import butter, sosfiltfilt

    if len(wav) < 64:  # shorter than the filter's own padding
        return wav
    return sosfiltfilt(butter(6, cutoff, fs=sample_rate, output="sos"), wav).astype(np.float32)
