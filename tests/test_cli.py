"""The command line from the outside: what it prints where, what it writes, and how it ends."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.cli_world import CLIP, RATE, write, write_samples, write_task
from tests.factories import chirps
from uniaudio_cli.audio import read_wav
from uniaudio_cli.cli.main import app
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.pipeline import Session


def clip_samples(samples: int = 2 * CLIP) -> np.ndarray:
    return chirps(samples)[0, 0].numpy()


@pytest.fixture
def classify(world, uniaudio):
    """`uniaudio classify` in the small world."""
    return lambda *arguments: uniaudio(
        "classify", "--task", world.listen, "--demos", world.labels, *world.models, *arguments
    )


@pytest.fixture
def enhance(world, uniaudio):
    return lambda *arguments: uniaudio(
        "enhance", "--task", world.clean, "--demos", world.pairs, *world.models, *arguments
    )


@pytest.fixture
def tts(world, uniaudio):
    return lambda *arguments: uniaudio(
        "tts", "--task", world.speak, "--demos", world.digits, *world.models, *arguments
    )


def one_error(done, code: int, *words: str) -> None:
    """The command failed with `code` and said why on one line of stderr, and nothing on stdout."""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert done.code == code, done.err


# ---- the good rows


def test_classify_prints_one_json_object_a_clip(world, classify):
    files = sorted(world.labels.rglob("*.wav"))
    done = classify(world.labels)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert [row["file"] for row in rows] == list(map(str, files))
    for row in rows:
        assert list(row) == ["file", "label", "scores", "seconds"]
        assert set(row["scores"]) == {"up", "upper", "down"}
        assert row["label"] == next(iter(row["scores"]))
        assert list(row["scores"].values()) == sorted(row["scores"].values(), reverse=True)
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
