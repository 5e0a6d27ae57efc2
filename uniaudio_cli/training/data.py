"""Training audio: folders to one memory-mapped int16 file of level-normalised clips, and random crops of it.

Every clip is read, resampled and normalised once, so that training steps do not decode files. Clips start on multiples
of a level-0 frame (`frame_length` samples: the codec's hop times its coarsest stride), so that teacher features, which
are stored per frame, are aligned with every crop that starts on a frame.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.data.manifest import listing
from uniaudio_cli.training.augment import TELEPHONE_HZ, band_limit, change_tempo, degrade

TARGETS_FOLDER = "targets"  # the subfolder of a cache with the teachers' targets for its audio
STEPS_PER_FRAME = 2  # teacher features per level-0 frame
PARALLEL_FROM = 64  # clips; starting workers takes seconds
COLUMNS = ("kinds", "groups", "splits", "texts")


@dataclass(frozen=True)
class PackedAudio:
    """Clips of one packed cache.

    `samples`: int16 [N], all clips one after the other, each zero-padded to a multiple of `frame_length`. `starts`,
    `lengths`: int64 [clips], in samples, multiples of `frame_length`. `kinds`, `groups`, `splits`, `texts`: str
    [clips]; a text is the clip's transcript, caption or label, "" where unknown. `sample_rate`: Hz. `frame_length`:
    samples per level-0 frame.
    """

    samples: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    texts: np.ndarray
    sample_rate: int
    frame_length: int

    @property
    def step_length(self) -> int:
        """Samples per step of the frame teacher's features."""
        return self.frame_length // STEPS_PER_FRAME

    def clip(self, number: int) -> np.ndarray:
        """float32 [length] in [-1, 1]."""
        start = self.starts[number]
        return self.samples[start : start + self.lengths[number]].astype(np.float32) / 32768

    def frame_range(self, number: int) -> tuple[int, int]:
        """A clip's first frame and the one after its last, counted over all packed audio."""
        first = int(self.starts[number]) // self.frame_length
        return first, first + int(self.lengths[number]) // self.frame_length


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
    return PackedAudio(
        samples, **columns, sample_rate=int(index["sample_rate"]), frame_length=int(index["frame_length"])
    )


