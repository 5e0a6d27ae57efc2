"""Parts for training tests: clips, a packed cache, rule-based teachers, recipes of both architectures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from tests.factories import PUBLISHED_DECODER, PUBLISHED_ENCODER, SMALL_DECODER, SMALL_ENCODER, chirps
from tests.small_tokenizers import byte_bpe
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.training.data import PackedAudio, pack
from uniaudio_cli.training.initialise import Lexicon, new_codec
from uniaudio_cli.training.loop import Trainer
from uniaudio_cli.training.recipe import Recipe, ValidationSettings
from uniaudio_cli.training.teachers import SoundTeacher, Targets
from uniaudio_cli.training.teachers import teacher_targets as compute_targets

STEMS = ("river", "stone", "cloud", "paper", "garden", "window", "bridge", "winter", "candle", "mirror", "basket")
FRAME, STEP = 1920, 960  # samples of a level-0 frame and of a teacher's step
LEVELS = (STEMS[:3], STEMS[3:7], STEMS[7:11])
SMALL = {
    "architecture": "small",
    "sample_rate": 16_000,
    "hop_length": 480,
    "strides": (4, 2, 1),
    "latent_dim": 24,
    "level_db": -23.0,
    "encoder": SMALL_ENCODER,
    "decoder": SMALL_DECODER,
}
PUBLISHED = {
    "architecture": "published",
    "sample_rate": 16_000,
    "hop_length": 480,
    "strides": (4, 2, 1),
    "latent_dim": 128,
    "encoder": PUBLISHED_ENCODER,
    "decoder": PUBLISHED_DECODER,
}
WEIGHTS = {"mel": 2.0, "stft": 1.0, "commitment": 0.25, "codebook": 1.0, "entropy": 0.1}


def lexicon() -> Lexicon:
    """A byte-level BPE whose stems are one id each, with random embeddings 16 wide."""
    tokenizer = byte_bpe()
    embeddings = np.random.RandomState(0).standard_normal((tokenizer.size, 16)).astype(np.float32)
    return Lexicon("a-tiny-llm", tokenizer, embeddings)


def audio(folder: Path, seconds: Sequence[float] = (1.5, 0.4, 2.0, 3.1)) -> Path:
    """Clips with a metadata.jsonl; the last one is the validation split."""
    rows = []
    for number, length in enumerate(seconds):
        write_wav(folder / f"{number}.wav", chirps(int(16_000 * length), seed=number)[0], 16_000)
        split = "validation" if number == len(seconds) - 1 else "train"
        text = "" if number == 1 else f"word {number % 2}"
        row = {"file_name": f"{number}.wav", "kind": "speech", "group": f"g{number}", "split": split, "text": text}
        rows.append(json.dumps({**row, "licence": "not used"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def packed(tmp_path: Path) -> PackedAudio:
    return pack([audio(tmp_path / "audio")], tmp_path / "cache", 16_000, -23.0, FRAME)


class LoudnessTeacher:
    """A frame teacher whose features are the loudness of six parts of a step; `clips` counts its inputs."""

    dimensions = 6

    def __init__(self) -> None:
        self.clips = 0

    def __call__(self, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.clips += len(wavs)
        parts = [wav[: len(wav) // STEP * STEP].reshape(-1, 6, STEP // 6) for wav in wavs]
        return [np.log(np.abs(part).mean(axis=2) + 1e-3).astype(np.float16) for part in parts]


def text_lengths(texts: Sequence[str]) -> np.ndarray:
    """A text teacher."""
    return np.array([[len(text), hash_of(text)] for text in texts], dtype=np.float32)


def hash_of(text: str) -> float:
    return sum(map(ord, text)) % 7


def recipe(cache: Path, **changes: Any) -> Recipe:
    """A small one without teachers; three batches an epoch of nothing."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "lm": "a-tiny-llm",
        "codec": SMALL,
        "sizes": tuple(map(len, LEVELS)),
        "cache": cache,
        "losses": WEIGHTS,
        "batch_size": 2,
        "crop_frames": 6,
        "steps": 4,
        "warmup_steps": 2,
        "bfloat16": False,
        "log_every": 1,
        "save_every": 2,
        "validation": ValidationSettings(batches=1, samples=0),  # drawing them takes longer than the training
    }
    return Recipe(**{**fields, **changes})


def teacher_targets(settings: Recipe, clips: PackedAudio) -> Targets:

    def no_sounds() -> SoundTeacher:
        raise AssertionError("no recipe here has a sound teacher")

    return compute_targets(settings, clips, LoudnessTeacher, lambda: text_lengths, no_sounds)


def trainer(settings: Recipe, clips: PackedAudio, folder: Path, targets: Targets | None = None) -> Trainer:
    """On the CPU, from the same new codec every time."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)  # of the adapters
    codec = new_codec(settings, LEVELS, lexicon())
    return Trainer(settings, codec, clips, targets or Targets(), folder, Accelerator(cpu=True))


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
