"""Teachers: what the coarse levels should mean. Packed audio in, targets per frame and per clip out, cached on disk.

The paper pulls its levels towards T5 and Whisper (section 3). Here a frozen Whisper encoder is asked once per clip; its
50 Hz frames are averaged to 16.7 Hz (60 ms, one level-1 frame of a 33.3 Hz codec), reduced to a few whitened
dimensions (what levels 0 + 1 are pulled towards: the consistency loss), and clustered at 8.3 Hz: the clusters are the
*units* level 0 learns to name. Where the recipe has a sound teacher, clips of sounds get units of their own from what
it says. A text encoder says what a clip's transcript, caption or label means: the semantic loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from uniaudio_cli.codec.training.data import FRAME, TAUGHT, PackedAudio
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.units import clustered, sound_units, texture, whitened

STEP = FRAME // 2
LONGEST_STEPS = 160  # 9.6 s: longer clips are shown to the teacher in pieces
TEXTS_AT_ONCE = 64


class FrameTeacher(Protocol):
    """Something frozen that hears: clips in, features per 60 ms out."""

    @property
    def dimensions(self) -> int: ...

    def __call__(self, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 [T] each, at 16 kHz -> float16 [T // 960, dimensions] each."""
        ...


class SoundTeacher(Protocol):
    """Something frozen that tells sounds apart."""

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """float32 [T] at 16 kHz -> float16 [T // 1920, D]: which kind of sound it hears around each 120 ms."""
        ...


class TextTeacher(Protocol):
    """Something frozen that reads."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> float32 [texts, dimensions]."""
        ...


@dataclass(frozen=True)
class Targets:
    """What the teachers say of one packed cache; None where none was asked.

    `reduced`: float16 [steps, R], NaN where unknown. `units`: int16 [steps // 2], -1 where unknown. `semantic`: float16
    [clips, S], NaN for clips without a text.
    """

    reduced: np.ndarray | None = None
    units: np.ndarray | None = None
    semantic: np.ndarray | None = None


def prepare(
    recipe: Recipe,
    packed: PackedAudio,
    frames: Callable[[], FrameTeacher],
    texts: Callable[[], TextTeacher],
    sounds: Callable[[], SoundTeacher],
    say: Callable[[str], None] = lambda line: None,
) -> Targets:
    """The targets of all packed audio: computed once and kept beside it. Teachers are loaded only when asked."""
    folder = recipe.cache / TAUGHT
    reduced = units = semantic = None
    if recipe.teacher_model is not None:
        parts = (recipe.teacher_model, recipe.sizes[0], recipe.unit_dim, recipe.teacher_dim)
        told_apart = (recipe.sound_teacher, recipe.sound_units) if recipe.sound_teacher else ()
        file = folder / f"{'-'.join(_named(str(part)) for part in (*parts, *told_apart))}.npz"
        if not file.exists():
            clips = np.flatnonzero(packed.kinds != "music")
            raw = folder / _named(recipe.teacher_model)
            features = cache_features(packed, clips, frames(), raw, lambda done: say(f"frame teacher: {done:.0%}"))
            white = whitened(features, max(recipe.unit_dim, recipe.teacher_dim), recipe.seed)
            found = _units(recipe, packed, white[:, : recipe.unit_dim], sounds)
            np.savez(file, reduced=white[:, : recipe.teacher_dim], units=found)
        loaded = np.load(file)
        reduced, units = loaded["reduced"], loaded["units"]
    if recipe.text_teacher is not None:
        file = folder / f"{_named(recipe.text_teacher)}.npy"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            np.save(file, read_texts(packed.texts, texts()))
        semantic = np.load(file)
    return Targets(reduced, units, semantic)


