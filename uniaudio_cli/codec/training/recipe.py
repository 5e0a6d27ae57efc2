"""Recipe YAML -> frozen `Recipe`; refuses unknown keys. Never knows torch or audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from uniaudio_cli.errors import UsageError
from uniaudio_cli.settings import check, load_settings


@dataclass(frozen=True)
class Recipe:
    """How a codec is trained.

    `codec`: fields of `CodecConfig` except sizes' words, which come from the vocabulary. `sizes`: codes per level.
    `words`: a file of whole words (one a line) that level 0 may use. `init`: a codec (preset or checkpoint) to train on
    from, in the LLM's words; its own architecture and sizes count then. `audio`: folders. `teacher_model`: a Whisper
    folder or preset, None to train without one; `teacher_dim` of its whitened dimensions pull levels 0 + 1, `unit_dim`
    make the units that level 0 names. `losses`: weight of each loss by name. `kind_weights`: how much more
    often a kind of clip is drawn than its length says. `crop_frames`: level-0 frames (120 ms) per crop.
    """

    name: str
    lm: str
    codec: Mapping[str, Any]
    sizes: tuple[int, ...]
    audio: tuple[Path, ...]
    cache: Path
    losses: Mapping[str, float]
    words: Path | None = None
    init: str | None = None
    teacher_model: str | None = None
    teacher_dim: int = 64
    unit_dim: int = 256
    kind_weights: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 16
    crop_frames: int = 12
    gain_db: float = 3.0
    steps: int = 10_000
    learning_rate: float = 5e-4
    warmup: int = 300
    decay: float = 0.3
    clip_gradient: float = 1.0
    bfloat16: bool = True
    compile: bool = False
    report_every: int = 50
    save_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("batch_size", "crop_frames", "steps", "report_every", "save_every", "teacher_dim", "unit_dim"):
            check(getattr(self, key) >= 1, key, "1 or more", getattr(self, key))
        for key in ("learning_rate", "clip_gradient"):
            check(getattr(self, key) > 0, key, "more than 0", getattr(self, key))
        check(len(self.sizes) == len(self.codec.get("strides", ())), "sizes", "one size a stride", list(self.sizes))
        for name in self.losses:
            check(name in LOSSES, f"losses.{name}", f"one of {', '.join(LOSSES)}", name)


LOSSES = ("mel", "stft", "commitment", "codebook", "entropy", "units", "consistency")


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
