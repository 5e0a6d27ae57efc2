"""How a clip is spoken, measured and written in a few plain words: wav in, codes of prosody out. Never knows an LLM.

The codec hears every clip at one level, and its words are of what is said. What they miss is measured: pitch and its
movement, loudness, brightness, tempo and length. That makes a level like the codec's, with one code for each measure,
the bin that it falls into; bins are fixed, so that a word means the same in every folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Where tasks name levels by number, this one's: before 0, the codec's coarsest.
PROSODY = -1
NAME = "prosody"

HERTZ = (50.0, 500.0)  # where pitch is looked for
FRAME, HOP = 0.064, 0.016  # seconds
LONGEST = 4.0  # seconds of a clip that are measured
PAUSE_DB = 30.0  # frames so far below the loudest are pauses
VOICED = 0.6  # correlation of a frame with itself one period later, from which on it has a pitch


@dataclass(frozen=True)
class Measure:
    """A measure's words from low to high: the second begins at `start`, each other one `step` further up."""

    name: str
    start: float
    step: float
    words: tuple[str, ...]

    def bin(self, value: float, moved: float = 0.0) -> int:
        """Which word; `moved`: how far all bins are moved down, 0 to 1 of a bin."""
        place = 1 + math.floor(max(-1e6, (value - self.start) / self.step) + moved)
        return min(max(place, 0), len(self.words) - 1)


MEASURES = (
    Measure("pitch, semitones above 50 Hz", 0.5, 6.0, ("rough", "deep", "low", "middle", "high", "thin")),
    Measure("movement, log2 semitones", -0.5, 1.0, ("flat", "steady", "moving", "lively", "wild")),
    Measure("loudness, dB full scale", -40.0, 8.0, ("faint", "quiet", "normal", "loud", "huge")),
    Measure("brightness, log2 kHz", -0.4, 0.6, ("dark", "dull", "clear", "bright", "sharp")),
    Measure("tempo, dB of change a frame", 2.0, 1.0, ("slow", "calm", "even", "quick", "fast")),
    Measure("length, log2 seconds", -1.0, 0.75, ("brief", "short", "medium", "long", "endless")),
)
WORDS = tuple(word for measure in MEASURES for word in measure.words)


def measured(wav: Tensor, sample_rate: int) -> tuple[float, ...]:
    """wav float32 [1, T], as loud as it was recorded -> a value for each of `MEASURES`.

    Movement is the span of the middle half of a clip's pitches; where none has a pitch, both are -inf.
    """
    import librosa
    import numpy as np

    samples = wav[0, : round(LONGEST * sample_rate)].float().cpu().numpy()
    seconds = wav.shape[-1] / sample_rate
    size, hop = round(FRAME * sample_rate), round(HOP * sample_rate)
    padded = np.pad(samples, size // 2, mode="constant")
    padded = np.pad(padded, (0, max(0, size - len(padded))))
    frames = librosa.util.frame(padded, frame_length=size, hop_length=hop).T  # [N, size]
    power = np.square(frames).mean(axis=1) + 1e-10
    loud = power > power.max() * 10 ** (-PAUSE_DB / 10)

    low, high = HERTZ
    hertz = librosa.yin(padded, fmin=low, fmax=high, sr=sample_rate, frame_length=size, hop_length=hop, center=False)
    lag = np.round(sample_rate / hertz).astype(int)
    width = size - int(lag.max())
    first, later = frames[:, :width], np.take_along_axis(frames, lag[:, None] + np.arange(width), axis=1)
    alike = (first * later).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (later**2).sum(axis=1) + 1e-12)
    # At either end of its range the search found nothing.
    tones = 12 * np.log2(hertz[loud & (alike > VOICED) & (hertz > 1.02 * low) & (hertz < 0.98 * high)] / low)
    pitch = movement = -math.inf
    if len(tones):
        lower, pitch, upper = np.percentile(tones, (25, 50, 75))
        movement = math.log2(upper - lower + 0.1)

    spectrum = np.abs(np.fft.rfft(frames * np.hanning(size)))
    sounding = spectrum[loud].sum(axis=0) + 1e-10
    centre = (sounding * np.fft.rfftfreq(size, 1 / sample_rate)).sum() / sounding.sum()
    bands = librosa.feature.melspectrogram(S=spectrum.T**2, sr=sample_rate, n_fft=size, n_mels=32)
    change = np.abs(np.diff(librosa.power_to_db(bands, ref=np.max, top_db=60.0), axis=1))
    return (
        float(pitch),
        float(movement),
        float(10 * np.log10(power[loud].mean())),
        float(np.log2(max(centre, 1.0) / 1_000)),
        float(change.mean()) if change.size else 0.0,
        math.log2(seconds),
    )


def coded(values: Sequence[float], moved: float = 0.0) -> list[int]:
    """Values of `MEASURES` -> a code each, which is the place of its word in `WORDS`.

    Clips heard several times have their bins moved a little for each, so that the edge of a bin does not decide.
    """
    codes, first = [], 0
    for measure, value in zip(MEASURES, values, strict=True):
        codes.append(first + measure.bin(value, moved))
        first += len(measure.words)
    return codes


def level_name(level: int) -> str:
    """What people read: "prosody" or "level 0"."""
    return NAME if level == PROSODY else f"level {level}"
