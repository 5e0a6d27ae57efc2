"""Teachers: what the coarse levels should mean. Packed audio in, features per half level-0 frame out, cached on disk.

The paper pulls its levels towards T5 and Whisper. Here a frozen Whisper encoder is asked once per clip; its 50 Hz
frames are averaged to 16.7 Hz (60 ms, one level-1 frame of a 33.3 Hz codec), reduced to a few whitened dimensions,
and clustered at 8.3 Hz. The clusters are the *units* level 0 learns to name; the reduced features are what level 1 is
pulled towards (paper section 3, consistency loss).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniaudio_cli.codec.training.data import FRAME, PackedAudio

STEP = FRAME // 2
WHISPER_FRAMES_PER_STEP = 3
LONGEST_STEPS = 160  # 9.6 s: longer clips are shown to the teacher in pieces


def whisper_teacher(model_folder: Path) -> tuple[int, Callable[[list[np.ndarray]], list[np.ndarray]]]:
    """(dimensions, features): a CTranslate2 Whisper encoder; float32 [T] at 16 kHz -> float16 [T // 960, D] each."""
    import ctranslate2
    from faster_whisper.feature_extractor import FeatureExtractor

    model = ctranslate2.models.Whisper(str(model_folder), device="cpu", compute_type="int8", inter_threads=1)
    extract = FeatureExtractor()

    def features(wavs: list[np.ndarray]) -> list[np.ndarray]:
        longest = max(len(wav) for wav in wavs) // STEP
        # Half a second of silence follows every clip, as in a Whisper window.
        frames = 2 * (longest * WHISPER_FRAMES_PER_STEP) + 50
        mels = np.stack([_mel(extract, wav, frames) for wav in wavs])
        states = np.array(model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mels)), to_cpu=True))
        out = []
        for wav, state in zip(wavs, states, strict=True):
            steps = len(wav) // STEP
            kept = state[: steps * WHISPER_FRAMES_PER_STEP].reshape(steps, WHISPER_FRAMES_PER_STEP, -1)
            out.append(kept.mean(axis=1).astype(np.float16))
        return out

    dimensions = features([np.zeros(4 * STEP, dtype=np.float32)])[0].shape[1]
    return dimensions, features


def _mel(extract: Callable[..., np.ndarray], wav: np.ndarray, frames: int) -> np.ndarray:
    padded = np.zeros(frames * 160, dtype=np.float32)
    padded[: len(wav)] = wav
    return extract(padded, padding=0)[:, :frames].astype(np.float32)


def _pieces(packed: PackedAudio, number: int) -> Iterator[tuple[int, int]]:
    """(first sample, samples) of each piece of a clip, none longer than the teacher is shown at once."""
    for offset in range(0, int(packed.lengths[number]), LONGEST_STEPS * STEP):
        yield int(packed.starts[number]) + offset, min(LONGEST_STEPS * STEP, int(packed.lengths[number]) - offset)


def cache_features(
    packed: PackedAudio,
    clips: np.ndarray,
    teacher: Callable[[], tuple[int, Callable[[list[np.ndarray]], list[np.ndarray]]]],
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
    dimensions, features = teacher()
    total = len(packed.samples) // STEP
    file = folder / "features.npy"
    if file.exists():
        out = np.lib.format.open_memmap(file, mode="r+")
    else:
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(total, dimensions))
        out[:] = np.nan
    marker = folder / "done.npy"
    position = int(np.load(marker)) if marker.exists() else 0
    while position < len(pieces):
        size = max(1, min(32, (4 * LONGEST_STEPS * STEP) // pieces[position][1]))
        batch = pieces[position : position + size]
        wavs = [packed.samples[start : start + length].astype(np.float32) / 32768 for start, length in batch]
        for (start, _), rows in zip(batch, features(wavs), strict=True):
            out[start // STEP : start // STEP + len(rows)] = rows
        position += len(batch)
        if (position // size) % 50 == 0:
            out.flush()
            np.save(marker, position)
            progress(position / len(pieces))
    out.flush()
    np.save(marker, position)
    return out


@dataclass(frozen=True)
class Units:
    """Targets of one packed cache. `reduced`: float16 [steps, R]; `units`: int16 [steps // 2], -1 unknown."""

    reduced: np.ndarray
    units: np.ndarray


def make_units(
    packed: PackedAudio, features: np.ndarray, count: int, unit_dim: int, reduced_dim: int, seed: int = 0
) -> Units:
    """Whiten the features, keep `reduced_dim` of them as they are, and cluster `unit_dim` of them into `count` units.

    A unit is heard in the 240 ms around its level-0 frame, twice its length, and compared by direction alone: both
    make it travel better between speakers and offsets (docs/LOG.md). Frames the teacher was not shown keep NaN and -1.
    """
    known = ~np.isnan(np.asarray(features[:, 0]))
    random = np.random.default_rng(seed)
    picked = np.sort(random.choice(np.flatnonzero(known), min(60_000, int(known.sum())), replace=False))
    sample = np.asarray(features[picked], dtype=np.float32)
    centre = sample.mean(axis=0)
    scale, basis = np.linalg.eigh(np.cov(sample, rowvar=False))
    order = np.argsort(scale)[::-1][: max(unit_dim, reduced_dim)]
    projection = (basis[:, order] / np.sqrt(np.maximum(scale[order], 1e-12))).astype(np.float32)
    whitened = np.full((len(features), len(order)), np.nan, dtype=np.float16)
    for start in range(0, len(features), 65_536):
        rows = np.asarray(features[start : start + 65_536], dtype=np.float32)
        whitened[start : start + len(rows)] = (rows - centre) @ projection
    directions = np.full((len(features) // 2, unit_dim), np.nan, dtype=np.float32)
    for number in range(len(packed.starts)):
        first, last = packed.frame_range(number)
        directions[first:last] = _directions(whitened[2 * first : 2 * last, :unit_dim].astype(np.float32))
    coarse_known = ~np.isnan(directions[:, 0])
    found = directions[coarse_known]
    centres = kmeans(found[random.choice(len(found), min(150_000, len(found)), replace=False)], count, random)
    units = np.full(len(directions), -1, dtype=np.int16)
    units[coarse_known] = nearest(found, centres)
    return Units(whitened[:, :reduced_dim], units)


def _directions(steps: np.ndarray) -> np.ndarray:
    """Unit vectors [T, R] of a clip's steps [2 T, R]: each the mean of four steps around the two of its frame."""
    padded = np.pad(steps, ((1, 1), (0, 0)), mode="edge")
    means = sum(padded[offset : offset + len(steps) : 2] for offset in range(4))
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-9)


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre, int64 [n]."""
    bias = np.square(centres).sum(axis=1)
    blocks = np.array_split(points, max(1, len(points) // 8192))
    return np.concatenate([(2 * block @ centres.T - bias).argmax(axis=1) for block in blocks])


def kmeans(points: np.ndarray, count: int, random: np.random.Generator, rounds: int = 25) -> np.ndarray:
    """Lloyd's algorithm; a centre that loses all its points is put on a random one. Returns [count, D]."""
    centres = points[random.choice(len(points), count, replace=False)].copy()
    for _ in range(rounds):
        chosen = nearest(points, centres)
        sizes = np.bincount(chosen, minlength=count)
        order = np.argsort(chosen, kind="stable")
        sums = np.add.reduceat(points[order], np.minimum(np.cumsum(sizes) - sizes, len(points) - 1), axis=0)
        centres = sums / np.maximum(sizes, 1)[:, None]
        centres[sizes == 0] = points[random.choice(len(points), int((sizes == 0).sum()))]
    return centres
