"""What a user would write instead of `uniaudio classify`: YAMNet's embedding and a logistic regression.

    python benchmarks/yamnet_script.py DEMOS CLIPS

DEMOS has a folder for each label. Prints a label for each file of CLIPS. It imports nothing of uniaudio; the network is
the one that `uniaudio models pull yamnet` has put into its cache.
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path

import librosa.filters
import numpy as np
import onnx
import onnxruntime
import soundfile
import soxr
from sklearn.linear_model import LogisticRegression

home = Path(os.environ.get("UNIAUDIO_HOME", Path.home() / ".cache" / "uniaudio"))
with tempfile.TemporaryDirectory() as folder:
    zipfile.ZipFile(next((home / "teachers" / "yamnet").glob("*.onnx.zip"))).extractall(folder)
    model = onnx.load(str(next(Path(folder).rglob("*.onnx"))))
EMBEDDING, SCALE, ZERO = "/model/GlobalAveragePool_output_0", "class_scores_scale", "class_scores_zero_point"
model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (EMBEDDING, SCALE, ZERO))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # faster than two for a network this small
session = onnxruntime.InferenceSession(model.SerializeToString(), options)
source = session.get_inputs()[0].name
mel = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, fmin=125, fmax=7500, htk=True)
window = np.pad(np.hanning(401)[:-1], 56)


def embed(path: Path) -> np.ndarray:
    wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wav = soxr.resample(wav.mean(axis=1), rate, 16_000)
    wav = wav / max(np.abs(wav).max(), 1e-6)
    wav = np.pad(wav, (256, 256 + max(0, 16_000 - len(wav))))
    spectrum = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(wav, 512)[::160] * window))
    frames = np.clip(np.round(np.log(spectrum @ mel.T + 1e-3) / 0.04794 + 144), 0, 255).astype(np.uint8)
    total, weight = np.zeros(1024), 1e-9
    for start in range(0, len(frames) - 95, 48):
        names = ["class_scores", EMBEDDING, SCALE, ZERO]
        scores, embedding, scale, zero = session.run(names, {source: frames[None, None, start : start + 96]})
        odds = np.exp(scale * (scores.reshape(-1) - float(zero)))
        sounding = 1 - odds[494] / odds.sum()  # class 494 is silence
        total, weight = total + sounding * embedding.reshape(-1), weight + sounding
    return 10 * total / np.linalg.norm(total)


demos = sorted(path for path in Path(sys.argv[1]).glob("*/*") if path.is_file())
classifier = LogisticRegression(max_iter=1000).fit(
    [embed(path) for path in demos], [path.parent.name for path in demos]
)
clips = sorted(Path(sys.argv[2]).glob("*"))
for path, label in zip(clips, classifier.predict([embed(path) for path in clips]), strict=True):
    print(f"{path.name},{label}")
