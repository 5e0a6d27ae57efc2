"""Killed (-9) at ten random moments and resumed: every clip once, with the labels of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.world import RATE, write

pytestmark = pytest.mark.slow

CLIPS, KILLS, SEED = 2_000, 10, 20_261_128


def rows(path: Path) -> list[dict]:
    """The whole lines of a log, header apart."""
    lines = path.read_bytes().split(b"\n")[1:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def test_killed_and_resumed(world, tmp_path):
    queries = tmp_path / "queries"
    for number in range(CLIPS):
        write(queries / f"{number:04}.wav", number, RATE // 5)
    flags = ["classify", str(queries), "--demos", str(world.labels), "--task", str(world.listen), *world.models]
    flags += ["--readout", "similarity", "--levels", "0", "--quiet", "--resume"]
    environment = {**os.environ, "UNIAUDIO_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}

    def start(output: Path) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-m", "uniaudio_cli", *flags, "-o", str(output)], env=environment)

    whole, log, draw = tmp_path / "whole.jsonl", tmp_path / "log.jsonl", random.Random(SEED)
    assert start(whole).wait() == 0
    for target in sorted(draw.randrange(CLIPS) for _ in range(KILLS)):
        process = start(log)
        while process.poll() is None and len(rows(log)) < target:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(log).wait() == 0
    found, expected = rows(log), rows(whole)
    assert len(found) == len(expected) == CLIPS
    labels = {row["file"]: row["label"] for row in expected}
    assert {row["file"]: row["label"] for row in found} == labels
    assert sum(each["scores"][each["label"]] > 0.34 for each in found) > CLIPS / 2  # they are labels, not a constant
