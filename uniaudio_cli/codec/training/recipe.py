"""Recipe YAML -> frozen `Recipe`; refuses unknown keys. Never knows torch or audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How a codec is trained.

    `codec`: fields of `CodecConfig` except sizes' words, which come from the vocabulary. `sizes`: codes per level.
    `words`: a file of whole words (one a line) that level 0 may use. `audio`: folders. `teacher_model`: a Whisper
    folder or preset, None to train without one. `losses`: weight of each loss by name. `kind_weights`: how much more
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
    teacher_model: str | None = None
    teacher_dim: int = 64
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