def _read_clip(path: Path, sample_rate: int, level_db: float | None, frame_length: int) -> np.ndarray | None:
    """int16 [T], normalised and padded; None for a clip that is unreadable or empty."""
    try:
        wav = read_wav(path, sample_rate)
        if level_db is not None:
            wav = normalise_level(wav, level_db, sample_rate)
    except UniAudioError:
        return None
    padded = np.zeros(-(-wav.shape[-1] // frame_length) * frame_length, dtype=np.float32)
    padded[: wav.shape[-1]] = wav[0].numpy()
    return np.round(np.clip(padded, -1, 1) * 32767).astype(np.int16)


def pack(
    sources: Sequence[Path], out: Path, sample_rate: int, level_db: float | None, frame_length: int
) -> PackedAudio:
    """Write `audio.int16` and `index.npz` to `out`, or reuse them where the listing has not changed.

    Clips are brought to the active level `level_db` (dB full scale), or left unchanged (None). Teacher targets of other
    audio in the same folder are deleted.

    Raises:
        UniAudioError: the sources hold no readable audio.
    """
    rows = [row for source in sources for row in listing(source)]
    nothing = UniAudioError(f"{', '.join(map(show, sources))}: no readable audio to train on")
    if not any(row.path.is_file() for row in rows):  # as with a mistyped path: the cache is kept
        raise nothing
    settings = [str(sample_rate), str(level_db), str(frame_length)]
    key = json.dumps(
        [*(list(map(str, (row.path, row.kind, row.group, row.split, row.text))) for row in rows), settings]
    )
    if (out / "listing.json").exists() and (out / "listing.json").read_text(encoding="utf-8") == key:
        return load_packed(out)
    shutil.rmtree(out / TARGETS_FOLDER, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    kept, starts, lengths, position = [], [], [], 0
    read = partial(_read_clip, sample_rate=sample_rate, level_db=level_db, frame_length=frame_length)
    paths = [row.path for row in rows]
    with ExitStack() as stack:
        file = stack.enter_context((out / "audio.int16").open("wb"))
        if len(rows) < PARALLEL_FROM:
            clips: Iterator[np.ndarray | None] = map(read, paths)
        else:  # spawned, because a forked process may deadlock on the locks of its libraries' threads
            pool = stack.enter_context(ProcessPoolExecutor(mp_context=get_context("spawn")))
            clips = pool.map(read, paths, chunksize=32)
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
    index: dict[str, Any] = {"starts": starts, "lengths": lengths, **columns}
    index |= {"sample_rate": sample_rate, "frame_length": frame_length}
    with atomic(out / "index.npz", force=True) as temporary, temporary.open("wb") as written:
        np.savez(written, **index)
    (out / "listing.json").write_text(key, encoding="utf-8")
    return load_packed(out)


@dataclass(frozen=True)
class Batch:
    """Crops as arrays.

    `clean`: float32 [B, 1, T], the target. `encoder_input`: [B, 1, T], the same or degraded. `clips`, `frames`: int64
    [B], each crop's clip and first level-0 frame; `tempos`: float64 [B], clip frames per crop frame. The teachers'
    targets are looked up by these three. `vtlp_factors`: float32 [B], of `small.warp_mel`.
    """

    clean: np.ndarray
    encoder_input: np.ndarray
    clips: np.ndarray
    frames: np.ndarray
    tempos: np.ndarray
    vtlp_factors: np.ndarray


@dataclass(frozen=True)
class Crops:
    """Random crops of one split. Batch n depends on n, the rank and the seed alone, so resuming needs no random state.

    A clip's probability is its length times the weight of its kind. A crop starts on a level-0 frame, and shorter clips
    are zero-padded. Each crop's gain is uniform within +-`gain_db`. `tempo`, `band_limit_probability`,
    `degrade_probability` and `vtlp` are the recipe's.

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
    band_limit_probability: float = 0.0
    degrade_probability: float = 0.0
    vtlp: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.members):
            raise UniAudioError(f"the training audio has no clip of the split {self.split!r}")

    @property
    def crop_samples(self) -> int:
        """Samples of a crop."""
        return self.crop_frames * self.packed.frame_length

    @cached_property
    def members(self) -> np.ndarray:
        """The split's clips, int64 [n]."""
        return np.flatnonzero(self.packed.splits == self.split)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probability of drawing each of them, float64 [n]."""
        lengths = np.minimum(self.packed.lengths[self.members], 8 * self.crop_samples).astype(np.float64)
        weighted = lengths * np.array([self.weights.get(kind, 1.0) for kind in self.packed.kinds[self.members]])
        return weighted / weighted.sum()

    def batch(self, number: int, rank: int = 0) -> Batch:
        """Batch `number` of process `rank`."""
        random = np.random.default_rng((self.seed, number, rank))
        clips = random.choice(self.members, size=self.batch_size, p=self.probabilities)
        tempos = np.exp(random.uniform(-1, 1, self.batch_size) * np.log1p(self.tempo))
        clean = np.zeros((self.batch_size, self.crop_samples), dtype=np.float32)
        frames = np.zeros(self.batch_size, dtype=np.int64)
        for row, clip in enumerate(clips):
            frames[row], piece = self._crop(int(clip), random, tempos[row])
            if random.random() < self.band_limit_probability:
                piece = band_limit(piece, random.uniform(*TELEPHONE_HZ), self.packed.sample_rate)
            clean[row, : len(piece)] = piece * 10 ** (random.uniform(-self.gain_db, self.gain_db) / 20)
        clean = encoder_input = np.clip(clean, -1, 1)[:, None]
        if self.degrade_probability:
            encoder_input = np.stack([self._degrade(row[0], random)[None] for row in clean]).clip(-1, 1)
        vtlp_factors = np.exp(random.uniform(-1, 1, self.batch_size) * np.log1p(self.vtlp)).astype(np.float32)
        return Batch(clean, encoder_input, clips, frames, tempos, vtlp_factors)

    def _crop(self, clip: int, random: np.random.Generator, tempo: float = 1.0) -> tuple[int, np.ndarray]:
        """(first level-0 frame, samples) of a random crop, played `tempo` times as fast."""
        taken = int(np.ceil(self.crop_samples * tempo))
        last = (int(self.packed.lengths[clip]) - taken) // self.packed.frame_length
        frame = int(random.integers(0, max(last, 0) + 1))
        piece = self.packed.clip(clip)[frame * self.packed.frame_length :][:taken]
        return frame, change_tempo(piece, tempo)[: self.crop_samples]

    def _degrade(self, clean: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if random.random() >= self.degrade_probability:
            return clean
        noise = np.zeros_like(clean)
        _, piece = self._crop(int(random.choice(self.members, p=self.probabilities)), random)
        noise[: len(piece)] = piece
        return degrade(clean, noise, self.packed.sample_rate, random)
