"""Wavs to wavs: fixed lengths, active level, constant offset, windows with cross-fade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# An offset is removed where its power is above this share of the whole: below it lies what wind or a microphone's
# lowest frequencies leave over a clip.
OFFSET_SHARE = 0.01
# Active frames: their length, and how far below the loudest they may lie. Silence: the mean square below it.
FRAMES_A_SECOND, ACTIVE_DB, SILENT = 50, 30.0, 1e-10
PEAK = 0.99  # that no sample passes at the codec's level


def remove_offset(wav: Tensor) -> Tensor:
    """`wav` [1, T] without its constant part, where that has more than 1 % of the power; as it is otherwise."""
    mean = wav.mean(dim=-1, keepdim=True)
    return wav - mean if float(mean.square().max()) > OFFSET_SHARE * float(wav.square().mean()) else wav


def fit(
    wav: Tensor, sample_rate: int, seconds: float, crop: Literal["start", "loudest"] = "start", pad: bool = True
) -> Tensor:
    """`wav` [1, T] as `seconds` of it: the start or (to 10 ms) the loudest part of more, zeros after less.

    A constant offset is removed first: padding would make a step of it, and no part would be the loudest.
    At 16 kHz, 1.0 s: [1, 40000] -> [1, 16000] and [1, 9000] -> [1, 16000], or [1, 9000] with pad=False.
    """
    wav = remove_offset(wav)
    size, length = max(1, round(seconds * sample_rate)), wav.shape[-1]
    if length <= size:
        return functional.pad(wav, (0, size - length)) if pad else wav
    start = 0
    if crop == "loudest":
        hop = max(1, sample_rate // 100)
        start = hop * int(functional.avg_pool1d(wav.square(), size, stride=hop).argmax())
    return wav[:, start : start + size]


def level_db(wav: Tensor, sample_rate: int) -> float:
    """RMS level in dB full scale over the active 20-ms frames (those within 30 dB of the loudest); -inf for silence."""
    size = sample_rate // FRAMES_A_SECOND
    frames = functional.pad(remove_offset(wav)[0], (0, -wav.shape[-1] % size)).reshape(-1, size)
    return active_level_db(frames.square().mean(dim=1))


def active_level_db(power: Tensor) -> float:
    """`level_db` of 20-ms frames whose mean squares are `power`, [frames]."""
    if power.max() <= SILENT:
        return float("-inf")
    return float(10 * torch.log10(power[power > power.max() * 10 ** (-ACTIVE_DB / 10)].mean()))


def normalise_level(wav: Tensor, target_db: float, sample_rate: int) -> Tensor:
    """`wav` at the active level `target_db`, turned down further where its peak would pass `PEAK`; silence as it is."""
    level = level_db(wav, sample_rate)
    if level == float("-inf"):
        return wav
    wav = remove_offset(wav)
    return wav * level_gain(level, target_db, float(wav.abs().max()))


def level_gain(level: float, target_db: float, peak: float) -> float:
    """What brings a wav of the active level `level` to `target_db`, or its peak to `PEAK` where that is less."""
    return min(10 ** ((target_db - level) / 20), PEAK / peak)


def at_full_scale(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """`samples` [T] with a peak of 1; below a peak of 1e-6, silence, the same gain is used for all."""
    return samples / max(float(np.abs(samples).max(initial=0.0)), 1e-6)


def overlap_windows(length: int, window: int, hop: int) -> list[int]:
    """The starts of windows of `window` samples that cover `length`, `hop` apart; the last one ends with the input.

    10 samples in windows of 4, 3 apart: 0, 3, 6.
    """
    return [*range(0, length - window, hop), length - window]


def overlap_add(pieces: Sequence[Tensor], starts: Sequence[int], length: int, hop: int | None = None) -> Tensor:
    """Pieces [1, window] that begin at `starts`, cross-faded linearly to [1, length].

    `hop`: as `overlap_windows` took it; where None, the distance of the first two windows.
    """
    window = pieces[0].shape[-1]
    if hop is None:
        hop = starts[1] - starts[0] if len(starts) > 1 else window
    fade = torch.ones(window)
    ramp = torch.linspace(0, 1, max(0, window - hop) + 2)[1:-1]
    fade[: len(ramp)] = ramp
    fade[window - len(ramp) :] = fade[window - len(ramp) :].minimum(ramp.flip(0))
    out, weight = torch.zeros(1, length), torch.zeros(1, length)
    for start, piece in zip(starts, pieces, strict=True):
        out[:, start : start + window] += piece * fade
        weight[:, start : start + window] += fade
    # Nowhere zero: a ramp begins and ends above it, and the windows leave no sample out.
    return out / weight
