"""Recordings in blocks, at their own rate and channels, so that memory does not grow with their length."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, Literal

import numpy as np
import soundfile
import torch

from uniaudio_cli.audio.decoding import Decoded, decode
from uniaudio_cli.audio.io import (
    AudioInput,
    array_samples,
    as_path,
    check_samples,
    format_for_peak,
    pcm16,
    source_name,
    stream_wav,
    wav_header,
    written_format,
)
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import atomic, show

BLOCK_SECONDS = 1.0


@contextmanager
def open_blocks(source: AudioInput) -> Iterator[Decoded]:
    """A recording as blocks float32 [n, channels] of about a second, with its rate and channels.

    Raises:
        UniAudioError: as `read_audio`; what is damaged further on is noticed while the blocks are read.
    """
    name = show(source_name(source))
    if isinstance(source, tuple):
        samples, rate = array_samples(source, name)
        yield Decoded(rate, samples.shape[0], _pieces(iter([samples.T]), rate, name))
        return
    with as_path(source) as path, decode(path, name) as file:
        yield Decoded(file.rate, file.channels, _pieces(file.blocks, file.rate, name))


def _pieces(blocks: Iterator[np.ndarray], rate: int, name: str) -> Iterator[np.ndarray]:
    """Blocks of about a second of any others."""
    size, count, total = max(1, round(BLOCK_SECONDS * rate)), 0, 0
    waiting: list[np.ndarray] = []
    for block in blocks:
        check_samples(block, name)
        waiting.append(block)
        count += len(block)
        total += len(block)
        if count >= size:
            joined, waiting, count = np.concatenate(waiting), [], 0
            for start in range(0, len(joined), size):
                yield joined[start : start + size]
    if count:
        yield np.concatenate(waiting)
    if not total:
        raise UniAudioError(f"{name}: holds no samples")


def write_blocks(path: Path, blocks: Iterable[np.ndarray], sample_rate: int, channels: int, force: bool) -> int:
    """Blocks float32 [channels, n] as one file, as `write_wav` writes it; the samples a channel.

    They wait on the disk until the peak is known, which decides about the format.

    Raises:
        UsageError: another extension, or `path` exists and `force` is not given.
        UniAudioError: `path` cannot be written.
    """
    written_format(path)  # refused before the blocks are computed
    with atomic(path, force) as temporary, TemporaryFile(prefix="uniaudio-") as spool:
        count, peak = _spool(blocks, spool)
        kind, subtype, divisor = format_for_peak(path, peak)
        spool.seek(0)
        with soundfile.SoundFile(os.fspath(temporary), "w", sample_rate, channels, subtype, format=kind) as file:
            while data := spool.read(channels * 4 << 14):
                file.write(np.frombuffer(data, np.float32).reshape(-1, channels) / np.float32(divisor))
    return count


def _spool(blocks: Iterable[np.ndarray], spool: IO[bytes]) -> tuple[int, float]:
    """Write interleaved float32 samples; samples a channel, and their peak."""
    count, peak = 0, 0.0
    for block in blocks:
        spool.write(np.ascontiguousarray(block.T, np.float32).tobytes())
        count += block.shape[1]
        largest = float(np.abs(block).max(initial=0))
        peak = largest if not math.isfinite(largest) else max(peak, largest)
    return count, peak


def stream_blocks(file: BinaryIO, blocks: Iterable[np.ndarray], sample_rate: int, channels: int) -> int:
    """Blocks float32 [channels, n] as one 16-bit WAV as they come, as `stream_wav`; the samples a channel."""
    return stream_wav(file, map(torch.from_numpy, blocks), sample_rate, channels)


def encoded_blocks(
    blocks: Iterable[np.ndarray], sample_rate: int, channels: int, kind: Literal["wav", "flac"], samples: int
) -> Iterator[bytes]:
    """Blocks float32 [channels, n] as the bytes of one 16-bit file, as they come; what is past full scale is clipped.

    Args:
        samples: the samples a channel of all blocks, which the header names.

    Raises:
        UniAudioError: FLAC has no such rate or number of channels.
    """
    if kind == "wav":
        yield wav_header(sample_rate, channels, samples)
        yield from (pcm16(torch.from_numpy(block)) for block in blocks)
        return
    pipe = _Pipe()
    try:
        with soundfile.SoundFile(pipe, "w", sample_rate, channels, "PCM_16", format="FLAC") as file:
            for block in blocks:
                file.write(np.clip(block.T, -1, 1))
                if data := pipe.taken(samples):
                    yield data
    except soundfile.LibsndfileError as error:
        raise UniAudioError(f"{channels} channels at {sample_rate} Hz cannot be written as flac; take wav") from error
    yield pipe.taken(samples)


class _Pipe(io.RawIOBase):
    """What libsndfile writes FLAC to, taken piece by piece. What it writes into the head at the end is dropped."""

    LENGTH = slice(21, 26)  # the low half of byte 21 and four bytes: samples a channel

    def __init__(self) -> None:
        self._waiting, self._sent, self._place = bytearray(), 0, 0

    def taken(self, samples: int) -> bytes:
        """What was written since the last call; with the length in the head, which libsndfile learns too late."""
        data = self._waiting
        if not self._sent and len(data) >= self.LENGTH.stop:
            high = data[self.LENGTH.start] & 0xF0
            data[self.LENGTH] = (high << 32 | samples).to_bytes(5, "big")
        self._waiting = bytearray()
        self._sent += len(data)
        return bytes(data)

    def write(self, data: Any) -> int:
        if self._place == self._sent + len(self._waiting):
            self._waiting += data
        self._place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._place, self._sent + len(self._waiting))[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place
