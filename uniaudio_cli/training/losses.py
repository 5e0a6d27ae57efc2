"""The training losses, one function or module each; the recipe weights them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.audio.features import LogMel, bark_filters, power_spectrum, spectral_distance, third_octave_filters
from uniaudio_cli.codec.quantizer import SIMILARITY_SCALE, LevelOutput, Quantized

ENTROPY_SCALE = 48.0  # larger than SIMILARITY_SCALE, so that the entropy is close to that of the hard codes
BANDS = 6
BAND_WINDOW = 1024


class SpectralLoss(nn.Module):
    """Distance of two wavs [B, 1, T] over several resolutions: {mel, stft, subband}, three scalars.

    mel: L1 between log-mel spectrograms. stft: spectral convergence plus L1 between log-magnitudes. Both use one STFT
    per window, of a hop of a quarter of it. subband: the mean stft distance of six equal bands of the 1,024 window, so
    that weak components above 4 kHz weigh as much as strong ones below (UniAudio 1.5, section 3.2).
    """

    def __init__(
        self, sample_rate: int, windows: Sequence[int] = (256, 512, 1024, 2048), bins: Sequence[int] = (24, 48, 80, 128)
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            LogMel(sample_rate, window, window // 4, count, eps=1e-8, scale=(2 / window) ** 0.5)
            for window, count in zip(windows, bins, strict=True)
        )

    def forward(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        mel, stft, subband = (decoded.new_zeros(()) for _ in range(3))
        for scale in self.scales:
            assert isinstance(scale, LogMel)
            a = scale.magnitude(decoded[:, 0])
            with torch.no_grad():
                b = scale.magnitude(target[:, 0])
            mel = mel + F.l1_loss(scale.bands(a), scale.bands(b))
            stft = stft + spectral_distance(a, b)
            if scale.fft == BAND_WINDOW:
                bands = zip(a.tensor_split(BANDS, dim=1), b.tensor_split(BANDS, dim=1), strict=True)
                subband = torch.stack([spectral_distance(low, high) for low, high in bands]).mean()
        return {"mel": mel / len(self.scales), "stft": stft / len(self.scales), "subband": subband}


class LoudnessLoss(nn.Module):
    """Difference in loudness per critical band: wavs [B, 1, T] -> a scalar from 0 to 6, differentiable.

    Follows the perceptual model of PESQ (ITU-T P.862, 10.2): power per Bark band, gain compensation per band and per
    frame, Zwicker's loudness, masking of differences below a quarter of the loudness, added components weighted more
    than missing ones, frames of 32 ms pooled by a sixth-power mean over a third of a second. Bands and thresholds of
    hearing come from Traunmueller's and Terhardt's formulas in place of the standard's tables. There is no time
    alignment and no receiver filter. 4.5 minus this value correlates with PESQ (docs/LOG.md). `level_db`: the active
    level, in dB full scale, of speech at 79 dB SPL.
    """

    WINDOW, BANDS, SPEECH_DB, POWER = 512, 49, 79.0, 0.23
    POOLED, STEP = 20, 10  # frames

    filters: Tensor
    voice: Tensor
    threshold: Tensor
    hann: Tensor

    def __init__(self, sample_rate: int, level_db: float) -> None:
        super().__init__()
        filters, hertz, self.width = bark_filters(self.BANDS, self.WINDOW, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("voice", ((hertz > 325) & (hertz < 3250)).float(), persistent=False)
        khz = (hertz / 1000).clamp(min=0.05)
        quiet_db = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
        threshold = (10 ** (quiet_db.clamp(max=70) / 10)).float()
        self.register_buffer("threshold", threshold[:, None], persistent=False)
        self.register_buffer("hann", torch.hann_window(self.WINDOW), persistent=False)
        # From the summed power of white noise at `level_db` to that at SPEECH_DB.
        spread = self.WINDOW // 2 * float(self.hann.square().sum())
        self.scale = 10 ** ((self.SPEECH_DB - level_db) / 10) / spread

    def bands(self, wav: Tensor) -> Tensor:
        """[B, 1, T] -> power per band [B, 49, frames]."""
        return self.scale * (self.filters @ power_spectrum(wav[:, 0], self.WINDOW, self.WINDOW // 2, self.hann))

    def loudness(self, power: Tensor) -> Tensor:
        """Power per band -> Zwicker's loudness per band."""
        above = (0.5 + 0.5 * power / self.threshold) ** self.POWER - 1
        return ((self.threshold / 0.5) ** self.POWER * above).clamp(min=0)

    def forward(self, decoded: Tensor, target: Tensor) -> Tensor:
        decoded, target = self.bands(decoded), self.bands(target)
        # At one overall level; otherwise a softer copy would have the lower loss.
        level = (self.voice @ target + 1e3).mean(-1) / (self.voice @ decoded + 1e3).mean(-1)
        decoded = decoded * level[:, None, None]
        whole = target.sum(dim=1, keepdim=True)
        active = (whole > 1e4).float()
        band_gain = ((decoded * active).mean(-1, keepdim=True) + 1e3) / ((target * active).mean(-1, keepdim=True) + 1e3)
        target = target * band_gain.clamp(0.01, 100)
        frame_gain = (target.sum(dim=1, keepdim=True) + 5e3) / (decoded.sum(dim=1, keepdim=True) + 5e3)
        decoded = decoded * frame_gain.clamp(3e-4, 5)
        louder, softer = self.loudness(decoded), self.loudness(target)
        difference = louder - softer
        audible = (difference.abs() - 0.25 * torch.minimum(louder, softer)).clamp(min=0)
        added = ((decoded + 50) / (target + 50)).detach() ** 1.2
        added = torch.where(added < 3, 0.0, added.clamp(max=12))
        importance = ((whole[:, 0] + 1e5) / 1e7) ** 0.04
        plain = ((audible * self.width).square().sum(dim=1) + 1e-9).sqrt() * (self.BANDS * self.width) ** 0.5
        skewed = (audible * added * self.width).sum(dim=1)
        return (0.1 * self._pooled(plain / importance) + 0.0309 * self._pooled(skewed / importance)).mean()

    def _pooled(self, frames: Tensor) -> Tensor:
        """[B, frames] -> [B]."""
        frames = frames.clamp(max=45) + 1e-3
        parts = frames.unfold(-1, min(self.POOLED, frames.shape[-1]), self.STEP)
        return parts.pow(6).mean(dim=-1).pow(1 / 6).square().mean(dim=-1).sqrt()


