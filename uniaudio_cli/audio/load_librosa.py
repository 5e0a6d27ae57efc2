"""librosa, imported by one process at a time.

Its import compiles functions with numba, which keeps them in files. Two processes that write these files at once, as
after an installation, leave some that crash every process that loads them.
"""

from __future__ import annotations

import getpass
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType


@cache  # the lock is taken once, and not for every clip
def load_librosa() -> ModuleType:
    """The package, its compiled modules loaded."""
    from filelock import FileLock

    lock = FileLock(Path(tempfile.gettempdir()) / f"uniaudio-librosa-{_user()}.lock")
    held = False
    with suppress(OSError):  # a folder that cannot be written: no lock
        lock.acquire()
        held = True
    try:
        # Each by name: `librosa.core` alone loads its parts when they are first used, which is after the lock.
        import librosa.core.pitch
        import librosa.effects
        import librosa.feature.spectral
        import librosa.sequence
    finally:
        if held:
            lock.release()
    return librosa


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "user"
