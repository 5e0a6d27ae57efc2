"""TODO."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mel_filters(bins: int, fft: int, sample_rate: int) -> Tensor:
    """Triangular HTK-mel filters of equal peak, [bins, fft // 2 + 1], 0 Hz to Nyquist."""
    edges = torch.linspace(0, 2595 * math.log10(1 + sample_rate / 2 / 700), bins + 2, dtype=torch.float64)
    edges = 700 * (10 ** (edges / 2595) - 1)
    frequencies = torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)
    rising = (frequencies[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies[None]) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


MEL_WINDOW, MEL_HOP, MEL_BINS = 1024, 256, 80


LOUD = 4.0  # nats below the loudest frame


FLOOR = 1e-3  # of magnitudes under a logarithm


def log_mel(wav: Tensor, sample_rate: int) -> Tensor:
    """wav float32 [1, T] -> log-mel spectrum [80, T / 256 + 1], in nats, 64-ms windows; a clip that is shorter than one
    is padded with silence."""
    wav = F.pad(wav, (0, max(0, MEL_WINDOW - wav.shape[-1])))
    window, filters = torch.hann_window(MEL_WINDOW), mel_filters(MEL_BINS, MEL_WINDOW, sample_rate)
    spectrum = torch.stft(wav[0], MEL_WINDOW, MEL_HOP, window=window, return_complex=True).abs()
    return (filters @ spectrum + FLOOR).log()


def texture(wav: Tensor, sample_rate: int) -> np.ndarray:
    """What a sound is like, whenever what happens in it: for every band of the log-mel spectrum of wav [1, T] the mean,
    the spread and the spread of the change from one frame to the next. float32 [240]."""
    bands = log_mel(wav, sample_rate).numpy()
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1), np.diff(bands, axis=1).std(axis=1)])


def mel_distance(target: Tensor, made: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log-mel spectra, in nats."""
    return float((log_mel(target, sample_rate) - log_mel(made, sample_rate)).abs().mean())


def loud_distance(target: Tensor, made: Tensor, sample_rate: int) -> float:
    """`mel_distance` over the frames of the target that are near its loudest: what a listener goes by."""
    a, b = log_mel(target, sample_rate), log_mel(made, sample_rate)
    loudness = a.mean(dim=0)
    return float((a - b)[:, loudness > loudness.max() - LOUD].abs().mean())


def stft_distance(target: Tensor, made: Tensor) -> float:
    """`spectral_distance` of wavs [1, T], the mean over windows of 512 to 2,048."""
    found = []
    for window in (512, 1024, 2048):
        hann = torch.hann_window(window)
        a, b = (
            torch.stft(wav[0], window, window // 4, window=hann, return_complex=True).abs() for wav in (made, target)
        )
        found.append(spectral_distance(a, b))
    return float(torch.stack(found).mean())


def spectral_distance(made: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence plus L1 between log-magnitudes, a scalar; both [..., bins, T]. A training loss too."""
    convergence = torch.linalg.vector_norm(made - target) / torch.linalg.vector_norm(target).clamp(min=FLOOR)
    return convergence + F.l1_loss((made + FLOOR).log(), (target + FLOOR).log())
