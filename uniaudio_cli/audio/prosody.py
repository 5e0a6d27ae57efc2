"""Prosody as a level of codes: pitch, pitch range, loudness, brightness, tempo and length of a clip, in plain words.

Codec codes describe mainly the spoken content, at a normalised level. The prosody level adds six measures, quantised to
fixed bins with a word each: one code per measure. Bins do not depend on the data, so a word means the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

NAME = "prosody"

PITCH_HZ = (50.0, 500.0)  # range of the pitch search
FRAME, HOP = 0.064, 0.016  # seconds
MAX_SECONDS = 4.0  # only the beginning of a clip is measured
PAUSE_DB = 30.0  # frames more than this below the loudest are pauses
VOICED = 0.6  # least autocorrelation at the pitch period of a voiced frame
SOFT_WIDTH = 0.7  # bins: the standard deviation of a value's share of them; .5 to 1 are as good (docs/LOG.md)


@dataclass(frozen=True)
class Measure:
    """A measure's bins: `words` from low to high. The second begins at `start`, and each is `step` wide."""

    name: str
    start: float
    step: float
    words: tuple[str, ...]

    def bin(self, value: float, shift: float = 0.0) -> int:
        """The bin of `value`. `shift`: moves all bin edges down, by 0 to 1 of a bin."""
        place = 1 + math.floor(max(-1e6, (value - self.start) / self.step) + shift)
        return min(max(place, 0), len(self.words) - 1)

    def soft(self, value: float) -> NDArray[np.float32]:
        """Roots of the share of each bin in `value`, less their mean over the range: float32 [bins].

        A value in the middle of a bin lies mostly in that bin, and one at its edge in both.
        """
        place = (max(-1e6, value) - self.start) / self.step + 0.5  # a whole number in the middle of a bin
        return (self._shares(np.clip(place, 0, len(self.words) - 1)) - self._mean).astype(np.float32)

    def _shares(self, place: float) -> NDArray[np.floating]:
        near = np.exp(-0.5 * ((np.arange(len(self.words)) - place) / SOFT_WIDTH) ** 2)
        found: NDArray[np.floating] = np.sqrt(near / near.sum())
        return found

    @cached_property
    def _mean(self) -> NDArray[np.floating]:
        found: NDArray[np.floating] = np.mean(
            [self._shares(place) for place in np.linspace(0, len(self.words) - 1, 101)], 0
        )
        return found


MEASURES = (
    Measure("pitch, semitones above 50 Hz", 0.5, 6.0, ("rough", "deep", "low", "middle", "high", "thin")),
    Measure("movement, log2 semitones", -0.5, 1.0, ("flat", "steady", "moving", "lively", "wild")),
    Measure("loudness, dB full scale", -40.0, 8.0, ("faint", "quiet", "normal", "loud", "huge")),
    Measure("brightness, log2 kHz", -0.4, 0.6, ("dark", "dull", "clear", "bright", "sharp")),
    Measure("tempo, dB of change a frame", 2.0, 1.0, ("slow", "calm", "even", "quick", "fast")),
    Measure("length, log2 seconds", -1.0, 0.75, ("brief", "short", "medium", "long", "endless")),
)
WORDS = tuple(word for measure in MEASURES for word in measure.words)


def measure_prosody(wav: Tensor, sample_rate: int) -> tuple[float, ...]:
    """wav float32 [1, T], at its recorded level -> the value of each of `MEASURES`, in their units.

    Movement is the interquartile range of the pitch. Pitch and movement are -inf for a clip without voiced frames.
    """
    from uniaudio_cli.audio.features import band_change_db
    from uniaudio_cli.audio.load_librosa import load_librosa

    librosa = load_librosa()
    samples = wav[0, : round(MAX_SECONDS * sample_rate)].float().cpu().numpy()
    seconds = wav.shape[-1] / sample_rate
    size, hop = round(FRAME * sample_rate), round(HOP * sample_rate)
    padded = np.pad(samples, size // 2, mode="constant")
    padded = np.pad(padded, (0, max(0, size - len(padded))))
    frames = librosa.util.frame(padded, frame_length=size, hop_length=hop).T  # [N, size]
    power = np.square(frames).mean(axis=1) + 1e-10
    loud = power > power.max() * 10 ** (-PAUSE_DB / 10)

    low, high = PITCH_HZ
    hertz = librosa.yin(padded, fmin=low, fmax=high, sr=sample_rate, frame_length=size, hop_length=hop, center=False)
    lag = np.round(sample_rate / hertz).astype(int)
    width = size - int(lag.max())
    first, later = frames[:, :width], np.take_along_axis(frames, lag[:, None] + np.arange(width), axis=1)
    correlation = (first * later).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (later**2).sum(axis=1) + 1e-12)
    # At either end of the range, the search found no pitch.
    tones = 12 * np.log2(hertz[loud & (correlation > VOICED) & (hertz > 1.02 * low) & (hertz < 0.98 * high)] / low)
    pitch = movement = -math.inf
    if len(tones):
        lower, pitch, upper = np.percentile(tones, (25, 50, 75))
        movement = math.log2(upper - lower + 0.1)

    spectrum = np.abs(np.fft.rfft(frames * np.hanning(size)))
    sounding = spectrum[loud].sum(axis=0) + 1e-10
    centre = (sounding * np.fft.rfftfreq(size, 1 / sample_rate)).sum() / sounding.sum()
    change = band_change_db(spectrum.T**2, sample_rate)
    return (
        float(pitch),
        float(movement),
        float(10 * np.log10(power[loud].mean())),
        float(np.log2(max(centre, 1.0) / 1_000)),
        float(change.mean()) if change.size else 0.0,
        math.log2(seconds),
    )


def prosody_codes(values: Sequence[float], shift: float = 0.0) -> list[int]:
    """Values of `MEASURES` -> a code each, an index into `WORDS`.

    `shift`: as `Measure.bin`. A clip that is encoded several times gets different shifts, to average over bin
    edges.
    """
    codes, first = [], 0
    for measure, value in zip(MEASURES, values, strict=True):
        codes.append(first + measure.bin(value, shift))
        first += len(measure.words)
    return codes


def prosody_feature(values: Sequence[float]) -> NDArray[np.float32]:
    """Values of `MEASURES` -> their soft bins in a row, for similarities: float32 [31]."""
    return np.concatenate([measure.soft(value) for measure, value in zip(MEASURES, values, strict=True)])
