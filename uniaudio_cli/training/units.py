"""Teacher features to units, the targets of level 0: whitened, pooled and clustered by k-means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from uniaudio_cli.core.errors import UniAudioError

WHITENING_ROWS = 60_000  # sample of which the covariance is computed
CLUSTERING_ROWS = 150_000  # sample of which the centroids are computed


def whiten(features: np.ndarray, dimensions: int, seed: int = 0) -> np.ndarray:
    """PCA whitening: float16 [steps, D] (NaN rows unknown) -> float16 [steps, dimensions], principal components first.

    At most D dimensions. Rows are projected in blocks, so `features` may be memory-mapped.
    """
    known = np.flatnonzero(~np.isnan(np.asarray(features[:, 0])))
    random = np.random.default_rng(seed)
    picked = np.sort(random.choice(known, min(WHITENING_ROWS, len(known)), replace=False))
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


def cluster_units(
    steps: np.ndarray, ranges: Sequence[tuple[int, int]], groups: Sequence[str], count: int, seed: int = 0
) -> np.ndarray:
    """Whitened steps [S, R], each clip's range of level-0 frames (two steps each) and group -> units, int16 [S // 2].

    A frame is represented by the mean of the 240 ms around it (at 120-ms frames), normalised to unit length; both
    improve cross-speaker generalisation (docs/LOG.md). Each group contributes at most an even share of the clustering
    sample, or units would go to the groups with most audio. -1 where the steps are NaN, and outside the clips.

    Raises:
        UniAudioError: there are fewer frames than units.
    """
    frames = np.full((len(steps) // 2, steps.shape[1]), np.nan, dtype=np.float32)
    for first, last in ranges:
        frames[first:last] = frame_directions(np.asarray(steps[2 * first : 2 * last], dtype=np.float32))
    known = np.flatnonzero(~np.isnan(frames[:, 0]))
    if len(known) < count:
        raise UniAudioError(f"{len(known)} frames with teacher features are too few for {count} units")
    sample = frames[_balanced_sample(ranges, groups, known, np.random.default_rng(seed))]
    if len(sample) < count:  # the even shares are too small
        sample = frames[known]
    clusters = KMeans(count, n_init=1, max_iter=25, random_state=seed).fit(sample)
    units = np.full(len(frames), -1, dtype=np.int16)
    units[known] = clusters.predict(frames[known])
    return units


def _balanced_sample(
    ranges: Sequence[tuple[int, int]], groups: Sequence[str], known: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """A sample of the `known` rows: at most CLUSTERING_ROWS, and of no group more than an even share."""
    owner = np.full(max(last for _, last in ranges), -1)
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    for (first, last), group in zip(ranges, groups, strict=True):
        owner[first:last] = names[group]
    share = -(-CLUSTERING_ROWS // len(names))
    shuffled = random.permutation(known)
    return np.concatenate([shuffled[owner[shuffled] == number][:share] for number in range(len(names))])


def cluster_sound_units(
    embeddings: Sequence[np.ndarray], textures: Sequence[np.ndarray], count: int, seed: int = 0
) -> list[np.ndarray]:
    """A sound teacher's embedding of every clip's frames ([T, D] each) and their `frame_texture`s -> units, int16 [T].

    Clustered by the centred embedding at unit length, joined with the texture at unit variance. Either alone makes
    units that generalise less well to new recordings (docs/LOG.md).

    Raises:
        UniAudioError: there are fewer frames than units.
    """
    embedded, shape = (np.concatenate(rows).astype(np.float32) for rows in (embeddings, textures))
    if len(embedded) < count:
        raise UniAudioError(f"{len(embedded)} frames of sounds are too few for {count} units")
    embedded -= embedded.mean(axis=0)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True).clip(min=1e-9)
    shape = (shape - shape.mean(axis=0)) / shape.std(axis=0).clip(min=1e-6) / shape.shape[1] ** 0.5
    clusters = KMeans(count, n_init=4, max_iter=30, random_state=seed).fit(np.concatenate([embedded, shape], axis=1))
    ends = np.cumsum([len(rows) for rows in embeddings])[:-1]
    return np.split(clusters.labels_.astype(np.int16), ends)


def frame_directions(steps: np.ndarray) -> np.ndarray:
    """A clip's steps [2 T, R] -> unit vectors [T, R]: the mean of each frame's two steps and one on each side."""
    padded = np.pad(steps, ((1, 1), (0, 0)), mode="edge")
    means = np.stack([padded[offset : offset + len(steps) : 2] for offset in range(4)]).mean(axis=0)
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-9)
