"""Spectral features: every mel spectrogram of the package, its filter banks, and distances between spectra.

One STFT and one filter bank serve the codec's encoder, its losses and discriminators, the quality measures, YAMNet's
and Whisper's inputs and the prosody measures. Tensors are [.., T] in and [.., bands, frames] out.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.audio.load_librosa import load_librosa

FLOOR = 1e-3  # added to magnitudes under a logarithm
MEL_FFT, MEL_HOP, MEL_BINS = 1024, 256, 80  # of `log_mel`


def mel_filters(bins: int, fft: int, sample_rate: int) -> Tensor:
    """Triangular filters on the HTK mel scale, of equal peak, from 0 Hz to Nyquist: float32 [bins, fft // 2 + 1]."""
    return _triangles(_htk_edges(bins, 0, sample_rate / 2), fft, sample_rate).float()


def _htk_edges(bins: int, lowest_hz: float, highest_hz: float) -> Tensor:
    """Edges and centres of `bins` bands on the HTK mel scale, in Hz: float64 [bins + 2]."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (lowest_hz, highest_hz))
    return 700 * (10 ** (torch.linspace(lowest, highest, bins + 2, dtype=torch.float64) / 2595) - 1)


def _slaney_edges(bins: int, highest_hz: float) -> Tensor:
    """`_htk_edges` from 0 Hz on Slaney's mel scale: linear up to 1 kHz, logarithmic above."""
    step = math.log(6.4) / 27
    highest = 15 + math.log(highest_hz / 1000) / step
    mels = torch.linspace(0, highest, bins + 2, dtype=torch.float64)
    return torch.where(mels < 15, mels * 200 / 3, 1000 * torch.exp(step * (mels - 15)))


def _triangles(edges: Tensor, fft: int, sample_rate: int) -> Tensor:
    """Triangular filters of peak 1 between `edges` in Hz [bins + 2]: float64 [bins, fft // 2 + 1]."""
    frequencies = torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)
    rising = (frequencies[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies[None]) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


def _of_equal_area(edges: Tensor, fft: int, sample_rate: int) -> Tensor:
    """`_triangles` of area 1 in Hz, float32."""
    return (_triangles(edges, fft, sample_rate) * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


def bark_filters(bands: int, fft: int, sample_rate: int) -> tuple[Tensor, Tensor, float]:
    """Triangular filters of equal width on Traunmueller's Bark scale.

    Returns:
        float32 [bands, fft // 2 + 1]; the centres in Hz, float64 [bands]; the width of a band in Bark.
    """
    barks = 6 * torch.asinh(torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64) / 600)
    width = float(barks[-1]) / bands
    centres = (torch.arange(bands, dtype=torch.float64) + 0.5) * width
    filters = (1 - (barks - centres[:, None]).abs() / width).clamp(min=0).float()
    return filters, 600 * torch.sinh(centres / 6), width


def third_octave_filters(bands: int, lowest_hz: float, fft: int, sample_rate: int) -> Tensor:
    """Rectangular third-octave bands, the lowest centred on `lowest_hz`: float32 [bands, fft // 2 + 1], 0 or 1."""
    hertz = torch.linspace(0, sample_rate / 2, fft // 2 + 1)
    centres = lowest_hz * 2 ** (torch.arange(bands) / 3)
    return ((hertz >= centres[:, None] * 2 ** (-1 / 6)) & (hertz < centres[:, None] * 2 ** (1 / 6))).float()


def power_spectrum(wav: Tensor, fft: int, hop: int, window: Tensor, center: bool = False) -> Tensor:
    """wav [B, T] -> power per bin [B, fft // 2 + 1, frames]. `window`: [up to fft]. Differentiable at silence."""
    spectrum = torch.stft(wav, fft, hop, len(window), window=window, center=center, return_complex=True)
    return spectrum.real.square() + spectrum.imag.square()


class LogMel(nn.Module):
    """Log-mel spectrogram: wav [B, T] -> [B, bins, frames], in nats; hann window of `fft` samples.

    Args:
        center: pad by reflection, so that frame t is centred on sample hop * t; otherwise the first frame starts at 0.
        eps: added to the power of every bin, which keeps the gradient at silence finite; 0 for features alone.
        scale: of magnitudes.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int,
        fft: int,
        hop: int,
        bins: int,
        center: bool = True,
        eps: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.fft, self.hop, self.center, self.eps, self.scale = fft, hop, center, eps, scale
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        self.register_buffer("filters", mel_filters(bins, fft, sample_rate), persistent=False)

    def magnitude(self, wav: Tensor) -> Tensor:
        """wav [B, T] -> magnitudes [B, fft // 2 + 1, frames]."""
        if self.eps:
            power = power_spectrum(wav, self.fft, self.hop, self.window, self.center)
            return (power + self.eps).sqrt() * self.scale
        window, center = self.window, self.center
        return torch.stft(wav, self.fft, self.hop, window=window, center=center, return_complex=True).abs() * self.scale

    def bands(self, magnitude: Tensor) -> Tensor:
        """Magnitudes of bins -> log magnitudes of mel bands."""
        return (self.filters @ magnitude + FLOOR).log()

    def forward(self, wav: Tensor) -> Tensor:
        return self.bands(self.magnitude(wav))


@lru_cache(maxsize=4)
def _log_mel_at(sample_rate: int) -> LogMel:
    return LogMel(sample_rate, MEL_FFT, MEL_HOP, MEL_BINS)


def log_mel(wav: Tensor, sample_rate: int) -> Tensor:
    """wav float32 [1, T] -> log-mel spectrogram [80, T / 256 + 1], in nats, of 64-ms windows at 16 kHz.

    A clip that is shorter than a window is padded with silence.
    """
    padded = F.pad(wav, (0, max(0, MEL_FFT - wav.shape[-1])))
    return _log_mel_at(sample_rate)(padded)[0]


def texture(wav: Tensor, sample_rate: int) -> np.ndarray:
    """Statistics of a clip's log-mel spectrogram over time, which do not depend on when events happen.

    wav [1, T] -> float32 [240]: for every band the mean, the standard deviation, and that of the frame-to-frame change.
    """
    bands = log_mel(wav, sample_rate).numpy()
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1), np.diff(bands, axis=1).std(axis=1)])


