"""Audio files to wav (float32 [1, T], full scale 1) and back; the one user of soundfile and soxr. Knows no codec."""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, show

WRITTEN = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}

BLOCK = 1 << 16  # samples read or written at once
MARGIN = 0.1  # seconds read past a cut, so that resampling sees across it
LARGEST = 2.0**31  # the scale of 32-bit integers kept as floats


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file, open for reading; whatever the disk or libsndfile objects to becomes one line about `path`."""
    try:
        if path.is_dir():
            raise UniAudioError(f"{show(path)}: is a folder, not an audio file")
        if not path.exists():
            raise UniAudioError(f"{show(path)}: no such file")
        if not path.is_file():
            raise UniAudioError(f"{show(path)}: is a pipe or a device, not a file")
        if path.suffix.lower() == ".raw":
            raise UniAudioError(f"{show(path)}: has no header that says how to read it; convert it to wav or flac")
        # By name: reading a damaged file through a handle prints tracebacks. As bytes, because soundfile refuses
        # a str that is not UTF-8. The handle beside it is for the system's own words where the file may not be read.
        name = os.fsencode(path) if os.name == "posix" else str(path)
        with path.open("rb"), soundfile.SoundFile(name) as file:
            if file.frames >= 1 << 62:
                raise UniAudioError(f"{show(path)}: does not say how long it is; convert it to wav")
            if file.samplerate < 1000:
                raise UniAudioError(f"{show(path)}: says its rate is {file.samplerate} Hz, which is no audio")
            yield file
    except OSError as error:
        raise UniAudioError(f"{show(path)}: cannot be read ({error.strerror})") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise UniAudioError(f"{show(path)}: cannot be read as audio ({reason}); convert it to wav or flac") from error


def read_wav(path: Path, sample_rate: int, max_seconds: float | None = None) -> Tensor:
    """Mono float32 [1, T] at `sample_rate`, of any rate, channel count and sample format libsndfile reads.

    Channels are averaged. Full scale is 1, and a float file may go past it. With `max_seconds`, no more than that is
    read, and what comes back is how the whole file would start.

    Raises:
        UniAudioError: no such file, not audio, damaged, no samples, or samples that are not usable numbers.
    """
    with _opened(path) as file:
        rate, blocks = file.samplerate, []
        wanted = file.frames if max_seconds is None else math.ceil((max_seconds + MARGIN) * file.samplerate)
        # Averaged block by block, so that an hour of 5.1 is never held whole. A file cut short ends before its header
        # says, and what there is of it is used.
        while wanted > 0 and len(block := file.read(min(wanted, BLOCK), dtype="float32", always_2d=True)):
            if not np.abs(block).max() <= LARGEST:  # false for NaN
                raise UniAudioError(f"{show(path)}: holds samples that are NaN, infinite or absurdly large")
            blocks.append(block.mean(axis=1))
            wanted -= len(block)
    if not blocks:
        raise UniAudioError(f"{show(path)}: holds no samples")
    samples = np.concatenate(blocks)
    if rate != sample_rate:
        length = math.ceil(len(samples) * sample_rate / rate)
        samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
        samples = np.pad(samples, (0, max(0, length - len(samples))))  # soxr rounds down, even to nothing
    length = len(samples) if max_seconds is None else round(max_seconds * sample_rate)
    return torch.from_numpy(np.ascontiguousarray(samples[:length]))[None]


def duration(path: Path) -> float:
    """Seconds, as the file's header says. Raises UniAudioError as `read_wav` does."""
    with _opened(path) as file:
        return file.frames / file.samplerate


def layout(path: Path) -> tuple[int, int]:
    """(samples a second, channels), as the file's header says. Raises UniAudioError as `read_wav` does."""
    with _opened(path) as file:
        return file.samplerate, file.channels


def write_wav(path: Path, wav: Tensor, sample_rate: int, force: bool = False) -> None:
    """Write `wav` [1, T] as 16-bit .wav or .flac, or as Vorbis .ogg; past full scale it is clipped.

    Raises:
        UsageError: another extension, or `path` exists and `force` is not given.
        UniAudioError: `path` cannot be written.
    """
    if path.suffix.lower() not in WRITTEN:
        raise UsageError(f"{show(path)}: audio is written as {', '.join(WRITTEN)}; end the name in one of these")
    kind, subtype = WRITTEN[path.suffix.lower()]
    samples = wav[0].detach().clamp(-1, 1).float().cpu().numpy()
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate, channels=1, format=kind, subtype=subtype) as file:
        for start in range(0, len(samples), BLOCK):  # given minutes at once, libsndfile's Vorbis overflows its stack
            file.write(samples[start : start + BLOCK])
    with atomic(path, force) as temporary:
        temporary.write_bytes(buffer.getvalue())


def stream_wav(file: BinaryIO, pieces: Iterable[Tensor], sample_rate: int) -> int:
    """Write wavs [1, T] one after another as they come, as one 16-bit WAV; the samples written.

    The header says "no end in sight" to start with, which players take from a pipe, and the truth in the end where the
    file can be gone back in.
    """

    def header(size: int) -> bytes:
        whole = min(size + 36, 0xFFFFFFFF)
        layout = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + layout + b"data" + struct.pack("<I", size)

    file.write(header(0xFFFFFFFF))
    count = 0
    for piece in pieces:
        samples = (piece[0].clamp(-1, 1) * 32767).round().to(torch.int16).cpu().numpy()
        file.write(samples.astype("<i2").tobytes())
        file.flush()
        count += len(samples)
    if file.seekable():
        file.seek(0)
        file.write(header(2 * count))
    return count
