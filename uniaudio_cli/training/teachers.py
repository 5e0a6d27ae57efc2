"""Teacher targets: packed audio to features and units per frame and text embeddings per clip, cached on disk.

The paper distils T5 and Whisper into its levels (UniAudio 1.5, section 3). Here a frozen Whisper encoder runs once per
clip. Its 50-Hz frames are averaged to steps of half a level-0 frame (60 ms) and whitened to few dimensions, the
features of the consistency loss; they are clustered per level-0 frame (120 ms) to *units*, the targets of level 0.
Where the recipe has a sound teacher, clips of sounds have units of their own. A text encoder embeds a clip's
transcript, caption or label for the semantic loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from uniaudio_cli.audio.features import frame_texture
from uniaudio_cli.training.data import TARGETS_FOLDER, PackedAudio
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.units import cluster_sound_units, cluster_units, whiten

LONGEST_STEPS = 160  # 9.6 s at 60 ms: longer clips are split
TEXTS_PER_BATCH = 64


class FrameTeacher(Protocol):
    """A frozen audio encoder: clips to features per step of half a level-0 frame."""

    @property
    def dimensions(self) -> int: ...

    def __call__(self, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 [T] each, at 16 kHz -> float16 [T // step_length, dimensions] each."""
        ...


class SoundTeacher(Protocol):
    """A frozen classifier of sounds: a clip to embeddings per level-0 frame."""

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """float32 [T] at 16 kHz -> float16 [T // frame_length, D]."""
        ...


class TextTeacher(Protocol):
    """A frozen text encoder."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 [texts, dimensions]."""
        ...


@dataclass(frozen=True)
class Targets:
    """The targets of one packed cache; None where the recipe has no such teacher.

    `features`: float16 [steps, R], NaN where unknown. `units`: int16 [steps // 2], -1 where unknown. `semantic`:
    float16 [clips, S], NaN for clips without a text.
    """

    features: np.ndarray | None = None
    units: np.ndarray | None = None
    semantic: np.ndarray | None = None


def teacher_targets(
    recipe: Recipe,
    packed: PackedAudio,
    frames: Callable[[], FrameTeacher],
    texts: Callable[[], TextTeacher],
    sounds: Callable[[], SoundTeacher],
    say: Callable[[str], None] = lambda line: None,
) -> Targets:
    """The targets of all packed audio, computed once and kept beside it. Teachers are loaded only where needed."""
    folder = recipe.cache / TARGETS_FOLDER
    features = units = semantic = None
    if recipe.speech_teacher is not None:
        parts = (recipe.speech_teacher, recipe.sizes[0], recipe.unit_dim, recipe.consistency_dim)
        sounds_key = (recipe.sound_teacher, recipe.sound_units) if recipe.sound_teacher else ()
        file = folder / f"{'-'.join(_named(str(part)) for part in (*parts, *sounds_key))}.npz"
        if not file.exists():
            clips = np.flatnonzero(packed.kinds != "music")
            raw = folder / _named(recipe.speech_teacher)
            extracted = cache_features(packed, clips, frames(), raw, lambda done: say(f"frame teacher: {done:.0%}"))
            white = whiten(extracted, max(recipe.unit_dim, recipe.consistency_dim), recipe.seed)
            unit_rows = _units(recipe, packed, white[:, : recipe.unit_dim], sounds)
            np.savez(file, features=white[:, : recipe.consistency_dim], units=unit_rows)
        loaded = np.load(file)
        features, units = loaded["features"], loaded["units"]
    if recipe.text_teacher is not None:
        file = folder / f"{_named(recipe.text_teacher)}.npy"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            np.save(file, embed_texts(packed.texts, texts()))
        semantic = np.load(file)
    return Targets(features, units, semantic)