def frame_texture(wav: np.ndarray, frame_length: int, sample_rate: int = 16_000) -> np.ndarray:
    """Mean and standard deviation of 40 log-mel bands in eight frames around each frame of `frame_length` samples.

    wav float32 [T] -> float16 [T // frame_length, 80].
    """
    librosa = load_librosa()
    hops, context = 6, 48  # mel frames in a frame, and in its context
    frames = len(wav) // frame_length
    mel = librosa.feature.melspectrogram(
        y=wav, sr=sample_rate, n_fft=1024, hop_length=frame_length // hops, n_mels=40, power=1
    )
    padded = np.pad(np.log(mel.T + FLOOR), ((context // 2, context // 2 + hops), (0, 0)), mode="edge")
    parts = [padded[start : start + context] for start in range(0, frames * hops, hops)]
    return np.stack([np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in parts]).astype(np.float16)


def mel_distance(target: Tensor, decoded: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of the log-mel spectrograms of wavs [1, T], in nats."""
    return float((log_mel(target, sample_rate) - log_mel(decoded, sample_rate)).abs().mean())


def stft_distance(target: Tensor, decoded: Tensor) -> float:
    """`spectral_distance` of wavs [1, T]: the mean over STFT windows of 512, 1,024 and 2,048 samples."""
    found = []
    for window in (512, 1024, 2048):
        hann = torch.hann_window(window)
        a, b = (
            torch.stft(wav[0], window, window // 4, window=hann, return_complex=True).abs() for wav in (decoded, target)
        )
        found.append(spectral_distance(a, b))
    return float(torch.stack(found).mean())


def spectral_distance(decoded: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence plus L1 between log-magnitudes, a scalar; both [..., bins, frames]. Also a training loss."""
    convergence = torch.linalg.vector_norm(decoded - target) / torch.linalg.vector_norm(target).clamp(min=FLOOR)
    return convergence + F.l1_loss((decoded + FLOOR).log(), (target + FLOOR).log())


def yamnet_log_mel(wav: np.ndarray) -> np.ndarray:
    """YAMNet's input: wav float32 [T] at 16 kHz -> log-mel spectrogram float32 [frames of 10 ms, 64], 125 to 7,500 Hz.

    A clip that is shorter than a second is padded with silence to one, which holds a patch of 0.96 s.
    """
    # 256 samples on both sides centre the first frame at the first sample.
    padded = np.pad(np.asarray(wav, np.float32), (256, 256 + max(0, 16_000 - len(wav))))
    magnitude = power_spectrum(torch.from_numpy(padded)[None], 512, 160, torch.hann_window(400))[0].sqrt()
    return (_yamnet_filters() @ magnitude + FLOOR).log().T.numpy()


@lru_cache(maxsize=1)
def _yamnet_filters() -> Tensor:
    return _of_equal_area(_htk_edges(64, 125, 7500), 512, 16_000)


def whisper_log_mel(wav: np.ndarray, bins: int = 80) -> np.ndarray:
    """Whisper's input: wav float32 [T] at 16 kHz -> float32 [bins, T // 160], normalised as `whisper.audio` does.

    Values lie within 2 of the clip's maximum: log10 power, clipped 8 below its maximum, plus 4, divided by 4.
    """
    samples = torch.from_numpy(np.ascontiguousarray(wav, dtype=np.float32))[None]
    power = power_spectrum(samples, 400, 160, torch.hann_window(400), center=True)[0, :, :-1]
    log = (_slaney_filters(bins, 400, 16_000) @ power).clamp(min=1e-10).log10()
    return ((torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0).numpy()


@lru_cache(maxsize=4)
def _slaney_filters(bins: int, fft: int, sample_rate: int) -> Tensor:
    return _of_equal_area(_slaney_edges(bins, sample_rate / 2), fft, sample_rate)


def band_change_db(power: np.ndarray, sample_rate: int, bands: int = 32) -> np.ndarray:
    """How much each mel band changes from frame to frame, in dB: [bins, frames] -> [bands, frames - 1], 0 or more.

    Bands more than 60 dB below the loudest are raised to that floor.
    """
    librosa = load_librosa()
    mel = librosa.feature.melspectrogram(S=power, sr=sample_rate, n_fft=2 * (len(power) - 1), n_mels=bands)
    return np.abs(np.diff(librosa.power_to_db(mel, ref=np.max, top_db=60.0), axis=1))
