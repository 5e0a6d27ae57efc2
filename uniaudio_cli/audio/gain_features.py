"""What a gain is estimated from: power spectra of a recording, frame after frame, to features of every bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.audio.noise import FLOOR, LogSpectralFilter

BINS = 257  # 31.25 Hz apart, 0 to 8 kHz
LAGS = 4  # earlier frames that a feature may be taken from
LEVEL_FRAMES = 120  # 2 s: the level of a frame is compared with the loudest of so long
NARROW, WIDE = 5, 17  # bins that ratios are averaged over
FEATURES = (
    *("ratio", "ratio-1", "ratio-2", "ratio-3", "narrow", "narrow-1", "wide", "wide-1", "wide-3"),
    *("all", "all-1", "all-4", "gain", "gain-1", "presence", "frequency", "level", "noise"),
)
Array = NDArray[np.floating]


class GainFeatures:
    """The features of one recording. Ratios are log10 of power over the tracked noise, so no level enters.

    No frame depends on later ones, nor on how the recording was cut into blocks.
    """

    def __init__(self) -> None:
        self._filter = LogSpectralFilter()
        self._past: list[Array] = []
        self._levels: Array = np.zeros(0)

    def __call__(self, power: Array) -> Array:
        """Power [T, F], F at most 257 -> float32 [T, F, 18], named by FEATURES."""
        from scipy.ndimage import maximum_filter1d, uniform_filter1d

        frames, bins = power.shape
        gain, noise, presence = self._filter.track(power)
        ratio = np.clip(np.log10((power + FLOOR) / noise), -3, 4)
        narrow = uniform_filter1d(ratio, NARROW, axis=1)
        wide = uniform_filter1d(ratio, WIDE, axis=1)
        everything = np.broadcast_to(ratio.mean(axis=1, keepdims=True), ratio.shape)
        now = [ratio, narrow, wide, everything, gain]
        past = self._past or [np.repeat(each[:1], LAGS, axis=0) for each in now]
        both = [np.concatenate(each) for each in zip(past, now, strict=True)]
        self._past = [each[-LAGS:] for each in both]

        def late(which: int, lag: int) -> Array:
            return both[which][LAGS - lag : LAGS - lag + frames]

        level = np.log10(power.mean(axis=1) + FLOOR)
        levels = np.concatenate([self._levels if self._levels.size else np.full(LEVEL_FRAMES, -np.inf), level])
        self._levels = levels[-LEVEL_FRAMES:]
        size = LEVEL_FRAMES + 1
        loudest = maximum_filter1d(levels, size, origin=LEVEL_FRAMES // 2, mode="nearest")[LEVEL_FRAMES:, None]
        found = [
            *(ratio, late(0, 1), late(0, 2), late(0, 3), narrow, late(1, 1), wide, late(2, 1), late(2, 3)),
            *(everything, late(3, 1), late(3, 4), gain, late(4, 1), presence),
            np.broadcast_to(np.arange(bins) / BINS, ratio.shape),
            np.broadcast_to(level[:, None] - loudest, ratio.shape),
            np.log10(noise) - loudest,
        ]
        return np.stack(found, axis=-1).astype(np.float32)
