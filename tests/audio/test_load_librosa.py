"""The lock around librosa's import."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock

from uniaudio_cli.audio import load_librosa as module

SCRIPT = "from uniaudio_cli.audio.load_librosa import load_librosa; print(load_librosa().yin.__name__, flush=True)"


def test_a_process_waits_for_another_that_imports(tmp_path):
    environment = {"TMPDIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    with FileLock(tmp_path / f"uniaudio-librosa-{module._user()}.lock"):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=environment)
        time.sleep(1)
        assert process.poll() is None
        assert process.stdout is not None
    assert process.communicate(timeout=120)[0] == "yin\n"


def test_a_folder_without_room_for_a_lock_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert Path(module.load_librosa.__wrapped__().__file__).is_file()
