"""Recordings to wav (float32 [1, T], full scale 1) and back: files, bytes, open files and arrays in; files out."""

from __future__ import annotations

import io
import math
import os
import shutil
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, TypeAlias, cast

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from uniaudio_cli.audio.decoding import decode, to_float
from uniaudio_cli.core.errors import AudioWarning, UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, show

AudioInput: TypeAlias = "str | Path | bytes | BinaryIO | tuple[np.ndarray, int]"
"""A recording: a path, a file's bytes, an open binary file, or samples [T] or [C, T] with their rate."""

RECORDING = "a path, bytes, an open file, or a pair of samples and their rate"  # for people
WRITTEN = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
WRITTEN_AT_ONCE = 1 << 16  # samples per channel
MARGIN = 0.1  # seconds read past a cut, so that the resampler has both sides of it
LARGEST = 2.0**31  # the scale of 32-bit integers kept as floats
MOST_CHANNELS = 256  # more is an array whose axes are swapped
CANCELLED = 0.01  # power of the mean of the channels, as a share of their power, below which they cancel
SHORTEST_SECONDS = 0.02  # below this there is nothing to classify
SILENT_POWER = 1e-10


def source_name(source: AudioInput) -> str:
    """What results and errors call a source: its path, an open file's name, or "<bytes>", "<file>" and "<array>"."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, bytes):
        return "<bytes>"
    if isinstance(source, tuple):
        return "<array>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<file>"


def as_inputs(inputs: AudioInput | Iterable[AudioInput]) -> Iterable[AudioInput]:
    """Inputs as an iterable; a single path, bytes, open file or pair of samples and rate is one input.

    Raises:
        UsageError: neither an input nor an iterable.
    """
    if isinstance(inputs, (str, Path, bytes)) or hasattr(inputs, "read"):
        return [cast(AudioInput, inputs)]
    if isinstance(inputs, tuple) and len(inputs) == 2 and isinstance(inputs[1], (int, float)):
        return [inputs]
    if not isinstance(inputs, Iterable):
        raise UsageError(f"inputs must be a recording or several ({RECORDING}), not {type(inputs).__name__}")
    return inputs


def read_audio(source: AudioInput, sample_rate: int, max_seconds: float | None = None) -> Tensor:
    """Mono float32 [1, T] at `sample_rate`, of any rate, channel count and sample format that can be decoded.

    Channels are averaged. Where they cancel each other (opposite phase), the loudest is taken, with an `AudioWarning`.
    Full scale is 1, and floats may go past it. With `max_seconds`, no more than that is decoded, and the result is how
    the whole recording would start.

    Raises:
        UniAudioError: no such file, not audio, damaged, no samples, or samples that are not usable numbers.
    """
    name = show(source_name(source))
    if isinstance(source, tuple):
        samples, rate = _mix_array(source, name, max_seconds)
    else:
        if not isinstance(source, (str, Path, bytes)) and not hasattr(source, "read"):
            raise UniAudioError(f"{name}: a recording is {RECORDING}, not {type(source).__name__}")
        with as_path(source) as path:
            samples, rate = _mix_file(path, name, max_seconds)
    if rate != sample_rate:
        length = math.ceil(len(samples) * sample_rate / rate)
        samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
        samples = np.pad(samples, (0, max(0, length - len(samples))))  # soxr rounds down, even to nothing
    length = len(samples) if max_seconds is None else round(max_seconds * sample_rate)
    return torch.from_numpy(np.ascontiguousarray(samples[:length]))[None]


def read_wav(path: Path, sample_rate: int, max_seconds: float | None = None) -> Tensor:
    """`read_audio` of a file."""
    return read_audio(path, sample_rate, max_seconds)


def check_audible(wav: Tensor, sample_rate: int, name: str = "") -> None:
    """Refuse a wav [1, T] that holds nothing to classify; `name` goes before the reason.

    Raises:
        UniAudioError: it is shorter than 20 ms, or digital silence: no 20-ms frame is above -100 dB full scale once
            its constant part is removed.
    """
    where, length = f"{show(name)}: " if name else "", wav.shape[-1]
    if length < SHORTEST_SECONDS * sample_rate:
        raise UniAudioError(f"{where}is shorter than 20 ms ({1000 * length / sample_rate:.1f} ms)")
    size = max(1, sample_rate // 50)
    frames = (wav[0] - wav[0].mean())[: length // size * size].reshape(-1, size)
    if not float(frames.square().mean(dim=1).max()) > SILENT_POWER:
        raise UniAudioError(f"{where}is digital silence")


def layout(source: AudioInput) -> tuple[int, int]:
    """(samples a second, channels) of a recording. Raises UniAudioError as `read_audio` does."""
    if isinstance(source, tuple):
        samples, rate = source
        return int(rate), 1 if np.ndim(samples) == 1 else np.shape(samples)[0]
    with as_path(source) as path, decode(path, show(source_name(source))) as file:
        return file.rate, file.channels


@contextmanager
def as_path(source: str | Path | bytes | BinaryIO) -> Iterator[Path]:
    """A file with the source's bytes: itself, or a temporary copy of bytes, an open file or a stream of the system."""
    if isinstance(source, (str, Path)):
        # Pipes of the shell have an end; another pipe may never be written to.
        stream = str(source) == "/dev/stdin" or str(source).startswith("/dev/fd/")
        if not stream or os.path.isfile(source):  # noqa: PTH113 (a name no file can have is none)
            yield Path(source)
            return
    with NamedTemporaryFile(prefix="uniaudio-") as copy:
        if isinstance(source, bytes):
            copy.write(source)
        else:
            try:
                if isinstance(source, (str, Path)):
                    with Path(source).open("rb") as file:
                        shutil.copyfileobj(file, copy)
                else:
                    shutil.copyfileobj(source, copy)
            except (OSError, TypeError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise UniAudioError(f"{show(source_name(source))}: cannot be read ({reason})") from error
        copy.flush()
        yield Path(copy.name)


def _mix_file(path: Path, name: str, max_seconds: float | None, channel: int | None = None) -> tuple[np.ndarray, int]:
    """(samples [n], rate) of a file: the mean of its channels, or the one named by `channel`."""
    with decode(path, name) as file:
        wanted = math.inf if max_seconds is None else math.ceil((max_seconds + MARGIN) * file.rate)
        mixed, power = [], np.zeros(file.channels)
        # Averaged block by block: an hour of six channels is never held whole.
        for block in file.blocks:
            part = block[: int(min(wanted, len(block)))]
            check_samples(part, name)
            power += np.square(part, dtype=np.float64).sum(axis=0)
            mixed.append(part.mean(axis=1) if channel is None else part[:, channel])
            wanted -= len(part)
            if wanted <= 0:
                break
        rate = file.rate
    if not mixed or not sum(map(len, mixed)):
        raise UniAudioError(f"{name}: holds no samples")
    samples = np.concatenate(mixed)
    if channel is None and cancel(_energy(samples), power, name):
        return _mix_file(path, name, max_seconds, int(power.argmax()))
    return samples, rate


def array_samples(
    source: tuple[np.ndarray, int], name: str, max_seconds: float | None = None
) -> tuple[np.ndarray, int]:
    """Samples [T] or [C, T] of any number type with their rate -> float32 [C, T] and the rate.

    Raises:
        UniAudioError: not numbers of such a shape, none, or not usable.
    """
    try:
        array, rate = np.asarray(source[0]), int(source[1])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise UniAudioError(
            f"{name}: an array comes as a pair of samples and their rate, not {source!r:.60}"
        ) from error
    if len(source) != 2 or array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise UniAudioError(f"{name}: samples must be numbers of shape [T] or [C, T], not {array.dtype} {array.shape}")
    if rate < 1000:
        raise UniAudioError(f"{name}: says its rate is {rate} Hz, which is no audio")
    channels = array[None] if array.ndim == 1 else array
    if len(channels) > MOST_CHANNELS:
        raise UniAudioError(f"{name}: has {len(channels)} channels; samples must be of shape [C, T], not [T, C]")
    if max_seconds is not None:
        channels = channels[:, : math.ceil((max_seconds + MARGIN) * rate)]
    if not channels.size:
        raise UniAudioError(f"{name}: holds no samples")
    samples = to_float(channels)
    check_samples(samples, name)
    return samples, rate


def _mix_array(source: tuple[np.ndarray, int], name: str, max_seconds: float | None) -> tuple[np.ndarray, int]:
    samples, rate = array_samples(source, name, max_seconds)
    mixed, power = samples.mean(axis=0), np.square(samples, dtype=np.float64).sum(axis=1)
    return (samples[int(power.argmax())] if cancel(_energy(mixed), power, name) else mixed), rate


def check_samples(samples: np.ndarray, name: str) -> None:
    """Raise UniAudioError where samples are NaN, infinite or absurdly large."""
    if samples.size and not np.abs(samples).max() <= LARGEST:  # false for NaN
        raise UniAudioError(f"{name}: holds samples that are NaN, infinite or absurdly large")


def _energy(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).sum())


