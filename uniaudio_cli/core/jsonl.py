r"""JSON lines: the one resumable log. Whole lines, one writer, settings that must agree, no NaN.

A log starts with a header, `{"settings_sha256": ..., "settings": {...}}`, and has one JSON object a line below it. A
run that was killed may leave half a line, which the next run cuts off.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, show

try:
    import fcntl
except ImportError:  # Windows: logs are not locked
    fcntl = None  # type: ignore[assignment]

Value = TypeVar("Value")

HASH, SETTINGS = "settings_sha256", "settings"


def json_line(row: Mapping[str, Any]) -> str:
    r"""A JSON object on one line. NaN and infinities are null; a byte of a file's name that is not UTF-8 is \udcXX,
    which os.fsencode undoes."""
    text = json.dumps(finite(row), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def finite(value: Any) -> Any:
    """`value` with None for every float in it that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def settings_hash(settings: Mapping[str, Any]) -> str:
    """sha256 of settings, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(finite(settings), sort_keys=True).encode("utf-8", "replace")).hexdigest()


class JsonlLog:
    """A log of JSON objects in `path`, open for appending and locked; in memory alone where `path` is None.

    Args:
        settings: what the rows depend on, of JSON's types; None writes no header and accepts any.
        resume: go on with the rows that the file has; otherwise it must not exist, or `force` is given.
        retry: says which rows are dropped on resuming, so that their work is done again.
        keep: whether `rows` takes what is written, too; without, memory does not grow with the log.

    Raises:
        UsageError: the file exists, was made with other settings, or is no such log.
        UniAudioError: it cannot be written, or another process is writing it.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any] | None = None,
        *,
        resume: bool = False,
        force: bool = False,
        retry: Callable[[dict[str, Any]], bool] = lambda row: False,
        keep: bool = True,
    ) -> None:
        self.path, self.keep = path, keep
        self.rows: list[dict[str, Any]] = []
        self._settings = None if settings is None else finite(settings)
        self._file = -1
        self._once: dict[str, Any] | None = None
        if path is None:
            return
        try:
            if not resume and not force and path.is_file() and path.stat().st_size:
                raise UsageError(f"{show(path)}: already exists (pass --force to overwrite it)")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._locked(path)
            if resume:
                self._resume(path, retry)
            else:
                self._clear()
            if not self.rows and self._settings is not None and not self._size():
                self._append({HASH: settings_hash(self._settings), SETTINGS: self._settings})
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row, as one whole line.

        Raises:
            UniAudioError: the file cannot be written; what there is of the line is taken back.
        """
        self._append(row)
        if self.keep:
            self.rows.append(dict(row))

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """What `make` makes, or has made in the run that this one resumes; kept in the row `name`."""
        if self._once is None:
            self._once = {row["name"]: row.get("value") for row in self.rows if "name" in row}
        if name not in self._once:
            self._once[name] = value = make()
            self.write({"name": name, "value": value})
        found: Value = self._once[name]
        return found

    def close(self) -> None:
        """Close the file and give up the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> JsonlLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _locked(self, path: Path) -> int:
        """The file's descriptor, locked; of the file that has the name once the lock is held."""
        while True:
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not path.is_file() or os.fstat(file).st_ino == path.stat().st_ino:
                    return file
            except OSError as error:
                os.close(file)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise UniAudioError(f"{show(path)}: another process is writing it") from error
                if isinstance(error, FileNotFoundError):
                    continue
                raise
            os.close(file)

    def _resume(self, path: Path, retry: Callable[[dict[str, Any]], bool]) -> None:
        if not path.is_file():  # a pipe or a device has no earlier rows
            return
        lines = path.read_bytes().split(b"\n")
        torn = bool(lines.pop())
        rows = [(line, self._parsed(path, number, line)) for number, line in enumerate(lines, 1) if line.strip()]
        if self._settings is not None and rows:
            self._check(path, rows[0][1])
        header = [line for line, row in rows[:1] if HASH in row]
        kept = [(line, row) for line, row in rows[len(header) :] if not retry(row)]
        self.rows = [row for _, row in kept]
        if torn or len(header) + len(kept) < len(lines):
            # A new file under the same name, locked before it has the name: a kill leaves the old one or the new.
            with atomic(path, force=True) as temporary:
                temporary.write_bytes(b"".join(line + b"\n" for line in [*header, *(line for line, _ in kept)]))
                new = self._locked(temporary)
            os.close(self._file)
            self._file = new

    def _parsed(self, path: Path, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UsageError(f"{show(path)}:{number}: is no JSON object of a log; name another file")
        return row

    def _check(self, path: Path, header: dict[str, Any]) -> None:
        assert self._settings is not None
        theirs = header.get(SETTINGS)
        if not isinstance(theirs, dict):
            raise UsageError(f"{show(path)}: does not say what settings it was made with; name another file")
        if header.get(HASH) != settings_hash(self._settings):
            keys = sorted(key for key in {**theirs, **self._settings} if theirs.get(key) != self._settings.get(key))
            changes = "; ".join(
                f"{key} {_brief(theirs.get(key))}, now {_brief(self._settings.get(key))}" for key in keys
            )
            raise UsageError(
                f"{show(path)}: was made with other settings ({changes or 'its header was edited'}); name another "
                "file, or start it anew with --force"
            )

    def _clear(self) -> None:
        if self._size():
            os.ftruncate(self._file, 0)

    def _size(self) -> int:
        return os.fstat(self._file).st_size

    def _append(self, row: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        data, before = f"{json_line(row)}\n".encode(), self._size()
        try:
            written = os.write(self._file, data)
            while written < len(data):  # a disk that is nearly full, or a pipe
                written += os.write(self._file, data[written:])
        except OSError as error:
            with suppress(OSError):  # not a regular file
                os.ftruncate(self._file, before)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UniAudioError:
        return UniAudioError(f"{show(self.path or '')}: cannot be written ({error.strerror})")


def _brief(value: Any) -> str:
    text = show(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 40 else f"{text[:37]}..."
