"""TODO."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def fit(
    wav: Tensor, sample_rate: int, seconds: float, crop: Literal["start", "loudest"] = "start", pad: bool = True
) -> Tensor:
    """`wav` [1, T] as `seconds` of it: the start or (to 10 ms) the loudest part of more, zeros after less.

    At 16 kHz, 1.0 s: [1, 40000] -> [1, 16000] and [1, 9000] -> [1, 16000], or [1, 9000] with pad=False.
    """
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
    size = sample_rate // 50
    frames = functional.pad(wav[0], (0, -wav.shape[-1] % size)).reshape(-1, size)
    power = frames.square().mean(dim=1)
    if power.max() <= 1e-10:
        return float("-inf")
    return float(10 * torch.log10(power[power > power.max() / 1000].mean()))


def normalise_level(wav: Tensor, target_db: float, sample_rate: int) -> Tensor:
    """`wav` at the active level `target_db`, turned down further where its peak would pass 0.99; silence as it is."""
    level = level_db(wav, sample_rate)
    if level == float("-inf"):
        return wav
    gain = 10 ** ((target_db - level) / 20)
    return wav * min(gain, 0.99 / float(wav.abs().max()))