def cancel(mixed: float, power: np.ndarray, name: str) -> bool:
    """Whether the mean of the channels has lost 20 dB or more against them, with an `AudioWarning` where it has.

    `mixed`: summed squares of the mean. `power`: of each channel.
    """
    if len(power) < 2 or not mixed < CANCELLED * power.mean():
        return False
    message = f"{name}: its channels cancel each other (opposite phase); channel {int(power.argmax()) + 1} is used"
    warnings.warn(message, AudioWarning, stacklevel=4)
    return True


def written_format(path: Path) -> tuple[str, str]:
    """libsndfile's format and subtype of a file to write, by its extension.

    Raises:
        UsageError: audio is not written under this extension.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise UsageError(f"{show(path)}: audio is written as {', '.join(WRITTEN)}; end the name in one of these")
    return WRITTEN[suffix]


def format_for_peak(path: Path, peak: float) -> tuple[str, str, float]:
    """`written_format` of samples with this peak, and what they are divided by; an `AudioWarning` past full scale.

    Raises:
        UsageError: as `written_format`.
        UniAudioError: the peak is NaN or infinite.
    """
    kind, subtype = written_format(path)
    if not math.isfinite(peak):
        raise UniAudioError(f"{show(path)}: cannot be written, its samples are NaN or infinite")
    if peak <= 1:
        return kind, subtype, 1.0
    if kind == "WAV":
        subtype, divisor, done = "FLOAT", 1.0, "it is written as 32-bit floats"
    else:
        divisor, done = peak, f"it is turned down by {20 * math.log10(peak):.1f} dB"
    warnings.warn(f"{show(path)}: peaks at {peak:.2f} of full scale; {done}", AudioWarning, stacklevel=3)
    return kind, subtype, divisor


def write_wav(path: Path, wav: Tensor, sample_rate: int, force: bool = False) -> None:
    """Write `wav` [C, T] as 16-bit .wav or .flac, or as Vorbis .ogg.

    What goes past full scale is kept, with an `AudioWarning`: a .wav is then written as floats, and other kinds are
    turned down until the peak fits.

    Raises:
        UsageError: another extension, or `path` exists and `force` is not given.
        UniAudioError: `path` cannot be written.
    """
    samples = np.ascontiguousarray(wav.detach().float().cpu().numpy().T)
    kind, subtype, divisor = format_for_peak(path, float(np.abs(samples).max(initial=0)))
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate, samples.shape[1], subtype, format=kind) as file:
        # Given minutes at once, libsndfile's Vorbis overflows its stack.
        for start in range(0, len(samples), WRITTEN_AT_ONCE):
            file.write(samples[start : start + WRITTEN_AT_ONCE] / np.float32(divisor))
    with atomic(path, force) as temporary:
        temporary.write_bytes(cast(bytes, buffer.getbuffer()))


def stream_wav(file: BinaryIO, pieces: Iterable[Tensor], sample_rate: int, channels: int = 1) -> int:
    """Write wavs [C, T] one after another as they come, as one 16-bit WAV; the samples written a channel.

    The header has no length to start with, which players take from a pipe, and the true one in the end where the file
    can be sought in. Past full scale samples are clipped: the peak of a stream is not known before its end.
    """
    file.write(wav_header(sample_rate, channels))
    count = 0
    for piece in pieces:
        file.write(pcm16(piece))
        file.flush()
        count += piece.shape[1]
    if file.seekable():
        file.seek(0)
        file.write(wav_header(sample_rate, channels, count))
    return count


def wav_header(sample_rate: int, channels: int, samples: int | None = None) -> bytes:
    """The 44 bytes before the samples of a 16-bit WAV; without `samples` a channel, those of a stream."""
    size = 0xFFFFFFFF if samples is None else 2 * channels * samples
    whole = min(size + 36, 0xFFFFFFFF)
    layout = struct.pack("<IHHIIHH", 16, 1, channels, sample_rate, 2 * channels * sample_rate, 2 * channels, 16)
    return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + layout + b"data" + struct.pack("<I", size)


def pcm16(wav: Tensor) -> bytes:
    """wav float32 [C, T] -> interleaved little-endian 16-bit samples, clipped at full scale."""
    samples = (wav.T.clamp(-1, 1) * 32767).round().to(torch.int16).cpu().numpy()
    return samples.astype("<i2").tobytes()
