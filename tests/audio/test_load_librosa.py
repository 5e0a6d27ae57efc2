"""The lock around librosa's import."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def test_a_process_waits_for_another_that_imports(tmp_path):
    environment = {"TMPDIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    with FileLock(tmp_path / f"uniaudio-librosa-{module._user()}.lock"):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=environment)
        time.sleep(1)
        assert process.poll() is None
        assert process.stdout is not None
    assert process.communicate(timeout=120)[0] == "[]\n"


def test_a_folder_without_room_for_a_lock_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert Path(module.load_librosa.__wrapped__().__file__).is_file()
