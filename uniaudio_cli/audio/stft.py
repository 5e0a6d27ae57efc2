"""Short-time spectra of a signal that comes in blocks of any length, and the signal of spectra that were changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 0.032
Samples = NDArray[np.float32]
Spectra = NDArray[np.complexfloating]


class BlockFilter:
    """Samples [C, n] in blocks through `change`, which is given spectra [T, C, F]; as many samples come out as go in.

    Frames of 32 ms, half of which overlap, under the root of a Hann window, so that spectra that are left as they are
    give the signal back. What comes out does not depend on how the signal was cut into blocks.
    """

    def __init__(self, channels: int, sample_rate: int, change: Callable[[Spectra], Spectra]) -> None:
        self.hop = max(1, round(WINDOW_SECONDS * sample_rate / 2))
        self.size = 2 * self.hop
        self.change = change
        self.window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.size) / self.size)).astype(np.float32)
        # Half a frame of zeros before the start, so that every sample is in two frames.
        self.waiting: Samples = np.zeros((channels, self.hop), np.float32)
        self.overlap: Samples = np.zeros((channels, self.hop), np.float32)
        self.skip = self.hop
        self.owed = 0

    def push(self, block: Samples) -> Samples:
        """The samples that are complete once `block` [C, n] has come."""
        self.owed += block.shape[1]
        self.waiting = np.concatenate([self.waiting, block.astype(np.float32, copy=False)], axis=1)
        count = self.waiting.shape[1] // self.hop - 1
        if count < 1:
            return self.waiting[:, :0]
        used = self.waiting[:, : (count + 1) * self.hop]
        self.waiting = self.waiting[:, count * self.hop :]
        frames = np.lib.stride_tricks.sliding_window_view(used, self.size, axis=1)[:, :: self.hop].transpose(1, 0, 2)
        changed = self.change(np.fft.rfft(frames * self.window, axis=-1))
        made = (np.fft.irfft(changed, self.size, axis=-1) * self.window).astype(np.float32)
        first, second = made[..., : self.hop], made[..., self.hop :]
        out = first + np.concatenate([self.overlap[None], second[:-1]])
        self.overlap = second[-1]
        samples = out.transpose(1, 0, 2).reshape(block.shape[0], -1)[:, self.skip :]
        self.skip = 0
        return self._give(samples)

    def finish(self) -> Samples:
        """The rest, once the signal has ended."""
        owed = self.owed
        made = self.push(np.zeros((self.waiting.shape[0], 2 * self.size), np.float32))
        self.owed = 0
        return made[:, :owed]

    def _give(self, samples: Samples) -> Samples:
        self.owed -= samples.shape[1]
        return samples


def spectra_of(wav: Samples, sample_rate: int) -> Spectra:
    """The spectra [T, F] of a whole wav [T], as `BlockFilter` makes them, over the length of a frame."""
    found: list[Spectra] = []

    def keep(spectra: Spectra) -> Spectra:
        found.append(spectra[:, 0])
        return spectra

    filter_ = BlockFilter(1, sample_rate, keep)
    filter_.push(wav[None])
    filter_.finish()
    return np.concatenate(found) / filter_.size