def _units(recipe: Recipe, packed: PackedAudio, white: np.ndarray, sounds: Callable[[], SoundTeacher]) -> np.ndarray:
    """int16 [frames]: units of the frame teacher, and after them those of the sound teacher for the clips of sounds."""
    own = recipe.sound_units if recipe.sound_teacher else 0
    spoken = np.flatnonzero(packed.kinds != "sound") if own else np.arange(len(packed.starts))
    ranges = [packed.frame_range(int(number)) for number in spoken]
    found = clustered(white, ranges, packed.groups[spoken].tolist(), recipe.sizes[0] - own, recipe.seed)
    if own:
        clips, teacher = np.flatnonzero(packed.kinds == "sound"), sounds()
        wavs = [packed.clip(int(number)) for number in clips]
        units = sound_units([teacher(wav) for wav in wavs], [texture(wav) for wav in wavs], own, recipe.seed)
        for number, rows in zip(clips, units, strict=True):
            first, last = packed.frame_range(int(number))
            found[first:last] = recipe.sizes[0] - own + rows
    return found


def _named(model: str) -> str:
    """A file name for a preset, a hub name or a path."""
    return model.strip("/").replace("/", "--")


def read_texts(texts: np.ndarray, teacher: TextTeacher) -> np.ndarray:
    """float16 [clips, S], each dimension of zero mean and unit variance over the known clips; NaN where the text is "".

    A text that many clips have is read once.
    """
    known = sorted(set(texts.tolist()) - {""})
    if not known:
        return np.full((len(texts), 1), np.nan, dtype=np.float16)
    rows = [teacher(known[start : start + TEXTS_AT_ONCE]) for start in range(0, len(known), TEXTS_AT_ONCE)]
    vectors = np.concatenate(rows)
    place = {text: number for number, text in enumerate(known)}
    out = np.full((len(texts), vectors.shape[1]), np.nan, dtype=np.float32)
    told = [number for number, text in enumerate(texts.tolist()) if text]
    out[told] = vectors[[place[texts[number]] for number in told]]
    spread = out[told].std(axis=0).clip(min=1e-6)
    return ((out - out[told].mean(axis=0)) / spread).astype(np.float16)


def _pieces(packed: PackedAudio, number: int) -> Iterator[tuple[int, int]]:
    """(first sample, samples) of each piece of a clip, none longer than the teacher is shown at once."""
    for offset in range(0, int(packed.lengths[number]), LONGEST_STEPS * STEP):
        yield int(packed.starts[number]) + offset, min(LONGEST_STEPS * STEP, int(packed.lengths[number]) - offset)


def cache_features(
    packed: PackedAudio,
    clips: np.ndarray,
    teacher: FrameTeacher,
    folder: Path,
    progress: Callable[[float], None] = lambda done: None,
) -> np.ndarray:
    """float16 [all steps of the packed audio, D], memory-mapped; rows of clips not asked for stay NaN.

    Pieces are sorted by length and run in batches; what is done is noted in `done.npy`, so a killed run goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = sorted(
        (piece for clip in clips for piece in _pieces(packed, int(clip))), key=lambda piece: (-piece[1], piece[0])
    )
    total = len(packed.samples) // STEP
    file = folder / "features.npy"
    if file.exists():
        out = np.lib.format.open_memmap(file, mode="r+")
    else:
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(total, teacher.dimensions))
        out[:] = np.nan
    marker = folder / "done.npy"
    position = int(np.load(marker)) if marker.exists() else 0
    batches = 0
    while position < len(pieces):
        size = max(1, min(32, (4 * LONGEST_STEPS * STEP) // pieces[position][1]))
        batch = pieces[position : position + size]
        wavs = [packed.samples[start : start + length].astype(np.float32) / 32768 for start, length in batch]
        for (start, _), rows in zip(batch, teacher(wavs), strict=True):
            out[start // STEP : start // STEP + len(rows)] = rows
        position += len(batch)
        batches += 1
        if batches % 50 == 0 or position == len(pieces):
            out.flush()
            np.save(marker, position)
            progress(position / len(pieces))
    return out
