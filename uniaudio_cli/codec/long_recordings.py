"""Long recordings to codes in pieces, so that memory does not grow with their length.

A piece is encoded with context on both sides, longer than the encoders look, so the codes are those of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.stream import stream_audio, windows
from uniaudio_cli.audio.transforms import FRAMES_A_SECOND, OFFSET_SHARE, active_level_db, level_gain
from uniaudio_cli.codec.model import Codec

PIECE_SECONDS, CONTEXT_SECONDS = 8.0, 2.0


@dataclass(frozen=True)
class Level:
    """What brings a recording to the codec's level: `offset` is taken off, then it is multiplied by `gain`.

    `peak_gain`: the ratio of the peaks after and before; None for silence.
    """

    samples: int
    offset: float = 0.0
    gain: float = 1.0
    peak_gain: float | None = 1.0


def measure(blocks: Iterable[np.ndarray], sample_rate: int, target_db: float | None) -> Level:
    """What `normalise_level` does to a recording, from its blocks float32 [n]."""
    size = sample_rate // FRAMES_A_SECOND
    sums, squares, count, low, high = [], [], 0, math.inf, -math.inf
    for _, some in windows(blocks, 100 * size, 100 * size):
        frames = np.pad(some, (0, -len(some) % size)).reshape(-1, size).astype(np.float64)
        sums.append(frames.sum(axis=1))
        squares.append(np.square(frames).sum(axis=1))
        count += len(some)
        low, high = min(low, float(some.min())), max(high, float(some.max()))
    total, energy = np.concatenate(sums), np.concatenate(squares)
    offset = float(total.sum() / count)
    if offset**2 <= OFFSET_SHARE * energy.sum() / count:
        offset = 0.0
    lengths = np.minimum(size, count - size * np.arange(len(total)))  # the last frame may be shorter
    level = active_level_db(torch.from_numpy((energy - 2 * offset * total + lengths * offset**2) / size))
    before, after = max(high, -low), max(high - offset, offset - low)
    if before == 0:
        return Level(count, peak_gain=None)
    if target_db is None or level == -math.inf:
        return Level(count)
    gain = level_gain(level, target_db, after)
    return Level(count, offset, gain, gain * after / before)


def encode_long(codec: Codec, file: Path) -> tuple[list[Tensor], Level]:
    """Codes of a file, int64 [1, T_k] per level, and its level.

    Raises:
        UniAudioError: it cannot be read as audio.
    """
    rate = codec.sample_rate
    level = measure(stream_audio(file, rate), rate, codec.config.level_db)
    unit = codec.config.padding_multiple
    piece, context = (max(1, round(seconds * rate / unit)) * unit for seconds in (PIECE_SECONDS, CONTEXT_SECONDS))
    # Allocated at once: rows of many small tensors would leave the heap in pieces, half a gigabyte of an hour.
    frames = -(-level.samples // unit) * unit // codec.hop_length
    rows = [torch.empty(1, frames // stride, dtype=torch.int64) for stride in codec.strides]
    done = [0] * len(rows)
    for first, last, window in _with_ends(windows(stream_audio(file, rate), piece + 2 * context, piece)):
        wav = torch.from_numpy(np.float32(level.gain) * (window - np.float32(level.offset)))
        for number, (stride, codes) in enumerate(zip(codec.strides, codec.encode(wav[None, None]), strict=True)):
            step = codec.hop_length * stride  # samples a code
            some = codes[:, 0 if first else context // step : None if last else (context + piece) // step]
            rows[number][:, done[number] : done[number] + some.shape[1]] = some
            done[number] += some.shape[1]
    return [row[:, :count] for row, count in zip(rows, done, strict=True)], level


def _with_ends(found: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[bool, bool, np.ndarray]]:
    """(whether it is the first, whether it is the last, window)."""
    waiting: tuple[int, np.ndarray] | None = None
    for each in found:
        if waiting is not None:
            yield waiting[0] == 0, False, waiting[1]
        waiting = each
    if waiting is not None:
        yield waiting[0] == 0, True, waiting[1]