def _units(recipe: Recipe, packed: PackedAudio, white: np.ndarray, sounds: Callable[[], SoundTeacher]) -> np.ndarray:
    """int16 [frames]: units of the frame teacher, then those of the sound teacher for clips of sounds."""
    own = recipe.sound_units if recipe.sound_teacher else 0
    spoken = np.flatnonzero(packed.kinds != "sound") if own else np.arange(len(packed.starts))
    ranges = [packed.frame_range(int(number)) for number in spoken]
    found = cluster_units(white, ranges, packed.groups[spoken].tolist(), recipe.sizes[0] - own, recipe.seed)
    if own:
        clips, teacher = np.flatnonzero(packed.kinds == "sound"), sounds()
        wavs = [packed.clip(int(number)) for number in clips]
        textures = [frame_texture(wav, packed.frame_length, packed.sample_rate) for wav in wavs]
        units = cluster_sound_units([teacher(wav) for wav in wavs], textures, own, recipe.seed)
        for number, rows in zip(clips, units, strict=True):
            first, last = packed.frame_range(int(number))
            found[first:last] = recipe.sizes[0] - own + rows
    return found


def _named(model: str) -> str:
    """A file name for a preset, a hub name or a path."""
    return model.strip("/").replace("/", "--")


def embed_texts(texts: np.ndarray, teacher: TextTeacher) -> np.ndarray:
    """float16 [clips, S], each dimension of zero mean and unit variance over the known clips; NaN where the text is "".

    A text that several clips share is embedded once.
    """
    known = sorted(set(texts.tolist()) - {""})
    if not known:
        return np.full((len(texts), 1), np.nan, dtype=np.float16)
    rows = [teacher(known[start : start + TEXTS_PER_BATCH]) for start in range(0, len(known), TEXTS_PER_BATCH)]
    vectors = np.concatenate(rows)
    place = {text: number for number, text in enumerate(known)}
    out = np.full((len(texts), vectors.shape[1]), np.nan, dtype=np.float32)
    with_text = [number for number, text in enumerate(texts.tolist()) if text]
    out[with_text] = vectors[[place[texts[number]] for number in with_text]]
    spread = out[with_text].std(axis=0).clip(min=1e-6)
    return ((out - out[with_text].mean(axis=0)) / spread).astype(np.float16)


def _segments(packed: PackedAudio, number: int) -> Iterator[tuple[int, int]]:
    """(first sample, samples) of each segment of a clip, at most LONGEST_STEPS long."""
    longest = LONGEST_STEPS * packed.step_length
    for offset in range(0, int(packed.lengths[number]), longest):
        yield int(packed.starts[number]) + offset, min(longest, int(packed.lengths[number]) - offset)


def cache_features(
    packed: PackedAudio,
    clips: np.ndarray,
    teacher: FrameTeacher,
    folder: Path,
    progress: Callable[[float], None] = lambda done: None,
) -> np.ndarray:
    """Features of `clips`: float16 [steps of all packed audio, D], memory-mapped; other clips' rows are NaN.

    Segments are sorted by length and run in batches. `done.npy` counts the finished ones, so a killed run resumes.
    """
    step = packed.step_length
    folder.mkdir(parents=True, exist_ok=True)
    segments = sorted(
        (segment for clip in clips for segment in _segments(packed, int(clip))), key=lambda each: (-each[1], each[0])
    )
    total = len(packed.samples) // step
    file = folder / "features.npy"
    if file.exists():
        out = np.lib.format.open_memmap(file, mode="r+")
    else:
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(total, teacher.dimensions))
        out[:] = np.nan
    marker = folder / "done.npy"
    position = int(np.load(marker)) if marker.exists() else 0
    batches = 0
    while position < len(segments):
        size = max(1, min(32, (4 * LONGEST_STEPS * step) // segments[position][1]))
        batch = segments[position : position + size]
        wavs = [packed.samples[start : start + length].astype(np.float32) / 32768 for start, length in batch]
        for (start, _), rows in zip(batch, teacher(wavs), strict=True):
            out[start // step : start // step + len(rows)] = rows
        position += len(batch)
        batches += 1
        if batches % 50 == 0 or position == len(segments):
            out.flush()
            np.save(marker, position)
            progress(position / len(segments))
    return out
