"""The gain of every time-frequency bin: by an ordinary noise filter, or by trees that learn it from a user's pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.audio.gain_features import FEATURES, GainFeatures
from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.audio.noise import LogSpectralFilter
from uniaudio_cli.audio.stft import spectra_of
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.data.demonstrations import Demonstration

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

RATE = 16_000
MAX_SECONDS = 30.0  # of a pair
# Every clean side is mixed anew with the noise of every pair, up to this many mixtures, at one of these ratios in dB.
MIXTURES = 24
RATIOS_DB = (-3, 2, 7, 12, 17)
ROWS = 60_000  # bins that are learnt from
TREES, LEAVES, LEARNING_RATE, BINS_A_LEAF = 80, 31, 0.12, 40
# Loud bins count more, by this power of theirs.
WEIGHT_POWER = 0.3

Gains: TypeAlias = Callable[[NDArray], NDArray]
"""Power [T, F] of the next frames of one recording, F at most 257 -> gains [T, F], 0 to 1."""
Pair: TypeAlias = "tuple[NDArray, NDArray]"
"""(noisy, clean): wavs [T] at 16 kHz, of one length."""


class GainModel(Protocol):
    """What gives gains; `start` for each recording.

    `floor_db`: the least gain. What is left of the noise hides what the filter does to it.
    """

    floor_db: float

    def start(self) -> Gains:
        """The gains of one recording."""
        ...


class OrdinaryFilter:
    """A tracked noise spectrum and log-spectral MMSE gains; learns from nothing."""

    floor_db = -10.0

    def start(self) -> Gains:
        return LogSpectralFilter()


class TaughtGains:
    """Boosted trees that map the features of a bin to the root of its gain."""

    floor_db = -20.0

    def __init__(self, trees: HistGradientBoostingRegressor) -> None:
        self.trees = trees

    def start(self) -> Gains:
        features = GainFeatures()

        def gains(power: NDArray) -> NDArray:
            if not len(power):
                return power
            rows = features(power).reshape(-1, len(FEATURES))
            return np.square(np.clip(self.trees.predict(rows), 0, 1)).reshape(power.shape)

        return gains


def learn_gains(demonstrations: Sequence[Demonstration]) -> GainModel:
    """Trees that learnt from pairs, or the ordinary filter without any. Seeded: the same pairs give the same model.

    Raises:
        UsageError: a demonstration has no clean side.
        UniAudioError: a pair cannot be read.
    """
    if not demonstrations:
        return OrdinaryFilter()
    pairs = remix([read_pair(each) for each in demonstrations], np.random.default_rng(0))
    return TaughtGains(grow_trees(*rows_of(pairs, ROWS, np.random.default_rng(0))))


def grow_trees(features: NDArray, gains: NDArray, weights: NDArray) -> HistGradientBoostingRegressor:
    """Features [N, F], ideal gains [N] and weights [N] -> trees that give the root of the gain."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=BINS_A_LEAF,
        early_stopping=False,
        random_state=0,
    )
    return trees.fit(features, np.sqrt(gains), weights)


def read_pair(demonstration: Demonstration) -> Pair:
    """The two sides of a pair, cut to the shorter."""
    if demonstration.target is None:
        raise UsageError(f"{show(demonstration.audio)}: has no clean side")
    sides = [read_audio(each, RATE, MAX_SECONDS)[0].numpy() for each in (demonstration.audio, demonstration.target)]
    length = min(map(len, sides))
    return sides[0][:length], sides[1][:length]


def remix(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:
    """The pairs, and their clean sides with the noise of any of them at other ratios."""
    found = list(pairs)
    order = [(i, j) for i in range(len(pairs)) for j in range(len(pairs))]
    for i, j in (order[k] for k in rng.permutation(len(order))[:MIXTURES]):
        clean, noise = pairs[i][1], pairs[j][0] - pairs[j][1]
        noise = np.roll(np.tile(noise, math.ceil(len(clean) / len(noise)))[: len(clean)], rng.integers(len(clean)))
        ratio = 10 ** (rng.choice(RATIOS_DB) / 10)
        gain = math.sqrt(np.square(clean).mean() / max(float(np.square(noise).mean()), 1e-12) / ratio)
        found.append((clean + np.float32(gain) * noise, clean))
    return found


def rows_of(pairs: Sequence[Pair], rows: int, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """About `rows` bins drawn from pairs: features [N, 18], the ideal gain [N] and a weight [N]."""
    features: list[NDArray] = []
    gains: list[NDArray] = []
    weights: list[NDArray] = []
    for noisy, clean in pairs:
        given, wanted = (np.abs(spectra_of(each, RATE)) for each in (noisy, clean))
        power = np.square(given)
        drawn = rng.choice(power.size, min(power.size, rows // len(pairs)), replace=False)
        features.append(GainFeatures()(power).reshape(-1, len(FEATURES))[drawn])
        gains.append(np.minimum(wanted / (given + 1e-9), 1).reshape(-1)[drawn])
        weights.append((power.reshape(-1)[drawn] / (power.mean() + 1e-14) + 1e-12) ** WEIGHT_POWER)
    first, second, third = (np.concatenate(each).astype(np.float32) for each in (features, gains, weights))
    return first, second, third
