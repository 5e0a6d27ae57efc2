"""A server of small parts, and clips as a client has them."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from tests.factories import chirps
from tests.kits import CLIP, RATE, make_kit
from tests.serve.browser import chromium_with_microphone
from uniaudio_cli.serve.app import create_app
from uniaudio_cli.serve.http import server
from uniaudio_cli.serve.settings import Limits, Settings

SMALL = Limits(
    body=1 << 20, files=8, seconds=5.0, long=20.0, channels=2, receive=5.0, work=300.0, set_clips=12, sets=20
)


def wav(seed: int = 0, samples: int = CLIP) -> bytes:
    """A clip as the bytes of a .wav."""
    buffer = io.BytesIO()
    soundfile.write(buffer, chirps(samples, seed)[0, 0].numpy(), RATE, format="WAV")
    return buffer.getvalue()


def encoded(samples: np.ndarray, format: str = "WAV", rate: int = RATE) -> bytes:
    """Samples [T] or [T, C] as the bytes of a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format)
    return buffer.getvalue()


def files(*contents: bytes, names: str = "{}.wav", field: str = "files") -> list:
    """Uploads for a client."""
    return [(field, (names.format(number), content, "audio/wav")) for number, content in enumerate(contents)]


def make_client(kit, state: Path, limits: Limits = SMALL, **settings) -> TestClient:
    app = create_app(kit, Settings(state, limits=limits, **settings))
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


@contextmanager
def listening(kit, state: Path, limits: Limits = SMALL) -> Iterator[int]:
    """A server on a free port of this machine; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(state, port=port, limits=limits)
    running = server(create_app(kit, settings), settings)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    try:
        yield port
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def kit():
    return make_kit()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder of two labels, and folders that lead outside in every way."""
    top = tmp_path_factory.mktemp("top")
    for number, name in enumerate(["root/good/dog/a", "root/good/cat/a", "secret/dog/a", "secret/cat/a"]):
        path = top / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(number))
    inside = top / "root"
    (inside / "linked").symlink_to(top / "secret")
    for name in ("clip", "metadata", "row"):
        (inside / name / "dog").mkdir(parents=True)
        (inside / name / "cat").mkdir()
        (inside / name / "cat" / "a.wav").write_bytes(wav(9))
    (inside / "clip" / "dog" / "a.wav").symlink_to(top / "secret" / "dog" / "a.wav")
    (top / "secret" / "list.csv").write_text("file_name,label\ndog/a.wav,dog\ncat/a.wav,cat\n")
    (inside / "metadata" / "metadata.csv").symlink_to(top / "secret" / "list.csv")
    (inside / "row" / "metadata.csv").write_text(
        f"file_name,label\n../../secret/dog/a.wav,dog\n{top}/secret/cat/a.wav,cat\n"
    )
    return inside


@pytest.fixture(scope="module")
def client(kit, tmp_path_factory, root):
    with make_client(kit, tmp_path_factory.mktemp("state"), root=root) as client:
        yield client


@pytest.fixture(scope="module")
def set_id(client) -> str:
    """A set of two labels with two clips each."""
    labels = {"labels": ["dog", "dog", "cat", "cat"], "task": "spoken-digit"}
    answer = client.post("/v1/sets", files=files(*map(wav, range(4))), data=labels)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium_with_microphone(tmp_path_factory.mktemp("microphone")) as browser:
        yield browser
