"""Long recordings in blocks: mono, resampled, cut into overlapping windows; memory does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from uniaudio_cli.audio.decoding import decode
from uniaudio_cli.audio.io import AudioInput, as_path, cancel, check_samples, read_audio, source_name
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show


def stream_audio(source: AudioInput, sample_rate: int) -> Iterator[np.ndarray]:
    """The samples of `io.read_audio`, float32 [n], block by block.

    A file of several channels is decoded twice: whether they cancel is known at its end only.

    Raises:
        UniAudioError: as `io.read_audio`.
    """
    name = show(source_name(source))
    if isinstance(source, tuple):
        yield read_audio(source, sample_rate)[0].numpy()
        return
    with as_path(source) as path:
        channel = _loudest_of_cancelling(path, name)
        with decode(path, name) as file:
            mono = (_mono(block, channel, name) for block in file.blocks)
            count = 0
            for block in mono if file.rate == sample_rate else _resampled(mono, file.rate, sample_rate):
                count += len(block)
                yield block
    if not count:
        raise UniAudioError(f"{name}: holds no samples")


def stream_pcm(stream: BinaryIO, seconds: float, sample_rate: int) -> Iterator[np.ndarray]:
    """Raw little-endian 16-bit mono samples as float32 [n], as they come; `seconds` at most a block."""
    size, odd = 2 * max(1, round(seconds * sample_rate)), b""
    read = getattr(stream, "read1", stream.read)  # what is there, and not only whole blocks
    while data := read(size):
        data = odd + data
        whole = len(data) // 2 * 2
        odd = data[whole:]
        yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768


def windows(blocks: Iterable[np.ndarray], size: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, float32 [size]) of windows that begin `hop` samples apart, `hop` at most `size`.

    The last window ends with the recording and may be shorter.

    10 samples in windows of 4, 3 apart: 0, 3, 6; 11 samples: 0, 3, 6, 9, the last of 2.
    """
    waiting, start = np.zeros(0, np.float32), 0
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= size:
            yield start, waiting[:size]
            waiting, start = waiting[hop:], start + hop
    if len(waiting) > (size - hop if start else 0):
        yield start, waiting


def _mono(block: np.ndarray, channel: int | None, name: str) -> np.ndarray:
    check_samples(block, name)
    return block.mean(axis=1) if channel is None else np.ascontiguousarray(block[:, channel])


def _resampled(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _loudest_of_cancelling(path: Path, name: str) -> int | None:
    """The loudest channel where the mean of all is nearly nothing, else None."""
    with decode(path, name) as file:
        if file.channels < 2:
            return None
        mixed, power = 0.0, np.zeros(file.channels)
        for block in file.blocks:
            check_samples(block, name)
            mixed += float(np.square(block.mean(axis=1), dtype=np.float64).sum())
            power += np.square(block, dtype=np.float64).sum(axis=0)
    return int(power.argmax()) if cancel(mixed, power, name) else None
