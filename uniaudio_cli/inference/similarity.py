"""Similarity readout: clips as soft counts of words on several levels, compared with each label's demonstrations.

A clip is one row of unit length over all levels; each level's part has length 1 times the root of its weight, so that
their cosines are added. A label's score lies between the mean of its demonstrations' cosines and the largest, as the
clips of one label may be of several kinds. The LLM scores no clips: on these levels no weight of it above 0 was better
on development clips. It may score the labels' names (`inference.names`), which then count beside the demonstrations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.audio.levels import FROZEN_LEVELS, TAGS
from uniaudio_cli.codec.frozen.tags import background, class_weights
from uniaudio_cli.codec.frozen.units import Array, unit
from uniaudio_cli.inference.names import label_scores

# Cosine to logit; chosen on development clips by the likelihood of the right label.
SCALE = 14.0
# How far a label's nearest demonstrations outweigh its others: 0 is their mean, infinity the nearest alone. Chosen on
# development clips of seven tasks (docs/LOG.md).
SHARPNESS = 8.0
FROZEN_WEIGHT, CODEC_WEIGHT = 1.0, 0.5  # of a level's cosine

# The weight of names with one demonstration per label; it falls with the root of their number. Names that give the
# right labels of the demonstrations a mean score of LEAST or less count nothing, from MOST on they count in full.
NAMES_WEIGHT, LEAST, MOST = 1.0, 0.5, 1.3

# A clip's feature on each level.
Features = Mapping[int, Array]


@dataclass(frozen=True)
class NameScores:
    """What the labels' names say of a clip. `affinity`: [labels, classes], by `inference.names`. `weight`: 0 and up."""

    affinity: NDArray[np.float64]
    weight: float

    @classmethod
    def tested(cls, affinity: NDArray[np.float64], demonstrations: Sequence[Sequence[Features]]) -> NameScores:
        """Names weighted by how well they label the demonstrations, given for each label in order.

        The names depend on no demonstration, so the demonstrations test them. Names that are wrong, or that name
        nothing, get weight 0.
        """
        right = [cls(affinity, 1.0)(clip)[place] for place, clips in enumerate(demonstrations) for clip in clips]
        shots = len(right) / len(demonstrations)
        trust = float(np.clip((np.mean(right) - LEAST) / (MOST - LEAST), 0, 1))
        return cls(affinity, NAMES_WEIGHT * trust / np.sqrt(shots))

    def __call__(self, clip: Features) -> NDArray[np.float64]:
        """Logits of the labels: their scores, in standard deviations over the labels, times `weight`."""
        weights = class_weights(clip[TAGS].astype(np.float64), background())
        found: NDArray[np.float64] = self.weight * label_scores(weights[None], self.affinity)[0]
        return found


@dataclass(frozen=True)
class SimilarityReadout:
    """`rows` [N_l, F]: each label's demonstrations, each of length 1, in the order of `labels`. `weights`: by level."""

    labels: tuple[str, ...]
    rows: Sequence[NDArray[np.float64]]
    weights: Mapping[int, float]
    names: NameScores | None = None

    def __call__(self, queries: Sequence[Features]) -> list[dict[str, float]]:
        """Per clip, the log-probability of each label, normalised over the labels."""
        found = []
        for query in queries:
            row = joined(query, self.weights)
            logits = SCALE * np.array([nearness(each @ row) for each in self.rows])
            if self.names is not None:
                logits = logits + self.names(query)
            logp = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            found.append(dict(zip(self.labels, logp.tolist(), strict=True)))
        return found

    @classmethod
    def of(
        cls,
        demonstrations: Mapping[str, Sequence[Features]],
        levels: Sequence[int],
        weights: Sequence[float] = (),
        affinity: NDArray[np.float64] | None = None,
    ) -> SimilarityReadout:
        """From the features of each label's demonstrations.

        `weights`: of `levels`; the defaults where empty. `affinity`: of the labels' names, where they count.
        """
        defaults = [FROZEN_WEIGHT if level in FROZEN_LEVELS else CODEC_WEIGHT for level in levels]
        by_level = dict(zip(levels, weights or defaults, strict=True))
        rows = [np.array([joined(clip, by_level) for clip in clips], np.float64) for clips in demonstrations.values()]
        names = None if affinity is None else NameScores.tested(affinity, list(demonstrations.values()))
        return cls(tuple(demonstrations), rows, by_level, names)


def nearness(cosines: NDArray[np.floating]) -> float:
    """Cosines [N] to a label's demonstrations -> one number, from their mean to the largest: log-mean-exp."""
    top = float(cosines.max())
    return top + math.log(float(np.exp(SHARPNESS * (cosines - top)).mean())) / SHARPNESS


def joined(clip: Features, weights: Mapping[int, float]) -> Array:
    """A clip's levels as one row of length 1."""
    parts = [np.sqrt(weight) * unit(clip[level]) for level, weight in weights.items()]
    return unit(np.concatenate(parts))
