"""A teacher's features to the units that level 0 names: whitened, pooled and clustered. Never knows the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from uniaudio_cli.errors import UniAudioError

SAMPLED = 60_000  # rows that say how the features are spread
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


def clustered(steps: np.ndarray, ranges: Sequence[tuple[int, int]], count: int, seed: int = 0) -> np.ndarray:
    """Whitened steps [S, R] and each clip's range of level-0 frames (two steps each) -> units, int16 [S // 2].

    A unit is heard in the 240 ms around its frame, twice its length, and compared by direction alone: both make it
    travel better between speakers and offsets (docs/LOG.md). -1 where the steps are NaN.

    Raises:
        UniAudioError: there are fewer frames than units.
    """
    frames = np.full((len(steps) // 2, steps.shape[1]), np.nan, dtype=np.float32)
    for first, last in ranges:
        frames[first:last] = directions(np.asarray(steps[2 * first : 2 * last], dtype=np.float32))
    known = np.flatnonzero(~np.isnan(frames[:, 0]))
    if len(known) < count:
        raise UniAudioError(f"{len(known)} frames of audio that the teacher heard are too few for {count} units")
    sample = frames[np.random.default_rng(seed).choice(known, min(CLUSTERED, len(known)), replace=False)]
    clusters = KMeans(count, n_init=1, max_iter=25, random_state=seed).fit(sample)
    units = np.full(len(frames), -1, dtype=np.int16)
    units[known] = clusters.predict(frames[known])
    return units


def directions(steps: np.ndarray) -> np.ndarray:
    """Unit vectors [T, R] of a clip's steps [2 T, R]: the mean of its frame's two and one on each side."""
    padded = np.pad(steps, ((1, 1), (0, 0)), mode="edge")
    means = np.stack([padded[offset : offset + len(steps) : 2] for offset in range(4)]).mean(axis=0)
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-9)
