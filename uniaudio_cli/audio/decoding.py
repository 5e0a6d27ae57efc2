"""Audio files to blocks of samples: libsndfile where it reads a file whole, FFmpeg (PyAV) for what it cannot read."""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import soundfile

from uniaudio_cli.core.errors import AudioWarning, UniAudioError

BLOCK = 1 << 14  # samples per channel that are read at once
UNKNOWN_LENGTH = 1 << 62  # frames that libsndfile names where a header has no length
# Bytes at an offset that only files for FFmpeg have: MP4, Matroska and WebM, ASF, AMR, AC-3.
MAGIC = ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (0, b"\x30\x26\xb2\x75"), (0, b"#!AMR"), (0, b"\x0b\x77"))
# The first bytes of files that libsndfile knows whatever their name.
SNDFILE_STARTS = (b"RIFF", b"RF64", b"riff", b"OggS", b"fLaC", b"FORM", b".snd", b"caff")
PYAV_SUFFIXES = (
    *(".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".weba", ".mka", ".mkv", ".3gp", ".amr", ".wma", ".ac3"),
    *(".mpga", ".mp2", ".mp3"),
)
# FFmpeg's other formats include playlists, which open what files and addresses they name.
PYAV_FORMATS = "mov,matroska,asf,amr,ac3,eac3,mp3,aac,wav,w64,ogg,flac,aiff,au,caf"


@dataclass(frozen=True)
class Decoded:
    """An open audio file. `blocks`: float32 [n, channels], n at most `BLOCK` or a codec's frame."""

    rate: int
    channels: int
    blocks: Iterator[np.ndarray]


@contextmanager
def decode(path: Path, name: str) -> Iterator[Decoded]:
    """The file, open for reading; whatever the disk or a decoder objects to becomes one line about `name`.

    Raises:
        UniAudioError: no such file, not audio, damaged, or of a length that cannot be known.
    """
    try:
        _check(path, name)
        with ExitStack() as stack:
            stack.enter_context(path.open("rb"))  # for the system's own words where the file may not be read
            yield _open(path, name, stack)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise UniAudioError(f"{name}: cannot be read as audio ({reason}); convert it to wav or flac") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UniAudioError(f"{name}: cannot be read ({reason})") from error


def _head(path: Path) -> bytes:
    """The first bytes of a file; where an ID3 tag precedes a file that is no MPEG audio, those after it."""
    with path.open("rb") as file:
        head = file.read(16)
        if head[:3] != b"ID3" or len(head) < 10:
            return head
        size = sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10])))  # 7 bits a byte
        file.seek(10 + size)
        after = file.read(16)
    return after if after[:4] in SNDFILE_STARTS else head


def _check(path: Path, name: str) -> None:
    if path.is_dir():
        raise UniAudioError(f"{name}: is a folder, not an audio file")
    if not path.exists():
        raise UniAudioError(f"{name}: no such file")
    if not path.is_file():
        raise UniAudioError(f"{name}: is a pipe or a device, not a file")
    if path.suffix.lower() == ".raw":
        raise UniAudioError(f"{name}: has no header that says how to read it; convert it to wav or flac")


def _open(path: Path, name: str, stack: ExitStack) -> Decoded:
    head = _head(path)
    # ADTS: the sync word of MPEG audio with layer 0.
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    if adts or any(head[at : at + len(magic)] == magic for at, magic in MAGIC):
        return _with_pyav(path, name, stack)
    starts = STREAM_STARTS.get(head[:4], lambda _: [0])(path)
    if len(starts) > 1:
        return _with_parts(path, name, starts, stack)
    mpeg = head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    # libsndfile goes by the name of a file that it does not recognise.
    named = path.suffix.lower() in PYAV_SUFFIXES and head[:4] not in SNDFILE_STARTS
    if mpeg or named:  # by FFmpeg: mpg123, beneath libsndfile, prints what it objects to
        return _with_pyav(path, name, stack)
    try:
        file = stack.enter_context(_soundfile(path))
    except soundfile.LibsndfileError:
        if path.suffix.lower() in PYAV_SUFFIXES or head[:4] == b"RIFF" or head[:3] == b"ID3":
            return _with_pyav(path, name, stack)
        raise
    if file.samplerate < 1000:
        raise UniAudioError(f"{name}: says its rate is {file.samplerate} Hz, which is no audio")
    if file.frames >= UNKNOWN_LENGTH or (file.frames == 0 and head[:4] == b"RIFF" and path.stat().st_size > 1024):
        return _with_pyav(path, name, stack)  # its header has no length, as of a stream that was stopped
    if file.format == "MP3":  # behind bytes that are none
        return _with_pyav(path, name, stack)
    return Decoded(file.samplerate, file.channels, _blocks(file))


# ---- libsndfile


