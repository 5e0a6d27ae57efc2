"""Enhancement: noise filtered out of recordings at their own rate and channels, with pairs to learn from or without."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from uniaudio_cli.audio.blocks import open_blocks
from uniaudio_cli.audio.gain_features import BINS
from uniaudio_cli.audio.io import AudioInput, source_name
from uniaudio_cli.audio.stft import BlockFilter
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.gains import GainModel, learn_gains
from uniaudio_cli.inference.results import EnhancementResult

# Where the recording's level lies this far above its quietest frames less and less is done, above the second nothing.
DONE_BELOW_DB, NOTHING_ABOVE_DB = 40.0, 55.0
LEVEL_FRAMES, QUIET_FRAMES = 600, 190  # 10 s: the time constant of the level; 3 s: where the quietest is looked for
SMOOTHING = 0.7  # of frame powers, so that one quiet frame by chance is no pause
DIGITAL_SILENCE = 1e-12
TOP_BINS = 64  # whose mean gain is taken above 8 kHz

Samples = NDArray[np.float32]


def check_strength(strength: float) -> None:
    """Raise a UsageError where `strength` is not from 0 to 1."""
    if not 0 <= strength <= 1:
        raise UsageError(f"strength must be from 0 to 1, not {strength}")


@dataclass(frozen=True)
class Blocks:
    """A recording that is being cleaned: `blocks` float32 [channels, n] of about a second."""

    sample_rate: int
    channels: int
    blocks: Iterator[Samples]


class EnhancementStream:
    """One recording, cleaned as it comes: 32 ms late, and the same however it is cut into blocks."""

    def __init__(self, model: GainModel, sample_rate: int, channels: int = 1, strength: float = 1.0) -> None:
        check_strength(strength)
        self._gains, self._floor = model.start(), 10 ** (model.floor_db / 20)
        self._strength = strength
        self._filter = BlockFilter(channels, sample_rate, self._change)
        self._level, self._smooth, self._frames = 0.0, 0.0, 0
        self._quiet: deque[float] = deque(maxlen=QUIET_FRAMES)

    def push(self, block: Samples) -> Samples:
        """The cleaned samples [channels, m] that are complete once `block` [channels, n] has come."""
        return self._filter.push(block)

    def finish(self) -> Samples:
        """The rest: as many samples have come out in all as went in."""
        return self._filter.finish()

    def _change(self, spectra: NDArray) -> NDArray:
        power = np.square(np.abs(spectra)).mean(axis=1) / self._filter.size**2
        gains = extend(self._gains(power[:, :BINS]), power.shape[1])
        share = np.array([self._share(each) for each in power.sum(axis=1)])[:, None]
        gains = np.maximum(gains, self._floor) ** (self._strength * share)
        return spectra * gains[:, None]

    def _share(self, power: float) -> float:
        """How much is done to a frame, 0 to 1, by how far its recording so far stands out of the noise."""
        if power > DIGITAL_SILENCE:
            self._frames += 1
            self._level += (power - self._level) / min(self._frames, LEVEL_FRAMES)
            self._smooth = power if self._frames == 1 else SMOOTHING * self._smooth + (1 - SMOOTHING) * power
            self._quiet.append(self._smooth)
        if not self._quiet:
            return 1.0
        ratio = 10 * np.log10(self._level / min(self._quiet))
        return float(np.clip((NOTHING_ABOVE_DB - ratio) / (NOTHING_ABOVE_DB - DONE_BELOW_DB), 0, 1))


class Enhancer:
    """Filters noise out of recordings. Pairs teach it their noise and voices; without any it is an ordinary filter.

    Safe to share between threads.

    Raises:
        UsageError: a demonstration has no clean side.
        UniAudioError: a pair cannot be read.
    """

    def __init__(self, pairs: Sequence[Demonstration] = ()) -> None:
        self.demonstrations = tuple(pairs)
        self.model: GainModel = learn_gains(self.demonstrations)

    @classmethod
    def of(cls, model: GainModel) -> Enhancer:
        """With gains that were made otherwise."""
        enhancer = cls.__new__(cls)
        enhancer.demonstrations, enhancer.model = (), model
        return enhancer

    def __repr__(self) -> str:
        return f"Enhancer({len(self.demonstrations)} pairs)"

    def __call__(self, source: AudioInput, strength: float = 1.0) -> EnhancementResult:
        """`enhance`."""
        return self.enhance(source, strength)

    def enhance(self, source: AudioInput, strength: float = 1.0) -> EnhancementResult:
        """A recording, cleaned: the same rate, channels, length and level.

        Args:
            strength: how much is done, 0 (nothing) to 1.

        Raises:
            UsageError: `strength` is out of range.
            UniAudioError: the source cannot be read.
        """
        with self.open(source, strength) as recording:
            wav = np.concatenate(list(recording.blocks), axis=1)
            return EnhancementResult(source_name(source), torch.from_numpy(wav), recording.sample_rate, [])

    @contextmanager
    def open(self, source: AudioInput, strength: float = 1.0) -> Iterator[Blocks]:
        """A recording as cleaned blocks, so that memory does not grow with its length; arguments as `enhance`."""
        check_strength(strength)
        with open_blocks(source) as recording:
            stream = self.stream(recording.rate, recording.channels, strength)
            yield Blocks(recording.rate, recording.channels, _through(stream, recording.blocks))

    def stream(self, sample_rate: int, channels: int = 1, strength: float = 1.0) -> EnhancementStream:
        """A recording that comes in blocks; `strength` as `enhance`."""
        return EnhancementStream(self.model, sample_rate, channels, strength)


def _through(stream: EnhancementStream, blocks: Iterator[Samples]) -> Iterator[Samples]:
    for block in blocks:
        yield stream.push(block.T)
    yield stream.finish()


def extend(gains: NDArray, bins: int) -> NDArray:
    """Gains [T, F], F at most 257 -> [T, bins]: above 8 kHz the mean gain of the 2 kHz below."""
    if bins <= BINS:
        return gains
    top = gains[:, -TOP_BINS:].mean(axis=1, keepdims=True)
    return np.concatenate([gains, np.repeat(top, bins - BINS, axis=1)], axis=1)
