"""What the codec is trained towards: one function of tensors a loss, weighted by the recipe. Never knows data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.audio.features import FLOOR, mel_filters, spectral_distance
from uniaudio_cli.codec.quantizer import SIMILARITY_SCALE, LevelOutput, Quantised

SPREAD_SHARPNESS = 48.0  # sharper: the spread that counts is that of the hard choices
BANDS = 6
BAND_WINDOW = 1024


class SpectralLoss(nn.Module):
    """Distance of two wavs [B, 1, T] over several resolutions: {mel, stft, subband}, three scalars.

    mel: L1 between log-mel spectra. stft: spectral convergence plus L1 between log-magnitudes. Both use one STFT per
    window, hop a quarter of it. subband: the stft distance of each of six equal bands of the 1,024 window by itself, so
    that what is weak above 4 kHz counts as much as what is strong below.
    """

    def __init__(
        self, sample_rate: int, windows: Sequence[int] = (256, 512, 1024, 2048), bins: Sequence[int] = (24, 48, 80, 128)
    ) -> None:
        super().__init__()
        self.windows = tuple(windows)
        for window, count in zip(windows, bins, strict=True):
            self.register_buffer(f"hann_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"mel_{window}", mel_filters(count, window, sample_rate), persistent=False)

    def magnitude(self, wav: Tensor, window: int) -> Tensor:
        hann = self.get_buffer(f"hann_{window}")
        spectrum = torch.stft(wav[:, 0], window, window // 4, window=hann, center=True, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt() * (2 / window) ** 0.5

    def forward(self, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        mel, stft, subband = (made.new_zeros(()) for _ in range(3))
        for window in self.windows:
            a = self.magnitude(made, window)
            with torch.no_grad():
                b = self.magnitude(target, window)
            filters = self.get_buffer(f"mel_{window}")
            mel = mel + F.l1_loss((filters @ a + FLOOR).log(), (filters @ b + FLOOR).log())
            stft = stft + spectral_distance(a, b)
            if window == BAND_WINDOW:
                bands = zip(a.tensor_split(BANDS, dim=1), b.tensor_split(BANDS, dim=1), strict=True)
                subband = torch.stack([spectral_distance(low, high) for low, high in bands]).mean()
        return {"mel": mel / len(self.windows), "stft": stft / len(self.windows), "subband": subband}


class LoudnessLoss(nn.Module):
    """How much louder or softer each critical band sounds: `made`, `target` wavs [B, 1, T] -> a scalar from 0 to 6.

    After the perceptual model of PESQ (ITU-T P.862, 10.2): power per Bark band, the band's and the frame's gain taken
    off, Zwicker's loudness, differences under a quarter of the loudness masked, what was added counting more than what
    is missing, frames of 32 ms joined by a sixth-power mean over a third of a second. Bands and thresholds of hearing
    come from Traunmueller's and Terhardt's formulas in place of its tables, nothing is aligned, and no filter imitates
    a receiver. 4.5 less this goes with PESQ (docs/LOG.md). `level_db`: the active level of speech at 79 dB.
    """

    WINDOW, BANDS, SPEECH_DB, POWER = 512, 49, 79.0, 0.23
    JOINED, STEP = 20, 10  # frames

    filters: Tensor
    voice: Tensor
    threshold: Tensor
    hann: Tensor

    def __init__(self, sample_rate: int, level_db: float) -> None:
        super().__init__()
        barks = 6 * torch.asinh(torch.linspace(0, sample_rate / 2, self.WINDOW // 2 + 1, dtype=torch.float64) / 600)
        self.width = float(barks[-1]) / self.BANDS
        centres = (torch.arange(self.BANDS, dtype=torch.float64) + 0.5) * self.width
        self.register_buffer(
            "filters", (1 - (barks - centres[:, None]).abs() / self.width).clamp(min=0).float(), persistent=False
        )
        hertz = 600 * torch.sinh(centres / 6)
        self.register_buffer("voice", ((hertz > 325) & (hertz < 3250)).float(), persistent=False)
        khz = (hertz / 1000).clamp(min=0.05)
        quiet_db = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
        threshold = (10 ** (quiet_db.clamp(max=70) / 10)).float()
        self.register_buffer("threshold", threshold[:, None], persistent=False)
        self.register_buffer("hann", torch.hann_window(self.WINDOW), persistent=False)
        # What white noise at `level_db` adds up to over the bins, brought to SPEECH_DB.
        spread = self.WINDOW // 2 * float(self.hann.square().sum())
        self.scale = 10 ** ((self.SPEECH_DB - level_db) / 10) / spread

    def bands(self, wav: Tensor) -> Tensor:
        """[B, 1, T] -> power per band [B, 49, frames]."""
        spectrum = torch.stft(
            wav[:, 0], self.WINDOW, self.WINDOW // 2, window=self.hann, center=False, return_complex=True
        )
        return self.scale * (self.filters @ (spectrum.real.square() + spectrum.imag.square()))

    def loudness(self, power: Tensor) -> Tensor:
        above = (0.5 + 0.5 * power / self.threshold) ** self.POWER - 1
        return ((self.threshold / 0.5) ** self.POWER * above).clamp(min=0)

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        made, target = self.bands(made), self.bands(target)
        # Both at one level, or what is softer all through would seem to be better.
        made = made * ((self.voice @ target + 1e3).mean(-1) / (self.voice @ made + 1e3).mean(-1))[:, None, None]
        whole = target.sum(dim=1, keepdim=True)
        active = (whole > 1e4).float()
        band_gain = ((made * active).mean(-1, keepdim=True) + 1e3) / ((target * active).mean(-1, keepdim=True) + 1e3)
        target = target * band_gain.clamp(0.01, 100)
        frame_gain = (target.sum(dim=1, keepdim=True) + 5e3) / (made.sum(dim=1, keepdim=True) + 5e3)
        made = made * frame_gain.clamp(3e-4, 5)
        louder, softer = self.loudness(made), self.loudness(target)
        difference = louder - softer
        heard = (difference.abs() - 0.25 * torch.minimum(louder, softer)).clamp(min=0)
        added = ((made + 50) / (target + 50)).detach() ** 1.2
        added = torch.where(added < 3, 0.0, added.clamp(max=12))
        importance = ((whole[:, 0] + 1e5) / 1e7) ** 0.04
        plain = ((heard * self.width).square().sum(dim=1) + 1e-9).sqrt() * (self.BANDS * self.width) ** 0.5
        skewed = (heard * added * self.width).sum(dim=1)
        return (0.1 * self._joined(plain / importance) + 0.0309 * self._joined(skewed / importance)).mean()

    def _joined(self, frames: Tensor) -> Tensor:
        """[B, frames] -> [B]."""
        frames = frames.clamp(max=45) + 1e-3
        parts = frames.unfold(-1, min(self.JOINED, frames.shape[-1]), self.STEP)
        return parts.pow(6).mean(dim=-1).pow(1 / 6).square().mean(dim=-1).sqrt()


class EnvelopeLoss(nn.Module):
    """How unlike the envelopes of third octaves are: `made`, `target` wavs [B, 1, T] -> a scalar from 0 to 2.

    One less the correlation over a third of a second that STOI is the mean of (Taal et al., 2011), on the codec's own
    sample rate and with soft parts weighed down in place of left out.
    """

    WINDOW_SECONDS, BANDS, LOWEST_HZ, JOINED = 0.0256, 15, 150.0, 30
    CLIPPED = 1 + 10 ** (15 / 20)

    filters: Tensor
    hann: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.window = round(self.WINDOW_SECONDS * sample_rate)
        self.fft = 1 << (self.window - 1).bit_length()
        hertz = torch.linspace(0, sample_rate / 2, self.fft // 2 + 1)
        centres = self.LOWEST_HZ * 2 ** (torch.arange(self.BANDS) / 3)
        within = (hertz >= centres[:, None] * 2 ** (-1 / 6)) & (hertz < centres[:, None] * 2 ** (1 / 6))
        self.register_buffer("filters", within.float(), persistent=False)
        self.register_buffer("hann", torch.hann_window(self.window), persistent=False)

    def envelopes(self, wav: Tensor) -> Tensor:
        """[B, 1, T] -> [B, 15, parts, 30], one part every five frames; a short wav is padded to one part."""
        least = self.fft + (self.JOINED - 1) * (self.window // 2)
        padded = F.pad(wav[:, 0], (0, max(0, least - wav.shape[-1])))
        spectrum = torch.stft(
            padded, self.fft, self.window // 2, self.window, window=self.hann, center=False, return_complex=True
        )
        bands = (self.filters @ (spectrum.real.square() + spectrum.imag.square()) + 1e-9).sqrt()
        return bands.unfold(-1, self.JOINED, 5)

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        made, target = self.envelopes(made), self.envelopes(target)
        power = target.square().sum(dim=-1, keepdim=True)
        made = made * (power / made.square().sum(dim=-1, keepdim=True)).sqrt()
        made = torch.minimum(made, self.CLIPPED * target)
        made, target = (part - part.mean(dim=-1, keepdim=True) for part in (made, target))
        likeness = F.cosine_similarity(made, target, dim=-1, eps=1e-6)
        loud = power[..., 0].sum(dim=1, keepdim=True)
        weight = (loud / (loud.amax(dim=-1, keepdim=True) * 1e-3 + 1e-9)).clamp(max=1.0)
        return 1 - (likeness * weight).sum() / (weight.expand_as(likeness).sum() + 1e-9)


def commitment(quantised: Quantised) -> Tensor:
    """The latent is pulled towards its code, summed over levels."""
    return torch.stack([F.mse_loss(level.latent, level.chosen.detach()) for level in quantised.levels]).sum()


def codebook(quantised: Quantised) -> Tensor:
    """The code (through its trainable projection) is pulled towards the latent, summed over levels."""
    return torch.stack([F.mse_loss(level.chosen, level.latent.detach()) for level in quantised.levels]).sum()


def negative_entropy(quantised: Quantised) -> Tensor:
    """Minus the entropy of the mean soft assignment, summed over levels: low when a batch spreads over the codes.

    A frozen codebook cannot move to where the latents are, and collapses without this term.
    """
    total = []
    for level in quantised.levels:
        mean = (SPREAD_SHARPNESS * level.similarity).softmax(dim=-1).mean(dim=(0, 1))
        total.append((mean * (mean + 1e-8).log()).sum())
    return torch.stack(total).sum()


def cycle_loss(latent: Tensor, coarse: LevelOutput, again: Tensor, coarse_again: LevelOutput) -> Tensor:
    """How unlike the codec hears what it decoded to what it had heard: `latent`, `again` [B, D, F] and their level 0.

    The distance of the latents, and that of what level 0 may have been, as `unit_loss` sees it. No judge has a part in
    it, yet judges of words and of sounds agree with it (docs/LOG.md).
    """
    heard, heard_again = ((SIMILARITY_SCALE * each.similarity).log_softmax(dim=-1) for each in (coarse, coarse_again))
    divergence = F.kl_div(heard_again, heard.detach(), log_target=True, reduction="none").sum(dim=-1).mean()
    return F.mse_loss(again, latent.detach()) + divergence


def unit_loss(level: LevelOutput, units: Tensor) -> Tensor:
    """Level 0 names the teacher's unit of each frame: cross-entropy. `units`: int64 [B, T], -1 where unknown."""
    logits = (SIMILARITY_SCALE * level.similarity).flatten(0, 1)
    known = units.flatten() >= 0
    if not bool(known.any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits[known], units.flatten()[known])


def semantic_loss(prediction: Tensor, vectors: Tensor) -> Tensor:
    """Mean squared distance of a clip's mean level-0 output to its text's vector. Both [B, R]; NaN rows are unknown."""
    return consistency_loss(prediction[:, None], vectors[:, None])


def consistency_loss(prediction: Tensor, features: Tensor) -> Tensor:
    """Mean squared distance to the teacher's features where there are any. Both [B, T, R]; NaN rows are unknown."""
    known = ~features.isnan().any(dim=-1)
    if not bool(known.any()):
        return prediction.sum() * 0.0
    return F.mse_loss(prediction[known], features[known])
