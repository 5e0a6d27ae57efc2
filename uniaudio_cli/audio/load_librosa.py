"""librosa, imported by one process at a time.

Its import compiles functions with numba, which keeps them in files beside librosa's own. numba's index of these files
is read, changed and written without a lock: of two processes that do so at once, as after an installation, one may
leave a name in it under which the other's function lies, and every process that calls it crashes from then on.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


@cache  # the lock is taken once, and not for every clip
def load_librosa() -> ModuleType:
    """The package, its compiled modules loaded."""
    from filelock import FileLock

    lock = FileLock(_lock_file())
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


def _lock_file() -> Path:
    """Beside numba's files, so that all processes share it; where that is read-only, numba's are the user's own too."""
    spec = find_spec("librosa")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent
        if os.access(folder, os.W_OK):
            return folder / ".uniaudio.lock"
    return Path(tempfile.gettempdir()) / f"uniaudio-librosa-{_user()}.lock"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "user"
