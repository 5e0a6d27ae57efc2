"""A listening server: slow and broken requests, and clients at once."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from tests.serve.conftest import SMALL, files, listening, wav
from uniaudio_cli.serve.settings import Limits


@pytest.fixture(scope="module")
def port(kit, tmp_path_factory):
    with listening(kit, tmp_path_factory.mktemp("state"), replace(SMALL, receive=0.5)) as port:
        yield port


def said(port: int, request: bytes) -> tuple[int, str]:
    """What a server answers to these bytes: its status and its body; 0 where it hangs up on what it has not read."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request)
        answer = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"


def test_a_body_that_does_not_arrive(port):
    status, body = said(port, HEAD + b"Content-Length: 1000\r\n\r\n--x\r\n")
    assert (status, json.loads(body)["detail"]) == (408, "the request took more than 0.5 s to arrive")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", 413),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + b"x" * (1 << 17) + b"\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: x\r\n" * (1 << 15) + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + b"x" * (1 << 20), 400),
        (b"GET /" + b"x" * (1 << 17) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
        (b"GET /static/../../cli/main.py HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
        (b"GET /static/%2e%2e/app.py HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
        (b"no http\r\n\r\n", 400),
    ],
)
def test_broken_requests(port, request_, status):
    assert said(port, request_)[0] in (status, 0 if len(request_) > 1 << 16 else status)


def test_clients_at_once_get_the_answers_of_one(port):
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
    data = {"labels": ["dog", "dog", "cat", "cat"], "task": "spoken-digit"}
    made = client.post("/v1/sets", files=files(*map(wav, range(4))), data=data).json()["id"]

    def ask(seed: int) -> dict:
        return client.post("/v1/classify", files=files(wav(seed)), data={"set": made}).json()

    serial = [ask(seed) for seed in range(4, 10)]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(ask, range(4, 10)))
    for one, other in zip(serial, together, strict=True):
        assert one["results"][0]["scores"] == pytest.approx(other["results"][0]["scores"], abs=1e-5)


def test_a_full_queue_says_when_to_come_back(kit, tmp_path):
    with listening(kit, tmp_path, replace(SMALL, queue=0)) as port:
        for more in ({}, {"segments": "true"}):
            data = {"set": "example-sounds", **more}
            answer = httpx2.post(f"http://127.0.0.1:{port}/v1/classify", files=files(wav()), data=data)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_the_lines_of_the_readme(kit, tmp_path):
    """Each curl line of README.md and docs/serve.md, with a clip in place of the user's."""
    root = Path(__file__).parents[2]
    pages = [(root / name).read_text(encoding="utf-8") for name in ("README.md", "docs/serve.md")]
    lines = [line for page in pages for line in page.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 8
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.wav").write_bytes(wav(number))
    with listening(kit, tmp_path / "state", Limits()) as port:
        made = httpx2.post(
            f"http://127.0.0.1:{port}/v1/sets", files=files(wav(0), wav(1)), data={"labels": ["a", "b"]}, timeout=300
        ).json()["id"]
        for line in lines:
            # An LLM of random weights refuses questions; a demonstration's own text it need not answer.
            line = line.replace(":8000", f":{port}").replace("0123456789abcdef", made).replace("2 + 3", "three")
            words = shlex.split(line)
            done = subprocess.run([*words, "-sS", "--fail-with-body"], cwd=tmp_path, capture_output=True, check=False)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert (tmp_path / "answer.wav").read_bytes().startswith(b"RIFF")
