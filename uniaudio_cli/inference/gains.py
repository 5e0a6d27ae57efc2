"""The gain of every time-frequency bin: by an ordinary noise filter, or learnt from a user's pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.audio.gain_features import FEATURES, WIDE, GainFeatures
from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.audio.noise import LogSpectralFilter
from uniaudio_cli.audio.stft import spectra_of
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.band_network import (
    BandGains,
    BandNetwork,
    band_inputs,
    band_targets,
    loud_weights,
    spread,
    teach,
)

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

RATE = 16_000
MAX_SECONDS = 30.0  # of a pair
# Clean sides are mixed anew with the noise of any pair: so many mixtures, at one of these ratios in dB.
MIXTURES = 36
RATIOS_DB = (-5, 0, 5, 10, 15, 20)
STEPS = 80  # of teaching each network
ROWS = 60_000  # bins that the trees learn from
TREES, LEAVES, LEARNING_RATE, BINS_A_LEAF = 80, 31, 0.12, 40
# Trees learn this power of the gain: a lower one removes more noise, a higher one keeps more of weak speech.
GAIN_POWER = 0.7
# The mean probability of speech around a bin counts as certain from 1 over this on.
PRESENCE_SCALE = 1.5

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
    """A tracked noise spectrum and log-spectral MMSE gains; learns from nothing.

    Its least gain rises with the probability of speech in the bins around, since cut speech costs more than noise.
    """

    floor_db = -12.0
    speech_floor_db = -4.0

    def start(self) -> Gains:
        from scipy.ndimage import uniform_filter1d

        filter_ = LogSpectralFilter()

        def gains(power: NDArray) -> NDArray:
            gain, _, presence = filter_.track(power)
            share = np.minimum(PRESENCE_SCALE * uniform_filter1d(presence, WIDE, axis=1), 1)
            least = self.floor_db + (self.speech_floor_db - self.floor_db) * share
            return np.maximum(gain, 10 ** (least / 20))

        return gains


class TaughtGains:
    """Boosted trees that map the features of a bin to its gain. One feature is what two networks give for its band."""

    floor_db = -20.0

    def __init__(self, networks: Sequence[BandNetwork], trees: HistGradientBoostingRegressor) -> None:
        self.networks, self.trees = networks, trees

    def start(self) -> Gains:
        features, bands = GainFeatures(), BandGains(self.networks)

        def gains(power: NDArray) -> NDArray:
            if not len(power):
                return power
            found = features(power)
            roots = spread(bands(band_inputs(found)))[:, : power.shape[1]]
            rows = np.concatenate([found, roots[..., None]], axis=-1).reshape(-1, len(FEATURES) + 1)
            return gains_of(self.trees, rows).reshape(power.shape)

        return gains


class Lesson(NamedTuple):
    """What is learnt of one mixture: all T frames of it in bands, and N of its bins."""

    inputs: NDArray  # [T, 72]
    roots: NDArray  # [T, 24], of ideal gains
    band_weights: NDArray  # [T, 24]
    features: NDArray  # [N, 18]
    gains: NDArray  # [N], ideal
    frames: NDArray  # [N], where the bins are
    bins: NDArray  # [N]


def learn_gains(demonstrations: Sequence[Demonstration]) -> GainModel:
    """Gains that are learnt from pairs, or the ordinary filter without any. The same pairs give the same model.

    Raises:
        UsageError: a demonstration has no clean side.
        UniAudioError: a pair cannot be read.
    """
    if not demonstrations:
        return OrdinaryFilter()
    return teach_gains([read_pair(each) for each in demonstrations])


def teach_gains(pairs: Sequence[Pair]) -> TaughtGains:
    """Two networks, each taught by the mixtures of half of the clean sides, and trees over them.

    While the trees learn, every bin has the feature of the network that was not taught its clean side, so that the
    trees do not trust a network more than its gains for new recordings deserve.
    """
    if len(pairs) == 1:
        half = max(1, len(pairs[0][0]) // 2)
        pairs = [(pairs[0][0][:half], pairs[0][1][:half]), (pairs[0][0][-half:], pairs[0][1][-half:])]
    rng = np.random.default_rng(0)
    mixtures = remix(pairs, rng)
    lessons = [(source % 2, lesson(*pair, ROWS // len(mixtures), rng)) for pair, source in mixtures]
    networks = [_teach_network([each for half, each in lessons if half != left_out], left_out) for left_out in (0, 1)]
    features = [with_roots(each, networks[half]) for half, each in lessons]
    gains = [each.gains for _, each in lessons]
    return TaughtGains(networks, grow_trees(np.concatenate(features), np.concatenate(gains)))


def _teach_network(lessons: Sequence[Lesson], seed: int) -> BandNetwork:
    inputs, roots, weights = (np.concatenate(each) for each in list(zip(*lessons, strict=True))[:3])
    return teach(inputs, roots, weights, STEPS, seed)


def with_roots(one: Lesson, network: BandNetwork) -> NDArray:
    """The features of a lesson's bins with what a network gives: [N, 19]."""
    roots = spread(network.roots(one.inputs))[one.frames, one.bins]
    return np.concatenate([one.features, roots[:, None]], axis=1)


