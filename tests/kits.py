"""Kits of small real parts, tasks and demonstrations for tests of the pipeline."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.codec.frozen.parts import write_levels
from tests.factories import chirps, codec_in_words, published_codec, small_codec
from tests.small_lms import tiny_llama
from tests.small_tokenizers import STEMS, WORDS, byte_bpe
from uniaudio_cli.api import Kit
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.codec.frozen.levels import FrozenLevels
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.task import Clip, Generation, Task
from uniaudio_cli.prompting.vocabulary import vocabulary_for

RATE = 16_000
# Samples of a clip that needs no padding: 8 latent frames, as many as the published attention takes at a time.
CLIP = 3_840
SECONDS = CLIP / RATE


@cache
def codec_of(kind: str) -> Codec:
    if kind == "words":
        return codec_in_words(*(STEMS[level::3] for level in range(3)))
    return (published_codec if kind == "published" else small_codec)(tuple(WORDS), vocab=byte_bpe().size)


@cache
def tiny(context: int = 4096) -> LanguageModel:
    return LanguageModel(tiny_llama(byte_bpe().size, context), "tiny")


@cache
def small_frozen() -> FrozenLevels:
    """Levels of small frozen encoders, in a temporary folder of this process."""
    folder = Path(tempfile.mkdtemp(prefix="frozen-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return FrozenLevels(lambda name: folder / name.replace("-base", ""), write_levels(folder))


def make_kit(kind: str = "words", lm: LanguageModel | None = None) -> Kit:
    """`kind`: "words" for a codec in words of one id, "bare" for one whose finer levels are ids, "published"."""
    codec = codec_of(kind)
    return Kit(codec, lm or tiny(), vocabulary_for(codec.config, byte_bpe()), frozen=small_frozen())


KINDS = ["words", "bare", "published"]


def write_clips(folder: Path) -> Path:
    """Seeded clips 0.wav to 9.wav of CLIP samples, short.wav of 400 (25 ms), and long.wav of 3.3 times CLIP."""
    for seed in range(10):
        write_wav(folder / f"{seed}.wav", chirps(CLIP, seed)[0], RATE)
    write_wav(folder / "short.wav", chirps(400, 20)[0], RATE)
    write_wav(folder / "long.wav", chirps(33 * CLIP // 10, 21)[0], RATE)
    return folder


def label_task(**fields: Any) -> Task:
    given = {"name": "pets", "description": "x", "input": "audio", "output": "label", "instruction": "One of {labels}"}
    return Task(**{**given, "readout": "likelihood", "clip": Clip(seconds=SECONDS), **fields})


def speech_task(**fields: Any) -> Task:
    given = {"name": "say", "description": "x", "input": "text", "output": "audio", "instruction": "Say it"}
    return Task(**{**given, "clip": Clip(seconds=SECONDS, pad=False), **fields})


def clean_task(**fields: Any) -> Task:
    given = {"name": "clean", "description": "x", "input": "audio", "output": "audio", "instruction": "Clean it"}
    defaults = {"generation": Generation(length="input"), "clip": Clip(seconds=SECONDS)}
    return Task(**{**given, **defaults, **fields})


def labelled(clips: Path) -> list[Demonstration]:
    return [Demonstration(clips / f"{n}.wav", label) for n, label in enumerate(["up", "upper", "dog", "up"])]


def spoken(clips: Path) -> list[Demonstration]:
    return [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(["one", "two", "thirty two"])]


def pairs(clips: Path) -> list[Demonstration]:
    return [Demonstration(clips / f"{n}.wav", target=clips / f"{n + 1}.wav") for n in (0, 2)]