def _soundfile(path: Path) -> soundfile.SoundFile:
    # By name: reading a damaged file through a handle prints tracebacks. As bytes, because soundfile refuses a str
    # that is not UTF-8.
    return soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else str(path))


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    # A file that is cut short ends before its header says, and what there is of it is used.
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
        yield block


def _with_parts(path: Path, name: str, starts: list[int], stack: ExitStack) -> Decoded:
    """Several recordings in one file, one after the other."""
    data = path.read_bytes()
    files = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        part = stack.enter_context(NamedTemporaryFile(prefix="uniaudio-"))  # noqa: SIM115
        part.write(data[start:end])
        part.flush()
        files.append(stack.enter_context(_soundfile(Path(part.name))))
    first = files[0]
    if any((file.samplerate, file.channels) != (first.samplerate, first.channels) for file in files):
        raise UniAudioError(f"{name}: holds {len(files)} recordings of different rates or channels; split it")
    return Decoded(first.samplerate, first.channels, (block for file in files for block in _blocks(file)))


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _ogg_starts(path: Path) -> list[int]:
    """Offsets of the streams of a chained Ogg file: pages marked as a beginning, after one that is not."""
    starts, before, at = [], False, 0
    with _mapped(path) as data:
        while (at := data.find(b"OggS\0", at)) >= 0 and at + 27 <= len(data):
            first = bool(data[at + 5] & 2)
            if first and not before:
                starts.append(at)
            before = first
            segments = data[at + 26]
            at += 27 + segments + sum(data[at + 27 : at + 27 + segments])
    return starts


def _flac_starts(path: Path) -> list[int]:
    """Offsets of FLAC streams: the marker and the header of the first metadata block, which has a fixed size."""
    starts, at = [], -1
    with _mapped(path) as data:
        while (at := data.find(b"fLaC", at + 1)) >= 0:
            if data[at + 4 : at + 5] in (b"\0", b"\x80") and data[at + 5 : at + 8] == b"\0\0\x22":
                starts.append(at)
    return starts if starts[:1] == [0] else starts[:1]


def _wav_starts(path: Path) -> list[int]:
    """Offsets of RIFF files that follow each other."""
    starts, at = [], 0
    with _mapped(path) as data:
        while data[at : at + 4] == b"RIFF" and data[at + 8 : at + 12] == b"WAVE":
            starts.append(at)
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + size + size % 2
    return starts


STREAM_STARTS: dict[bytes, Callable[[Path], list[int]]] = {
    b"OggS": _ogg_starts,
    b"fLaC": _flac_starts,
    b"RIFF": _wav_starts,
}


# ---- FFmpeg


def _with_pyav(path: Path, name: str, stack: ExitStack) -> Decoded:
    import av

    refused = (av.error.FFmpegError, ValueError, EOFError)
    try:
        # Through a handle: FFmpeg takes no name that is not UTF-8.
        handle = stack.enter_context(path.open("rb"))
        container = stack.enter_context(av.open(handle, options={"format_whitelist": PYAV_FORMATS}))
        if not container.streams.audio:
            raise UniAudioError(f"{name}: holds no sound")
        if (tracks := len(container.streams.audio)) > 1:
            message = f"{name}: holds {tracks} sound tracks side by side; the first is used"
            warnings.warn(message, AudioWarning, stacklevel=6)
        frames = _frames(container, refused, name)
        first = next(frames, None)
    except refused as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UniAudioError(f"{name}: cannot be read as audio ({reason}); convert it to wav or flac") from error
    if first is None:
        raise UniAudioError(f"{name}: holds no samples")
    rate, channels = first.sample_rate, len(first.layout.channels)
    if rate < 1000:
        raise UniAudioError(f"{name}: says its rate is {rate} Hz, which is no audio")

    def blocks() -> Iterator[np.ndarray]:
        yield _samples(first)
        for frame in frames:
            if (frame.sample_rate, len(frame.layout.channels)) != (rate, channels):
                raise UniAudioError(f"{name}: changes its rate or channels midway; convert it to wav or flac")
            yield _samples(frame)

    return Decoded(rate, channels, blocks())


def _frames(container: Any, refused: tuple[type[BaseException], ...], name: str) -> Iterator[Any]:
    """Every frame of the first sound stream. What ends in the middle of a frame is used up to there; what is damaged
    before its end is refused, but for MPEG audio, whose decoders skip what is none."""
    lenient, damaged = container.format.name in ("mp3", "aac"), False
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except refused:
            return
        try:
            found = packet.decode()
        except refused:
            damaged = True
            continue
        if damaged and found and not lenient:
            raise UniAudioError(f"{name}: cannot be read as audio (damaged); convert it to wav or flac")
        yield from found


def _samples(frame: Any) -> np.ndarray:
    """A frame as float32 [n, channels], full scale 1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    return to_float(samples).T


def to_float(samples: np.ndarray) -> np.ndarray:
    """Samples of any number type as float32, full scale 1; unsigned bytes have their zero at 128."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.signedinteger):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    return samples.astype(np.float32)