def grow_trees(features: NDArray, gains: NDArray) -> HistGradientBoostingRegressor:
    """Features [N, F] and ideal gains [N] -> trees for `gains_of`."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=BINS_A_LEAF,
        early_stopping=False,
        random_state=0,
    )
    return trees.fit(features, gains**GAIN_POWER)


def gains_of(trees: HistGradientBoostingRegressor, features: NDArray) -> NDArray:
    """Features [N, F] -> gains [N], 0 to 1."""
    found: NDArray = np.clip(trees.predict(features), 0, 1) ** (1 / GAIN_POWER)
    return found


def read_pair(demonstration: Demonstration) -> Pair:
    """The two sides of a pair, cut to the shorter."""
    if demonstration.target is None:
        raise UsageError(f"{show(demonstration.audio)}: has no clean side")
    sides = [read_audio(each, RATE, MAX_SECONDS)[0].numpy() for each in (demonstration.audio, demonstration.target)]
    length = min(map(len, sides))
    return sides[0][:length], sides[1][:length]


def remix(pairs: Sequence[Pair], rng: np.random.Generator) -> list[tuple[Pair, int]]:
    """The pairs, and their clean sides with the noise of any of them at other ratios; each with its pair's number."""
    found = [(pair, number) for number, pair in enumerate(pairs)]
    order: list[tuple[int, int]] = []
    for _ in range(MIXTURES):
        order = order or [tuple(each) for each in rng.permutation([*np.ndindex(len(pairs), len(pairs))])]
        i, j = order.pop()
        clean, noise = pairs[i][1], pairs[j][0] - pairs[j][1]
        noise = np.roll(np.tile(noise, math.ceil(len(clean) / len(noise)))[: len(clean)], rng.integers(len(clean)))
        ratio = 10 ** (rng.choice(RATIOS_DB) / 10)
        gain = math.sqrt(np.square(clean).mean() / max(float(np.square(noise).mean()), 1e-12) / ratio)
        found.append(((clean + np.float32(gain) * noise, clean), i))
    return found


def lesson(noisy: NDArray, clean: NDArray, bins: int, rng: np.random.Generator) -> Lesson:
    """What is learnt of wavs [T], with `bins` of its bins, of which loud ones are drawn more often."""
    power, wanted = (np.square(np.abs(spectra_of(each, RATE))) for each in (noisy, clean))
    features = GainFeatures()(power)
    # Drawn by weight and not weighted: scikit-learn takes ten times as long to bin features that have weights.
    weights = loud_weights(power, float(power.mean())).reshape(-1)
    chosen = rng.choice(power.size, min(power.size, bins), p=weights / weights.sum())
    frames, places = np.unravel_index(chosen, power.shape)
    drawn, ideal = power[frames, places], wanted[frames, places]
    return Lesson(
        band_inputs(features),
        *band_targets(power, wanted),
        features[frames, places],
        np.minimum(np.sqrt(ideal) / (np.sqrt(drawn) + 1e-9), 1).astype(np.float32),
        frames,
        places,
    )
