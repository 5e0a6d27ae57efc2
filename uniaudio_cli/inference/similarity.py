"""Similarity readout: clips as soft counts of words on several levels, each label the mean of its demonstrations.

A clip is one row of unit length over all levels; each level's part has length 1 times the root of its weight, so that
their cosines are added. No LLM takes part: on these levels no weight of it above 0 was better on development clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from uniaudio_cli.audio.levels import FROZEN_LEVELS
from uniaudio_cli.codec.frozen.units import Array, unit

# Cosine to logit; chosen on development clips by the likelihood of the right label.
SCALE = 14.0
FROZEN_WEIGHT, CODEC_WEIGHT = 1.0, 0.5  # of a level's cosine

# A clip's feature on each level.
Features = Mapping[int, Array]


@dataclass(frozen=True)
class SimilarityReadout:
    """`labels` and the direction of each one's demonstrations, `means` [L, F]. `weights`: by level."""

    labels: tuple[str, ...]
    means: Array
    weights: Mapping[int, float]

    def __call__(self, queries: Sequence[Features]) -> list[dict[str, float]]:
        """Per clip, the log-probability of each label, normalised over the labels."""
        found = []
        for query in queries:
            logits = SCALE * self.means.astype(np.float64) @ joined(query, self.weights)
            logp = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            found.append(dict(zip(self.labels, logp.tolist(), strict=True)))
        return found

    @classmethod
    def of(
        cls, demonstrations: Mapping[str, Sequence[Features]], levels: Sequence[int], weights: Sequence[float] = ()
    ) -> SimilarityReadout:
        """From the features of each label's demonstrations. `weights`: of `levels`; the defaults where empty."""
        defaults = [FROZEN_WEIGHT if level in FROZEN_LEVELS else CODEC_WEIGHT for level in levels]
        by_level = dict(zip(levels, weights or defaults, strict=True))
        labels = tuple(demonstrations)
        means = [np.mean([joined(clip, by_level) for clip in demonstrations[label]], axis=0) for label in labels]
        return cls(labels, unit(np.array(means)), by_level)


def joined(clip: Features, weights: Mapping[int, float]) -> Array:
    """A clip's levels as one row of length 1."""
    parts = [np.sqrt(weight) * unit(clip[level]) for level, weight in weights.items()]
    return unit(np.concatenate(parts))
