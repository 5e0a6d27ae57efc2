"""The levels `sounds`, `speech` and `tags` of frozen encoders, each loaded at its first clip."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np

from uniaudio_cli.audio.levels import SOUNDS, SPEECH, TAGS, level_name
from uniaudio_cli.codec.frozen.tags import TagLevel
from uniaudio_cli.codec.frozen.units import Array, SoftLevel, Units
from uniaudio_cli.codec.frozen.whisper import WhisperFrames
from uniaudio_cli.codec.frozen.yamnet import YAMNet
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.schema import FROM_LIST, Schema

RATE = 16_000  # of every encoder here
WEIGHTS = Path(__file__).parents[2] / "weights" / "frozen-levels.safetensors"


class LevelOptions(Schema):
    """What a level's codebooks belong to.

    `encoder`: a preset or folder. `sha256`: of the encoder's files. `words`: what a person reads, one a code.
    """

    encoder: str
    sha256: Mapping[str, str] = {}
    temperature: float
    normalise: bool = False
    segments: int = 1
    fitted_on: str = ""
    words: Annotated[tuple[str, ...], FROM_LIST] = ()


SOUND_OPTIONS = LevelOptions(
    encoder="yamnet",
    sha256={"YamNet_w8a8.onnx.zip": "cf149c90fc9b46c19569d7d6a841d7211ebfc45e6c927c3de0c9b080096bfb54"},
    temperature=4.0,
    normalise=True,
    fitted_on="1,587 clips of speech, music and sounds out of Debian packages",
)
SPEECH_OPTIONS = LevelOptions(
    encoder="whisper-base",
    sha256={"model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"},
    temperature=2.0,
    segments=3,
    fitted_on="528 clips of speech in many languages out of Debian packages",
)


class FrozenLevel(Protocol):
    """A level of a frozen encoder."""

    def __call__(self, wav: Array) -> SoftLevel:
        """wav float32 [T] at `RATE`, of any level -> the clip on this level."""
        ...


class SoundLevel:
    """1,024 units of YAMNet's embedding, over the whole clip."""

    def __init__(self, yamnet: YAMNet, units: Units) -> None:
        self.yamnet, self.units = yamnet, units

    def __call__(self, wav: Array) -> SoftLevel:
        patches = self.yamnet.patches(wav)
        return self.units.level(patches.roots, patches.weights)


class SpeechLevel:
    """4 books of 256 units of Whisper's frames, in three segments of the clip."""

    def __init__(self, folder: Path, units: Units) -> None:
        self.whisper, self.units = WhisperFrames(folder), units

    def __call__(self, wav: Array) -> SoftLevel:
        frames = self.whisper(wav)
        return self.units.level(frames.features, frames.weights)


class FrozenLevels:
    """Frozen levels by number; an encoder is fetched and loaded when its level is first used.

    Args:
        resolve: an encoder's name -> its folder.
        weights: codebooks (.safetensors), with a .json of `LevelOptions` by level beside them.
    """

    def __init__(self, resolve: Callable[[str], Path], weights: Path = WEIGHTS) -> None:
        self.resolve, self.weights = resolve, weights
        self._levels: dict[int, FrozenLevel] = {}
        self._lock = threading.RLock()

    def __getitem__(self, level: int) -> FrozenLevel:
        """The level of this number.

        Raises:
            MissingWeightsError: its encoder or its codebooks are not here and cannot be fetched.
            UniAudioError: an encoder's file is not the one that the codebooks belong to.
        """
        with self._lock:
            if level not in self._levels:
                self._levels[level] = self._load(level)
            return self._levels[level]

    def _load(self, level: int) -> FrozenLevel:
        if level == TAGS:
            return TagLevel(self.tagger)
        if level == SOUNDS:
            return SoundLevel(self.tagger, self.units(SOUNDS))
        return SpeechLevel(self._folder(SPEECH), self.units(SPEECH))

    def _folder(self, level: int) -> Path:
        """The folder of a level's encoder, its files checked."""
        options = self.options[level_name(level)]
        folder = self.resolve(options.encoder)
        for file, digest in options.sha256.items():
            _check(folder / file, digest)
        return folder

    @cached_property
    def tagger(self) -> YAMNet:
        """The encoder of `sounds` and `tags`; raises as `[level]` does."""
        return YAMNet(self._folder(SOUNDS))

    @cached_property
    def options(self) -> Mapping[str, LevelOptions]:
        """By the level's name.

        Raises:
            MissingWeightsError: the file is not here.
        """
        path = self.weights.with_suffix(".json")
        if not path.is_file():
            raise MissingWeightsError(f"{show(path)}: no codebooks of frozen levels; install uniaudio again")
        return {name: LevelOptions(**given) for name, given in json.loads(path.read_text(encoding="utf-8")).items()}

    @cached_property
    def fingerprint(self) -> str:
        """What identifies the codebooks and their encoders: a hash of both files."""
        files = (self.weights, self.weights.with_suffix(".json"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:32]

    def units(self, level: int) -> Units:
        """The codebooks of a level."""
        from safetensors.numpy import load_file

        prefix = f"{level_name(level)}."
        tensors = {name.removeprefix(prefix): value for name, value in load_file(self.weights).items()}
        options = self.options[level_name(level)]
        found = {name: np.asarray(value) for name, value in tensors.items() if "." not in name}
        return Units.of(found, options.temperature, options.normalise)

    def words(self, level: int, codes: tuple[int, ...]) -> list[str]:
        """What a person reads for codes of a level."""
        words = self.tagger.class_names if level == TAGS else self.options[level_name(level)].words
        return [words[code] for code in codes]


def _check(path: Path, digest: str) -> None:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hashed.update(chunk)
    if hashed.hexdigest() != digest:
        raise UniAudioError(f"{show(path)}: not the file that the codebooks of this level belong to")
