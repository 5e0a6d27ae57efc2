"""A teacher's features to the units that level 0 names: whitened, pooled and clustered. Never knows the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from uniaudio_cli.codec.training.data import FRAME
from uniaudio_cli.core.errors import UniAudioError

SAMPLED = 60_000  # rows that say how the features are spread
TEXTURE, TEXTURE_HOPS = 48, 6  # mel frames of 20 ms: in a texture, and to the next
CLUSTERED = 150_000  # rows that say where the clusters are


def whitened(features: np.ndarray, dimensions: int, seed: int = 0) -> np.ndarray:
    """float16 [steps, D] (NaN rows unknown) -> float16 [steps, dimensions], of unit variance and uncorrelated.

    At most D dimensions; the strongest come first. All features are never in memory as floats at once.
    """
    known = np.flatnonzero(~np.isnan(np.asarray(features[:, 0])))
    random = np.random.default_rng(seed)
    picked = np.sort(random.choice(known, min(SAMPLED, len(known)), replace=False))
    sample = np.asarray(features[picked], dtype=np.float64)
    centre = sample.mean(axis=0)
    scale, basis = np.linalg.eigh(np.cov(sample, rowvar=False))
    order = np.argsort(scale)[::-1][:dimensions]
    projection = basis[:, order] / np.sqrt(np.maximum(scale[order], 1e-12))
    out = np.empty((len(features), len(order)), dtype=np.float16)
    for start in range(0, len(features), 65_536):
        rows = np.asarray(features[start : start + 65_536], dtype=np.float32)
        out[start : start + len(rows)] = (rows - centre) @ projection
    return out


def clustered(
    steps: np.ndarray, ranges: Sequence[tuple[int, int]], groups: Sequence[str], count: int, seed: int = 0
) -> np.ndarray:
    """Whitened steps [S, R], each clip's range of level-0 frames (two steps each) and group -> units, int16 [S // 2].

    A unit is heard in the 240 ms around its frame, twice its length, and compared by direction alone: both make it
    travel better between speakers and offsets (docs/LOG.md). Every group has the same say, up to what it holds, or
    units would go to those who speak most. -1 where the steps are NaN and outside the clips.

    Raises:
        UniAudioError: there are fewer frames than units.
    """
    frames = np.full((len(steps) // 2, steps.shape[1]), np.nan, dtype=np.float32)
    for first, last in ranges:
        frames[first:last] = directions(np.asarray(steps[2 * first : 2 * last], dtype=np.float32))
    known = np.flatnonzero(~np.isnan(frames[:, 0]))
    if len(known) < count:
        raise UniAudioError(f"{len(known)} frames of audio that the teacher heard are too few for {count} units")
    sample = frames[_even(ranges, groups, known, np.random.default_rng(seed))]
    if len(sample) < count:  # too small shares for so many
        sample = frames[known]
    clusters = KMeans(count, n_init=1, max_iter=25, random_state=seed).fit(sample)
    units = np.full(len(frames), -1, dtype=np.int16)
    units[known] = clusters.predict(frames[known])
    return units


def _even(
    ranges: Sequence[tuple[int, int]], groups: Sequence[str], known: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Some of the `known` rows: at most CLUSTERED, and of no group more than an even share."""
    owner = np.full(max(last for _, last in ranges), -1)
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    for (first, last), group in zip(ranges, groups, strict=True):
        owner[first:last] = names[group]
    share = -(-CLUSTERED // len(names))
    mixed = random.permutation(known)
    return np.concatenate([mixed[owner[mixed] == number][:share] for number in range(len(names))])


def texture(wav: np.ndarray) -> np.ndarray:
    """float32 [T] at 16 kHz -> float16 [T // 1920, 80]: mean and spread of 40 log-mel bands in the 0.96 s around."""
    import librosa

    frames = len(wav) // FRAME
    mel = librosa.feature.melspectrogram(
        y=wav, sr=16_000, n_fft=1024, hop_length=FRAME // TEXTURE_HOPS, n_mels=40, power=1
    )
    padded = np.pad(np.log(mel.T + 1e-3), ((TEXTURE // 2, TEXTURE // 2 + TEXTURE_HOPS), (0, 0)), mode="edge")
    parts = [padded[start : start + TEXTURE] for start in range(0, frames * TEXTURE_HOPS, TEXTURE_HOPS)]
    return np.stack([np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in parts]).astype(np.float16)


def sound_units(
    kinds: Sequence[np.ndarray], textures: Sequence[np.ndarray], count: int, seed: int = 0
) -> list[np.ndarray]:
    """What a sound teacher says of every clip's frames ([T, D] each) and their `texture`s -> units, int16 [T] each.

    Frames are alike where the teacher finds them alike, by direction from the mean, and where their textures are, every
    dimension of unit variance: either alone makes units that fit new recordings less well (docs/LOG.md).

    Raises:
        UniAudioError: there are fewer frames than units.
    """
    said, shape = (np.concatenate(rows).astype(np.float32) for rows in (kinds, textures))
    if len(said) < count:
        raise UniAudioError(f"{len(said)} frames of sounds are too few for {count} units")
    said -= said.mean(axis=0)
    said /= np.linalg.norm(said, axis=1, keepdims=True).clip(min=1e-9)
    shape = (shape - shape.mean(axis=0)) / shape.std(axis=0).clip(min=1e-6) / shape.shape[1] ** 0.5
    clusters = KMeans(count, n_init=4, max_iter=30, random_state=seed).fit(np.concatenate([said, shape], axis=1))
    ends = np.cumsum([len(rows) for rows in kinds])[:-1]
    return np.split(clusters.labels_.astype(np.int16), ends)


def directions(steps: np.ndarray) -> np.ndarray:
    """Unit vectors [T, R] of a clip's steps [2 T, R]: the mean of its frame's two and one on each side."""
    padded = np.pad(steps, ((1, 1), (0, 0)), mode="edge")
    means = np.stack([padded[offset : offset + len(steps) : 2] for offset in range(4)]).mean(axis=0)
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-9)
