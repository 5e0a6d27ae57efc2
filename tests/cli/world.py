"""A whole small world on disk for the command line: a codec whose words are single ids of a tiny LLM, and clips."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from tests.factories import chirps, codec_in_words
from tests.small_lms import tiny_llama
from tests.small_tokenizers import STEMS, byte_bpe_object
from uniaudio_cli.codec.checkpoint import save_codec

RATE = 16_000
WORDS = (tuple(STEMS[:4]), tuple(STEMS[4:9]), tuple(STEMS[9:14]))
# Samples of the shortest clip that needs no padding: 4 latent frames.
CLIP = 1_920


@dataclass(frozen=True)
class World:
    """`codec`: a checkpoint. `lm`, `short_lm`: LLM folders; the second has a context of 16 ids. `listen`, `speak`,
    `clean`: a task file each, from audio to labels, from text and from audio to audio; `labels`, `digits`, `pairs`:
    demonstrations of each; `queries`: six clips in two folders that are not among them."""

    codec: Path
    lm: Path
    short_lm: Path
    listen: Path
    speak: Path
    clean: Path
    labels: Path
    digits: Path
    pairs: Path
    queries: Path

    @property
    def models(self) -> list[str]:
        """The flags that name this world's models."""
        return ["--codec", str(self.codec), "--lm", str(self.lm)]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """stdout, every line of which is JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def labelled(self) -> list[Any]:
        """The rows that are no error's."""
        return [row for row in self.rows if "error" not in row]

    @property
    def complaints(self) -> list[str]:
        """stderr without notes and the summary; every line says `error: `."""
        remarks = ("note: ", "labels: ", "check first: ", "label next: ", "segments: ")
        lines = [line for line in self.err.splitlines() if not line.startswith(remarks)]
        assert all(line.startswith("error: ") for line in lines), self.err
        return lines

    def is_error(self, code: int, *words: str) -> None:
        """It failed with `code` and said why on one line of stderr, and nothing on stdout."""
        assert (self.err.count("\n"), len(self.complaints), self.out) == (1, 1, ""), self.err
        for word in words:
            assert word in self.err
        assert self.code == code, self.err


def write(path: Path, seed: int = 0, samples: int = 2 * CLIP) -> Path:
    """A clip of noises and chords, 16 bits, mono, at the codec's rate; the name may be any bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), chirps(samples, seed)[0, 0].numpy(), RATE, format="WAV")
    return path


def write_samples(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """Any samples, [T] or [T, channels], in any format of a .wav."""
    soundfile.write(path, samples, rate, format="WAV", subtype=subtype)
    return path


def clip_samples(samples: int = 2 * CLIP) -> np.ndarray:
    """What `write` writes."""
    return chirps(samples)[0, 0].numpy()


def write_lm(folder: Path, context: int) -> Path:
    """A two-layer LLaMA with random weights, and its tokenizer."""
    tokenizer = byte_bpe_object()
    tiny_llama(len(tokenizer), context).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_task(path: Path, **values: object) -> Path:
    """A task's YAML; its clips are two of the codec's shortest."""
    clip = {"seconds": 2 * CLIP / RATE, "pad": False}
    task = {"name": path.stem, "description": "A task", "instruction": "Listen", "shots": 2, "clip": clip}
    path.write_text(yaml.safe_dump({**task, **values}), encoding="utf-8")
    return path


def build_world(folder: Path) -> World:
    """Write the models and the demonstrations."""
    checkpoint = save_codec(codec_in_words(*WORDS), folder / "tiny.safetensors")
    for number, label in enumerate(("up", "upper", "down")):
        for shot in range(2):
            write(folder / "labels" / label / f"{shot}.wav", 10 * number + shot)
    for number in range(6):
        write(folder / "queries" / "ab"[number % 2] / f"{number}.wav", 100 + number)
    for number, digit in enumerate(("one", "two")):
        write(folder / "digits" / digit / "a.wav", number)
    for number in range(2):
        for side in ("noisy", "clean"):
            write(folder / "pairs" / side / f"{number}.wav", number + 5 * (side == "noisy"))
    return World(
        checkpoint,
        write_lm(folder / "lm", 4_096),
        write_lm(folder / "short-lm", 16),
        write_task(folder / "listen.yaml", input="audio", output="label", readout="likelihood"),
        write_task(folder / "speak.yaml", input="text", output="audio", qa_examples={"1 + 1": ["two"]}),
        write_task(folder / "clean.yaml", input="audio", output="audio", generation={"length": "input"}),
        folder / "labels",
        folder / "digits",
        folder / "pairs",
        folder / "queries",
    )
