"""Uploads in a private folder until they are answered, and bounds on a recording before and while it is decoded."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO
from uuid import uuid4

import soundfile
from fastapi import UploadFile

from uniaudio_cli.audio.blocks import open_blocks
from uniaudio_cli.audio.decoding import STREAM_STARTS, decode
from uniaudio_cli.audio.discovery import EXTENSIONS
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show
from uniaudio_cli.serve.problems import Problem, as_problem
from uniaudio_cli.serve.settings import Limits

MOST_PARTS = 16  # recordings that follow each other in one file: each is opened as a file of its own
RATES = range(1_000, 384_001)


@dataclass(frozen=True)
class Upload:
    """A file of a request. `name`: as the client calls it, on one line; `path`: where it lies for now."""

    name: str
    path: Path


def client_name(given: str | None) -> str:
    """The last part of a client's file name, on one line; it is shown and never opened."""
    return show(PurePosixPath((given or "").replace("\\", "/")).name)[:100] or "clip"


def suffix_of(name: str) -> str:
    """The extension of a name where it is one of audio, else ""."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in EXTENSIONS else ""


class Inbox:
    """A folder that only this user can read, where the files of requests lie until they are answered.

    One folder serves all requests: to make and remove one for each took a quarter of the event loop's time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: TemporaryDirectory[str] | None = None

    def folder(self) -> Path:
        """The folder, made anew where something has removed it."""
        with self._lock:
            if self._folder is None or not Path(self._folder.name).is_dir():
                self._folder = TemporaryDirectory(prefix="uniaudio-serve-", ignore_cleanup_errors=True)
            return Path(self._folder.name)

    def keep(
        self, given: Sequence[UploadFile], limits: Limits, held: ExitStack, seconds: float | None = None
    ) -> list[Upload]:
        """The files of a request, written under names of the server's own, and checked.

        Args:
            held: removes them when it is closed.
            seconds: of a recording, at most; `limits.seconds` by default.

        Raises:
            Problem: a file is not audio, or goes past a limit.
        """
        if len(given) > limits.files:
            raise Problem(413, f"a request may have {limits.files} files, and this has {len(given)}")
        folder = self.folder()
        kept = []
        for file in given:
            name = client_name(file.filename)
            upload = Upload(name, folder / f"{uuid4().hex}{suffix_of(name)}")
            held.callback(_remove, upload.path)
            write(file.file, upload.path)
            check_recording(upload.path, name, limits, seconds)
            kept.append(upload)
        return kept

    def close(self) -> None:
        """Remove the folder."""
        with self._lock:
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def write(source: BinaryIO, target: Path) -> None:
    """A file's bytes to a new file."""
    with target.open("xb") as file:
        shutil.copyfileobj(source, file)


def names_of(uploads: Sequence[Upload]) -> Mapping[Path, str]:
    """What the client calls each file."""
    return {upload.path: upload.name for upload in uploads}


def samples_of(upload: Upload) -> int:
    """The samples a channel of a recording, read to its end, so that damage is found before an answer begins.

    Raises:
        Problem: it cannot be read.
    """
    try:
        with open_blocks(upload.path) as recording:
            return sum(map(len, recording.blocks))
    except UniAudioError as error:
        raise as_problem(error, names_of([upload])) from error


def check_recording(path: Path, name: str, limits: Limits, seconds: float | None = None) -> None:
    """Refuse what is no audio, or longer or of more channels than the limits allow, at the cost of the limit at most.

    The header is read first. What it claims is no bound, as it may lie or be missing, so the blocks are counted too;
    none is kept. `seconds`: at most, as `keep`; a longer recording of high rates and many channels is held to the
    samples that `limits.seconds` may have.

    Raises:
        Problem: 413 past a limit, 422 where it cannot be read as audio.
    """
    with path.open("rb") as file:
        head = file.read(4)
    try:
        if head in STREAM_STARTS and len(STREAM_STARTS[head](path)) > MOST_PARTS:
            raise Problem(422, f"{name}: holds more than {MOST_PARTS} recordings; split it")
        _check_header(path, name, limits, seconds)
        with decode(path, name) as found:
            most = _most_seconds(found.rate, found.channels, name, limits, seconds)
            count = 0
            for block in found.blocks:
                count += len(block)
                if count > most * found.rate:
                    raise _too_long(name, most)
    except UniAudioError as error:
        raise as_problem(error, {path: name}) from error
    except ValueError as error:  # an empty file cannot be mapped
        raise Problem(422, f"{name}: cannot be read as audio; convert it to wav or flac") from error
    if not count:
        raise Problem(422, f"{name}: holds no samples")


def _check_header(path: Path, name: str, limits: Limits, seconds: float | None) -> None:
    """Refuse what libsndfile reads a header of that goes past a limit; what it cannot read is FFmpeg's."""
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError:
        return
    most = _most_seconds(info.samplerate, info.channels, name, limits, seconds)
    # A WAV that was streamed claims the most that its header holds; its blocks are counted below.
    claimed = info.frames / info.samplerate
    if claimed > most and info.frames * info.channels < 1 << 30:
        raise _too_long(name, most)


def _most_seconds(rate: int, channels: int, name: str, limits: Limits, seconds: float | None) -> float:
    """How long a recording of this layout may be. Raises Problem for a layout that is not taken."""
    if rate not in RATES:
        raise Problem(422, f"{name}: says its rate is {rate} Hz; {RATES.start} to {RATES.stop - 1} Hz are taken")
    if channels > limits.channels:
        raise Problem(413, f"{name}: has {channels} channels; up to {limits.channels} are taken")
    same_work = limits.seconds * limits.channels * (RATES.stop - 1) / (channels * rate)
    return min(limits.seconds if seconds is None else seconds, same_work)


def _too_long(name: str, most: float) -> Problem:
    return Problem(413, f"{name}: is longer than {most:g} s")
