"""The level `tags`: a clip as a posterior over the classes of an audio tagger, and how far each class stands out."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.codec.frozen.units import SoftLevel
from uniaudio_cli.codec.frozen.yamnet import BACKGROUND, YAMNet

EPSILON = 1e-4  # of a posterior, before its logarithm
POSTERIOR_POWER = 0.25  # of the posterior in a class's weight
SHOWN = 5  # classes of a clip that a person reads


class TagLevel:
    """YAMNet's posterior over AudioSet's classes; the codes are the classes that stand out most, at most `SHOWN`."""

    def __init__(self, yamnet: YAMNet) -> None:
        self.yamnet = yamnet

    def __call__(self, wav: NDArray[np.float32]) -> SoftLevel:
        """wav float32 [T] at 16 kHz, of any level -> `feature` is the mean posterior, float32 [521]."""
        posterior = self.yamnet.posterior(wav)
        weights = class_weights(posterior.astype(np.float64), background())
        best = np.argsort(-weights, kind="stable")[:SHOWN]
        return SoftLevel(tuple(int(code) for code in best if weights[code] > 0), posterior)


def class_weights(posterior: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., classes]: how far each class stands out in a clip from recordings at large, `background` [classes].

    The background is not the folder's mean: in a folder of five kinds of sound their own classes are frequent, and
    relative to the folder they would say little.
    """
    ratio = np.log((posterior + EPSILON) / (background + EPSILON))
    weights: NDArray[np.float64] = np.maximum(ratio, 0) * posterior**POSTERIOR_POWER
    return weights


@cache
def background() -> NDArray[np.float64]:
    """The mean posterior of open recordings at large, float64 [521]: what a clip's own posterior stands out from."""
    rows = json.loads(BACKGROUND.read_text(encoding="utf-8"))
    return np.array(rows["posterior"], dtype=np.float64)