class EnvelopeLoss(nn.Module):
    """Decorrelation of third-octave envelopes: wavs [B, 1, T] -> a scalar from 0 to 2, differentiable.

    One minus STOI's correlation over a third of a second (Taal et al., 2011), at the codec's own sample rate. Soft
    segments get low weights instead of being left out.
    """

    WINDOW_SECONDS, BANDS, LOWEST_HZ, SEGMENT = 0.0256, 15, 150.0, 30
    CLIPPED = 1 + 10 ** (15 / 20)

    filters: Tensor
    hann: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.window = round(self.WINDOW_SECONDS * sample_rate)
        self.fft = 1 << (self.window - 1).bit_length()
        filters = third_octave_filters(self.BANDS, self.LOWEST_HZ, self.fft, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(self.window), persistent=False)

    def envelopes(self, wav: Tensor) -> Tensor:
        """[B, 1, T] -> [B, 15, segments, 30], a segment every five frames; a short wav is padded to one segment."""
        least = self.fft + (self.SEGMENT - 1) * (self.window // 2)
        padded = F.pad(wav[:, 0], (0, max(0, least - wav.shape[-1])))
        power = power_spectrum(padded, self.fft, self.window // 2, self.hann)
        return (self.filters @ power + 1e-9).sqrt().unfold(-1, self.SEGMENT, 5)

    def forward(self, decoded: Tensor, target: Tensor) -> Tensor:
        decoded, target = self.envelopes(decoded), self.envelopes(target)
        power = target.square().sum(dim=-1, keepdim=True)
        decoded = decoded * (power / decoded.square().sum(dim=-1, keepdim=True)).sqrt()
        decoded = torch.minimum(decoded, self.CLIPPED * target)
        decoded, target = (part - part.mean(dim=-1, keepdim=True) for part in (decoded, target))
        correlation = F.cosine_similarity(decoded, target, dim=-1, eps=1e-6)
        loud = power[..., 0].sum(dim=1, keepdim=True)
        weight = (loud / (loud.amax(dim=-1, keepdim=True) * 1e-3 + 1e-9)).clamp(max=1.0)
        return 1 - (correlation * weight).sum() / (weight.expand_as(correlation).sum() + 1e-9)


def commitment_loss(quantized: Quantized) -> Tensor:
    """Mean squared distance of the latent to its code, with a gradient for the latent; the sum over levels."""
    return torch.stack([F.mse_loss(level.latent, level.quantized.detach()) for level in quantized.levels]).sum()


def codebook_loss(quantized: Quantized) -> Tensor:
    """The same distance, with a gradient for the code's projection; the sum over levels."""
    return torch.stack([F.mse_loss(level.quantized, level.latent.detach()) for level in quantized.levels]).sum()


def entropy_loss(quantized: Quantized) -> Tensor:
    """Minus the entropy of a batch's mean soft assignment to codes, in nats; the sum over levels.

    A frozen codebook cannot move towards the latents, and collapses to few used codes without this term.
    """
    total = []
    for level in quantized.levels:
        mean = (ENTROPY_SCALE * level.similarity).softmax(dim=-1).mean(dim=(0, 1))
        total.append((mean * (mean + 1e-8).log()).sum())
    return torch.stack(total).sum()


def cycle_loss(latent: Tensor, coarse: LevelOutput, reencoded: Tensor, coarse_reencoded: LevelOutput) -> Tensor:
    """Cycle consistency of the codec: the encoding of its decoded wav against that of the original.

    `latent`, `reencoded`: [B, D, F], with the outputs of level 0. Mean squared distance of the latents plus the KL
    divergence of level 0's distributions over codes. Recognition of decoded words and sounds improves with it
    (docs/LOG.md).
    """
    before, after = ((SIMILARITY_SCALE * each.similarity).log_softmax(dim=-1) for each in (coarse, coarse_reencoded))
    divergence = F.kl_div(after, before.detach(), log_target=True, reduction="none").sum(dim=-1).mean()
    return F.mse_loss(reencoded, latent.detach()) + divergence


def unit_loss(level: LevelOutput, units: Tensor) -> Tensor:
    """Cross-entropy of level 0 with the teacher's unit of each frame. `units`: int64 [B, T], -1 where unknown."""
    logits = (SIMILARITY_SCALE * level.similarity).flatten(0, 1)
    known = units.flatten() >= 0
    if not bool(known.any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits[known], units.flatten()[known])


def semantic_loss(prediction: Tensor, vectors: Tensor) -> Tensor:
    """Mean squared distance of a clip's mean level-0 output to its text's vector, [B, R] each; NaN rows unknown."""
    return consistency_loss(prediction[:, None], vectors[:, None])


def consistency_loss(prediction: Tensor, features: Tensor) -> Tensor:
    """Mean squared distance to the teacher's features. Both [B, T, R]; NaN rows are unknown and left out."""
    known = ~features.isnan().any(dim=-1)
    if not bool(known.any()):
        return prediction.sum() * 0.0
    return F.mse_loss(prediction[known], features[known])
