"""Recipe YAML -> frozen `Recipe`; refuses unknown keys. Never knows torch or audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.schema import check, check_choices, load_settings

LOSSES = (
    "time",
    "mel",
    "stft",
    "subband",
    "loudness",
    "envelope",
    "cycle",
    "adversarial",
    "features",
    "commitment",
    "codebook",
    "entropy",
    "units",
    "consistency",
    "semantic",
)
OF_CODES = ("commitment", "codebook", "entropy", "units", "consistency", "semantic")  # say nothing to a decoder
OF_COARSE = ("units", "consistency")  # all that level 0's own encoder is taught


@dataclass(frozen=True)
class Judges:
    """The discriminators: one a hop, `channels` wide; they and what they ask of the codec begin at step `start`."""

    hops: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    channels: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    start: int = 0
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        check(len(self.hops) == len(self.channels), "discriminators.channels", "one a hop", list(self.channels))
        check(min(self.hops, default=0) >= 16, "discriminators.hops", "16 samples or more each", list(self.hops))
        check(self.start >= 0, "discriminators.start", "0 or more", self.start)


@dataclass(frozen=True)
class Validation:
    """Every `every` steps: losses over `batches` batches of the validation split, and `samples` clips to listen to."""

    every: int = 1000
    batches: int = 8
    samples: int = 4

    def __post_init__(self) -> None:
        for key in ("every", "batches"):
            check(getattr(self, key) >= 1, f"validation.{key}", "1 or more", getattr(self, key))
        check(self.samples >= 0, "validation.samples", "0 or more", self.samples)


@dataclass(frozen=True)
class Recipe:
    """How a codec is trained.

    `codec`: fields of `CodecConfig` except the words. Those come from `vocabulary`, a file that `codec vocabulary
    build` wrote, or else are chosen for `sizes` (codes per level) among `words`, a file of whole words, one a line.
    `init`: a codec (preset or checkpoint) to train on from, in the LLM's words; its architecture and words count then.
    `trains`: what learns, while all else stands still. "coarse": level 0's own encoder, a copy of the codec's where
    `init` has none, and its table, by `units` and `consistency` alone. "fine": all but these, so that level 0's codes
    stay. "decoder": the decoder alone, so that all codes do, by losses of what is heard.

    `audio`: folders (with metadata.jsonl or without), files and lists of them; None takes what `cache` holds already,
    as on a machine that only the cache was sent to. `cache`: where packed audio and the teachers' answers are kept.
    `kind_weights`: how much more often a kind of clip is drawn than its length says. `crop_frames`: level-0 frames
    (120 ms) per crop. `tempo`: a crop is played up to so much faster or slower, its pitch and formants with it, so that
    few voices become many. `narrow_probability`: how often a crop, target included, ends at 3 to 4 kHz, as from a
    telephone. `degrade_probability`: how often the codec hears a spoiled crop and is asked for the clean one, or, where
    only "coarse" trains, for its units; `vtlp`: how far its mel bands are moved there, as by other vocal tracts.

    `teacher_model`: a Whisper folder or preset, None for none; `teacher_dim` of its whitened dimensions pull levels
    0 + 1, `unit_dim` make the units that level 0 names. `sound_teacher`: a YAMNet folder or preset, of which
    `sound_units` of these units are made, for clips of the kind "sound". `text_teacher`: a text encoder for
    the semantic loss.

    `average`: how much stays at every step of a running mean of the weights, which is then what is validated and
    written (0.999 is about the last thousand steps); 0 for none.

    `losses`: the weight of each by name; what is left out is not computed. One step takes `accumulate` batches of
    `batch_size` on every process.
    """

    name: str
    lm: str
    codec: Mapping[str, Any]
    sizes: tuple[int, ...]
    cache: Path
    losses: Mapping[str, float]
    audio: tuple[Path, ...] | None = None
    words: Path | None = None
    vocabulary: Path | None = None
    init: str | None = None
    trains: Literal["all", "coarse", "fine", "decoder"] = "all"
    teacher_model: str | None = None
    teacher_dim: int = 64
    unit_dim: int = 256
    sound_teacher: str | None = None
    sound_units: int = 64
    text_teacher: str | None = None
    kind_weights: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 16
    accumulate: int = 1
    crop_frames: int = 12
    gain_db: float = 3.0
    tempo: float = 0.0
    narrow_probability: float = 0.0
    degrade_probability: float = 0.0
    vtlp: float = 0.0
    steps: int = 10_000
    learning_rate: float = 5e-4
    warmup: int = 300
    decay: float = 0.3
    clip_gradient: float = 1.0
    average: float = 0.0
    discriminators: Judges | None = None
    validation: Validation = field(default_factory=Validation)
    bfloat16: bool = True
    compile: bool = False
    report_every: int = 50
    save_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("batch_size", "accumulate", "crop_frames", "steps", "report_every", "save_every", "teacher_dim")
        for key in (*counts, "unit_dim"):
            check(getattr(self, key) >= 1, key, "1 or more", getattr(self, key))
        for key in ("learning_rate", "clip_gradient"):
            check(getattr(self, key) > 0, key, "more than 0", getattr(self, key))
        check_choices(self)
        check(0 <= self.average < 1, "average", "from 0 to below 1", self.average)
        for key in ("decay", "degrade_probability", "narrow_probability", "tempo", "vtlp"):
            check(0 <= getattr(self, key) <= 1, key, "from 0 to 1", getattr(self, key))
        if self.sound_teacher is not None:
            check(self.teacher_model is not None, "teacher_model", "given beside a sound_teacher", None)
            check(0 < self.sound_units < self.sizes[0], "sound_units", "1 or more, below sizes[0]", self.sound_units)
        check(self.init is None or self.vocabulary is None, "vocabulary", "left out beside init", str(self.vocabulary))
        check(len(self.sizes) == len(self.codec.get("strides", ())), "sizes", "one size a stride", list(self.sizes))
        for name in self.losses:
            check(name in LOSSES, f"losses.{name}", f"one of {', '.join(LOSSES)}", name)
        for name in LOSSES:
            fits = {"decoder": name not in OF_CODES, "coarse": name in OF_COARSE}.get(self.trains, True)
            check(fits or not self.weight(name), f"losses.{name}", f"left out where {self.trains} trains alone", name)
        check(not self.vtlp or self.trains == "coarse", "vtlp", "0 unless coarse trains alone", self.vtlp)
        judged = self.discriminators is not None and self.trains == "coarse"
        check(not judged, "discriminators", "left out where coarse trains alone", None)
        for names, key, there in (
            (("adversarial", "features"), "discriminators", self.discriminators is not None),
            (("units", "consistency"), "teacher_model", self.teacher_model is not None),
            (("semantic",), "text_teacher", self.text_teacher is not None),
        ):
            for name in names:
                check(there or not self.weight(name), key, f"given for the loss '{name}'", None)

    def weight(self, loss: str) -> float:
        """The weight of a loss; 0 where it is left out."""
        return self.losses.get(loss, 0.0)


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """A recipe's YAML; `settings` are "key=value" or "section.key=value" in place of the file's values.

    Raises:
        UsageError: as `load_settings` says, or a setting without "=".
    """
    overrides = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write KEY=VALUE")
        overrides[key.strip()] = yaml.safe_load(value)
    return load_settings(path, Recipe, overrides)
