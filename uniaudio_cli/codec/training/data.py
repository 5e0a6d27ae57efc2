"""Training audio: folders in, one memory-mapped int16 file of level-normalised clips out, and random crops of it.

Two cores should not spend a training step on decoding, so every clip is read, resampled and normalised once. Clips
start on multiples of `FRAME` samples (one level-0 frame of a codec with hop 480 and stride 4), so that teacher
features, which are stored per frame, stay aligned with any crop that starts on such a multiple.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.codec.training.augment import TELEPHONE_HZ, band_limited, faster, spoiled
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.data.audio_listing import listing

FRAME = 1920
TAUGHT = "taught"  # the subfolder of a cache with what teachers said of its audio
WORTH_WORKERS = 64  # clips; starting workers takes seconds
COLUMNS = ("kinds", "groups", "splits", "texts")


@dataclass(frozen=True)
class PackedAudio:
    """Clips of one packed cache.

    `samples`: int16 [N], all clips one after the other, each zero-padded to a multiple of FRAME.
    `starts`, `lengths`: int64 [clips], in samples, multiples of FRAME. `kinds`, `groups`, `splits`, `texts`: str
    [clips]; a text is the clip's transcript, caption or label, "" where none is known.
    """

    samples: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    texts: np.ndarray
    sample_rate: int

    def clip(self, number: int) -> np.ndarray:
        """float32 [length] in [-1, 1]."""
        start = self.starts[number]
        return self.samples[start : start + self.lengths[number]].astype(np.float32) / 32768

    def frame_range(self, number: int) -> tuple[int, int]:
        """First frame of a clip and the one after its last, counted over all packed audio."""
        first = int(self.starts[number]) // FRAME
        return first, first + int(self.lengths[number]) // FRAME


def load_packed(folder: Path) -> PackedAudio:
    """Memory-map what `pack` wrote.

    Raises:
        UniAudioError: there is no packed audio in `folder`.
    """
    if not (folder / "index.npz").exists():
        raise UniAudioError(f"{show(folder)}: holds no packed audio; name audio to pack in the recipe")
    index = np.load(folder / "index.npz")
    columns = {name: index[name] for name in ("starts", "lengths", *COLUMNS)}
    samples = np.memmap(folder / "audio.int16", dtype=np.int16, mode="r")
    return PackedAudio(samples, **columns, sample_rate=int(index["sample_rate"]))


def _prepare(path: Path, sample_rate: int, level_db: float | None) -> np.ndarray | None:
    """int16 [T], normalised and padded; None for a clip that cannot be read or holds nothing."""
    try:
        wav = read_wav(path, sample_rate)
        if level_db is not None:
            wav = normalise_level(wav, level_db, sample_rate)
    except UniAudioError:
        return None
    padded = np.zeros(-(-wav.shape[-1] // FRAME) * FRAME, dtype=np.float32)
    padded[: wav.shape[-1]] = wav[0].numpy()
    return np.round(np.clip(padded, -1, 1) * 32767).astype(np.int16)


def pack(sources: Sequence[Path], out: Path, sample_rate: int, level_db: float | None) -> PackedAudio:
    """Write `audio.int16` and `index.npz` to `out`, or reuse them when the listing has not changed.

    Clips are brought to the active level `level_db`, or left as they are (None). What was computed of other audio in
    the same folder (the teachers' answers) goes.

    Raises:
        UniAudioError: the sources hold no readable audio.
    """
    rows = [row for source in sources for row in listing(source)]
    nothing = UniAudioError(f"{', '.join(map(show, sources))}: no readable audio to train on")
    if not any(row.path.is_file() for row in rows):  # as with a mistyped path: what is in the cache stays
        raise nothing
    key = json.dumps([[str(value) for value in astuple(row)] for row in rows] + [[str(sample_rate), str(level_db)]])
    if (out / "listing.json").exists() and (out / "listing.json").read_text(encoding="utf-8") == key:
        return load_packed(out)
    shutil.rmtree(out / TAUGHT, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    kept, starts, lengths, position = [], [], [], 0
    prepare = partial(_prepare, sample_rate=sample_rate, level_db=level_db)
    paths = [row.path for row in rows]
    with ExitStack() as stack:
        file = stack.enter_context((out / "audio.int16").open("wb"))
        if len(rows) < WORTH_WORKERS:
            clips: Iterator[np.ndarray | None] = map(prepare, paths)
        else:  # spawned: a fork of a process whose libraries hold threads may never wake
            pool = stack.enter_context(ProcessPoolExecutor(mp_context=get_context("spawn")))
            clips = pool.map(prepare, paths, chunksize=32)
        for row, clip in zip(rows, clips, strict=True):
            if clip is None:
                continue
            kept.append(row)
            starts.append(position)
            lengths.append(len(clip))
            position += len(clip)
            file.write(clip.tobytes())
    if not kept:
        raise nothing
    columns = {column: np.array([getattr(row, column[:-1]) for row in kept]) for column in COLUMNS}
    index: dict[str, Any] = {"starts": starts, "lengths": lengths, "sample_rate": sample_rate, **columns}
    with atomic(out / "index.npz", force=True) as temporary, temporary.open("wb") as written:
        np.savez(written, **index)
    (out / "listing.json").write_text(key, encoding="utf-8")
    return load_packed(out)


@dataclass(frozen=True)
class Batch:
    """`clean`: float32 [B, 1, T], the target. `heard`: [B, 1, T], what the codec is given: the same, or spoiled.
    `clips`, `frames`: int64 [B], where each crop starts, and `tempos`: float64 [B], how many of the clip's frames one
    of the crop's takes: for what the teachers say of it. `bends`: float32 [B], as `small.bent` takes them."""

    clean: np.ndarray
    heard: np.ndarray
    clips: np.ndarray
    frames: np.ndarray
    tempos: np.ndarray
    bends: np.ndarray


@dataclass(frozen=True)
class Crops:
    """Random crops of one split. Batch n of a seed is always the same, so a run resumed at n goes on as if it had never
    stopped, and no random state needs to be saved.

    Clips are drawn by length times the weight of their kind, a crop starts on a level-0 frame, shorter clips are
    zero-padded, and each crop's gain is drawn from +-gain_db. `tempo`, `narrow_probability`, `degrade_probability`
    and `vtlp` are the recipe's.

    Raises:
        UniAudioError: the split has no clip.
    """

    packed: PackedAudio
    split: str
    batch_size: int
    crop_frames: int
    weights: Mapping[str, float]
    gain_db: float
    seed: int
    tempo: float = 0.0
    narrow_probability: float = 0.0
    degrade_probability: float = 0.0
    vtlp: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.members):
            raise UniAudioError(f"the training audio has no clip of the split {self.split!r}")

    @cached_property
    def members(self) -> np.ndarray:
        """The split's clips, int64 [n]."""
        return np.flatnonzero(self.packed.splits == self.split)

    @cached_property
    def chance(self) -> np.ndarray:
        """How likely each of them is drawn, [n]."""
        lengths = np.minimum(self.packed.lengths[self.members], 8 * self.crop_frames * FRAME).astype(np.float64)
        weighed = lengths * np.array([self.weights.get(kind, 1.0) for kind in self.packed.kinds[self.members]])
        return weighed / weighed.sum()

    def batch(self, number: int, rank: int = 0) -> Batch:
        """Batch `number` of process `rank`."""
        random = np.random.default_rng((self.seed, number, rank))
        clips = random.choice(self.members, size=self.batch_size, p=self.chance)
        tempos = np.exp(random.uniform(-1, 1, self.batch_size) * np.log1p(self.tempo))
        clean = np.zeros((self.batch_size, self.crop_frames * FRAME), dtype=np.float32)
        frames = np.zeros(self.batch_size, dtype=np.int64)
        for row, clip in enumerate(clips):
            frames[row], piece = self._crop(int(clip), random, tempos[row])
            if random.random() < self.narrow_probability:
                piece = band_limited(piece, random.uniform(*TELEPHONE_HZ), self.packed.sample_rate)
            clean[row, : len(piece)] = piece * 10 ** (random.uniform(-self.gain_db, self.gain_db) / 20)
        clean = heard = np.clip(clean, -1, 1)[:, None]
        if self.degrade_probability:
            heard = np.stack([self._spoiled(row[0], random)[None] for row in clean]).clip(-1, 1)
        bends = np.exp(random.uniform(-1, 1, self.batch_size) * np.log1p(self.vtlp)).astype(np.float32)
        return Batch(clean, heard, clips, frames, tempos, bends)

    def _crop(self, clip: int, random: np.random.Generator, tempo: float = 1.0) -> tuple[int, np.ndarray]:
        """(first level-0 frame, samples) of a random crop, played `tempo` times as fast."""
        wanted = self.crop_frames * FRAME
        taken = int(np.ceil(wanted * tempo))
        room = (int(self.packed.lengths[clip]) - taken) // FRAME
        frame = int(random.integers(0, max(room, 0) + 1))
        piece = self.packed.clip(clip)[frame * FRAME :][:taken]
        return frame, faster(piece, tempo)[:wanted]

    def _spoiled(self, clean: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if random.random() >= self.degrade_probability:
            return clean
        noise = np.zeros_like(clean)
        _, piece = self._crop(int(random.choice(self.members, p=self.chance)), random)
        noise[: len(piece)] = piece
        return spoiled(clean, noise, self.packed.sample_rate, random)
