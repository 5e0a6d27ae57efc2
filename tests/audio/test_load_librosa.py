"""The lock around librosa's import."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from filelock import FileLock

from uniaudio_cli.audio import load_librosa as module

# Prints the modules of librosa that are loaded by its use, and so outside the lock.
SCRIPT = """
import sys
import numpy as np
from uniaudio_cli.audio.load_librosa import load_librosa
librosa = load_librosa()
before, wav = set(sys.modules), np.sin(np.arange(4096, dtype=np.float32))
librosa.yin(wav, fmin=60, fmax=400, sr=16_000, frame_length=1024)
librosa.effects.trim(wav)
librosa.power_to_db(librosa.feature.melspectrogram(y=wav, sr=16_000))
librosa.feature.mfcc(y=wav, sr=16_000)
librosa.sequence.dtw(np.eye(3), np.eye(3))
print([name for name in sys.modules if name.startswith("librosa") and name not in before], flush=True)
"""


def test_a_process_waits_for_another_that_imports():
    with FileLock(module._lock_file()):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        assert process.poll() is None
        assert process.stdout is not None
    assert process.communicate(timeout=240)[0] == "[]\n"


@pytest.mark.parametrize("variable", ["TMPDIR", "HOME", "UNIAUDIO_CACHE"])
def test_processes_with_other_folders_share_the_lock(variable, tmp_path, monkeypatch):
    before = module._lock_file()
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert module._lock_file() == before


def test_a_folder_without_room_for_a_lock_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_lock_file", lambda: tmp_path / "gone" / "lock")
    (tmp_path / "gone").write_text("a file where a folder should be")
    assert Path(module.load_librosa.__wrapped__().__file__).is_file()


def test_a_read_only_librosa_has_its_lock_among_temporary_files(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert module._lock_file().parent == Path(tempfile.gettempdir())
