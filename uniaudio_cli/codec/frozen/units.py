"""Soft units: features of a frozen encoder in, a distribution over codes out. Opens no files, loads no encoder.

Features are projected to whitened dimensions, cut into `books` equal parts, and each part is compared with the codes of
its own codebook (product quantisation). A code's probability falls with its squared distance, in units of the
codebook's mean squared error: softmax(-distance / (2 temperature error)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

TENSORS = ("mean", "projection", "centres", "error", "baseline")


@dataclass(frozen=True)
class SoftLevel:
    """A clip on one level. `codes`: the likeliest codes in time order. `feature`: float32 [F], for similarities."""

    codes: tuple[int, ...]
    feature: Array


@dataclass(frozen=True)
class Units:
    """Codebooks over a frozen encoder's features.

    `mean`: float32 [D]. `projection`: [D, d], whitening and a rotation. `centres`: [books, codes, d / books].
    `error`: [books], mean squared distance of the fitted features to their nearest code. `baseline`: [segments, books x
    codes], the mean over the fitted clips of what `clip` gives before it is centred. `normalise`: whether features are
    scaled to length 1 before the mean is subtracted.
    """

    mean: Array
    projection: Array
    centres: Array
    error: Array
    baseline: Array
    temperature: float
    normalise: bool = False

    @property
    def books(self) -> int:
        return len(self.centres)

    @property
    def size(self) -> int:
        """Codes of all books together: one word each."""
        return self.centres.shape[0] * self.centres.shape[1]

    @property
    def segments(self) -> int:
        return len(self.baseline)

    def project(self, features: Array) -> Array:
        """Features [T, D] -> whitened [T, d]."""
        features = np.asarray(features, np.float32)
        if self.normalise:
            features = unit(features)
        projected: Array = np.asarray((features - self.mean) @ self.projection, np.float32)
        return projected

    def soft(self, features: Array) -> Array:
        """Features [T, D] -> probabilities [T, books x codes]; those of each book sum to 1."""
        parts = self.project(features).reshape(len(features), self.books, -1)
        found = []
        for book, codes in enumerate(self.centres):
            part = parts[:, book]
            distance = (part**2).sum(1)[:, None] - 2 * part @ codes.T + (codes**2).sum(1)
            found.append(softmax(distance / (-2 * self.temperature * self.error[book])))
        return np.concatenate(found, axis=1)

    def level(self, features: Array, weights: Array | None = None) -> SoftLevel:
        """Features [T, D] and a weight for each row [T] -> the clip on this level."""
        soft = self.soft(features)
        best = soft.reshape(len(soft), self.books, -1).argmax(axis=2) + np.arange(self.books) * self.centres.shape[1]
        return SoftLevel(tuple(best.reshape(-1).tolist()), self.clip(soft, weights))

    def clip(self, soft: Array, weights: Array | None = None) -> Array:
        """[T, K] -> [segments x K]: square roots of the segments' mean probabilities, less those of `baseline`."""
        return (np.sqrt(segment_means(soft, self.segments, weights)) - self.baseline).reshape(-1)

    def tensors(self) -> dict[str, Array]:
        """What `of` reads, matrices in float16."""
        big = ("projection", "centres", "baseline")
        return {name: getattr(self, name).astype(np.float16 if name in big else np.float32) for name in TENSORS}

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray], temperature: float, normalise: bool = False) -> Units:
        """From the tensors named in `TENSORS`, of any float dtype."""
        parts = {name: np.asarray(tensors[name], np.float32) for name in TENSORS}
        return cls(**parts, temperature=temperature, normalise=normalise)


def segment_means(rows: Array, segments: int, weights: Array | None = None) -> Array:
    """[T, K] -> [segments, K]: weighted means around `segments` points of the clip.

    Time is measured in weight: a row's place, 0 to 1, is the share of the weight before it plus half of its own.
    Segment n is centred at (n + 1/2) / segments, and a row's share in it falls linearly to 0 at the neighbouring
    centres. The first and the last segment hold all that is before or after them.
    """
    weights = np.ones(len(rows), np.float32) if weights is None else np.asarray(weights, np.float32) + 1e-6
    place = (np.cumsum(weights) - weights / 2) / weights.sum()
    place = np.clip(place, 0.5 / segments, 1 - 0.5 / segments)
    centres = (np.arange(segments) + 0.5) / segments
    share = np.clip(1 - np.abs(place - centres[:, None]) * segments, 0, None) * weights
    # A clip of few rows may leave a segment without any: the nearest row fills it.
    for number in np.flatnonzero(share.sum(1) <= 0):
        share[number, np.abs(place - centres[number]).argmin()] = 1
    return (share / share.sum(1, keepdims=True) @ rows).astype(np.float32)


def softmax(logits: NDArray) -> NDArray:
    """Along the last axis."""
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def unit(rows: Array) -> Array:
    """Rows of length 1: [.., K] -> [.., K]; a row of zeros stays."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
