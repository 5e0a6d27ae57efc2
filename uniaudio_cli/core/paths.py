"""Paths: outputs written whole or not at all, names shown on one line, and where files of the package are."""

from __future__ import annotations

import difflib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import platformdirs

from uniaudio_cli.core.errors import UniAudioError, UsageError

# What the system says of a disk, quota, file size limit, device or pipe that takes no more.
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EPIPE)


@contextmanager
def atomic(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block succeeds and is removed when it does not.

    Missing folders are made, a link is written through, and the temporary name keeps the suffix (numpy would append
    its own). Everything that can be refused is refused before the block runs, not after its work.

    Raises:
        UsageError: `path` exists and `force` is not given.
        UniAudioError: `path` is a folder or a device, its folder cannot be written to, or the disk is full.
    """
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f".{secrets.token_hex(8)}{final.suffix}")
    try:
        if final.is_dir():
            raise UniAudioError(f"{show(path)}: is a folder, and a file is to be written")
        if final.exists() and not final.is_file():
            raise UniAudioError(f"{show(path)}: is not a regular file, so it cannot be replaced")
        if final.exists() and not force:
            raise UsageError(f"{show(path)}: already exists (pass --force to overwrite it)")
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise UniAudioError(f"{show(path)}: cannot be written ({error.strerror})") from error
    try:
        yield temporary
        temporary.replace(final)
    except OSError as error:
        if error.errno not in WRITE_ERRORS:
            raise
        raise UniAudioError(f"{show(path)}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def show(path: str | os.PathLike[str]) -> str:
    r"""`path` on one line: what cannot be printed is escaped, a newline as `\n`, a byte that is not UTF-8 as `\xff`."""
    # Python holds such a byte as a lone surrogate, U+DCff, and repr writes that as \udcff.
    return "".join(c if c.isprintable() else repr(c)[1:-1].replace(r"\udc", r"\x") for c in os.fspath(path))


def is_file(path: Path) -> bool:
    """Whether `path` is a file. A name that no file can have is none: `Path.is_file` raises where it is too long."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder, as `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def suggest(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'labels'?)" for the known name closest to `name`, or "" where none is close."""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def cache_dir() -> Path:
    """Where our own files are kept: $UNIAUDIO_HOME, else $XDG_CACHE_HOME/uniaudio or what the system has for that."""
    home = os.environ.get("UNIAUDIO_HOME")
    return Path(home).expanduser() if home else platformdirs.user_cache_path("uniaudio", appauthor=False)


def data_folder(kind: Literal["tasks", "prompts"]) -> Path:
    """The shipped files of one kind: inside the installed package, or at the top of the repository."""
    package = Path(__file__).parent.parent
    installed = package / kind
    return installed if installed.is_dir() else package.parent / kind
