"""Training audio: folders in, one memory-mapped int16 file of level-normalised clips out, and random crops of it.

Two cores should not spend a training step on decoding, so every clip is read, resampled and normalised once. Clips
start on multiples of `FRAME` samples (one level-0 frame of a codec with hop 480 and stride 4), so that teacher
features, which are stored per frame, stay aligned with any crop that starts on such a multiple.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from uniaudio_cli.audio import find_audio, normalise_level, read_wav
from uniaudio_cli.errors import UniAudioError

FRAME = 1920


@dataclass(frozen=True)
class PackedAudio:
    """Clips of one packed cache.

    `samples`: int16 [N], all clips one after the other, each zero-padded to a multiple of FRAME.
    `starts`, `lengths`: int64 [clips], in samples, multiples of FRAME. `kinds`, `groups`, `splits`: str [clips].
    """

    samples: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
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
    """Memory-map what `pack` wrote."""
    index = np.load(folder / "index.npz")
    return PackedAudio(
        np.memmap(folder / "audio.int16", dtype=np.int16, mode="r"),
        index["starts"],
        index["lengths"],
        index["kinds"],
        index["groups"],
        index["splits"],
        int(index["sample_rate"]),
    )


def _listing(folder: Path) -> list[tuple[Path, str, str, str]]:
    """(file, kind, group, split) of every clip; metadata.jsonl where there is one, else every audio file."""
    metadata = folder / "metadata.jsonl"
    if metadata.exists():
        rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
        return [
            (folder / r["file_name"], r.get("kind", "sound"), r.get("group", ""), r.get("split", "train")) for r in rows
        ]
    return [(path, "sound", str(path.parent), "train") for path in find_audio([folder])]


def _prepare(path: Path, sample_rate: int, level_db: float) -> np.ndarray | None:
    """int16 [T], normalised and padded; None for a clip that cannot be read or holds nothing."""
    try:
        wav = normalise_level(read_wav(path, sample_rate), level_db, sample_rate)[0].numpy()
    except UniAudioError:
        return None
    padded = np.zeros(-(-len(wav) // FRAME) * FRAME, dtype=np.float32)
    padded[: len(wav)] = wav
    return np.round(np.clip(padded, -1, 1) * 32767).astype(np.int16)


def pack(folders: list[Path], out: Path, sample_rate: int, level_db: float) -> PackedAudio:
    """Write `audio.int16` and `index.npz` to `out`, or reuse them when the listing has not changed.

    Raises:
        UniAudioError: the folders hold no readable audio.
    """
    listing = [row for folder in folders for row in _listing(folder)]
    key = json.dumps([[str(p), k, g, s] for p, k, g, s in listing] + [[str(sample_rate), str(level_db)]])
    if (out / "listing.json").exists() and (out / "listing.json").read_text(encoding="utf-8") == key:
        return load_packed(out)
    out.mkdir(parents=True, exist_ok=True)
    kept, starts, lengths, position = [], [], [], 0
    with ProcessPoolExecutor() as pool, (out / "audio.int16").open("wb") as file:
        clips = pool.map(
            partial(_prepare, sample_rate=sample_rate, level_db=level_db), [r[0] for r in listing], chunksize=32
        )
        for row, clip in zip(listing, clips, strict=True):
            if clip is None:
                continue
            kept.append(row)
            starts.append(position)
            lengths.append(len(clip))
            position += len(clip)
            file.write(clip.tobytes())
    if not kept:
        raise UniAudioError(f"{', '.join(map(str, folders))}: no readable audio to train on")
    np.savez(
        out / "index.npz",
        starts=np.array(starts, dtype=np.int64),
        lengths=np.array(lengths, dtype=np.int64),
        kinds=np.array([row[1] for row in kept]),
        groups=np.array([row[2] for row in kept]),
        splits=np.array([row[3] for row in kept]),
        sample_rate=sample_rate,
    )
    (out / "listing.json").write_text(key, encoding="utf-8")
    return load_packed(out)


@dataclass(frozen=True)
class Batch:
    """`wav`: float32 [B, 1, T]. `clips`, `frames`: int64 [B], where each crop starts, for teacher features."""

    wav: np.ndarray
    clips: np.ndarray
    frames: np.ndarray


def crops(
    packed: PackedAudio,
    split: str,
    batch_size: int,
    crop_frames: int,
    weights: dict[str, float],
    gain_db: float,
    seed: int,
    first: int = 0,
) -> Iterator[Batch]:
    """Endless random crops; batch n of a seed is always the same, so a run resumed at `first` goes on as if
    it had never stopped.

    Clips are drawn by length times the weight of their kind, a crop starts on a level-0 frame, shorter clips are
    zero-padded, and each crop's gain is drawn from +-gain_db.
    """
    members = np.flatnonzero(packed.splits == split)
    if not len(members):
        raise UniAudioError(f"the training audio has no clip of the split {split!r}")
    chance = np.minimum(packed.lengths[members], 8 * crop_frames * FRAME).astype(np.float64)
    chance *= np.array([weights.get(kind, 1.0) for kind in packed.kinds[members]])
    chance /= chance.sum()
    number = first
    while True:
        random = np.random.default_rng((seed, number))
        clips = random.choice(members, size=batch_size, p=chance)
        wav = np.zeros((batch_size, 1, crop_frames * FRAME), dtype=np.float32)
        frames = np.zeros(batch_size, dtype=np.int64)
        for row, clip in enumerate(clips):
            total = packed.lengths[clip] // FRAME
            frames[row] = random.integers(0, max(total - crop_frames, 0) + 1)
            piece = packed.clip(clip)[frames[row] * FRAME :][: crop_frames * FRAME]
            wav[row, 0, : len(piece)] = piece * 10 ** (random.uniform(-gain_db, gain_db) / 20)
        yield Batch(np.clip(wav, -1, 1), clips, frames)
        number += 1
