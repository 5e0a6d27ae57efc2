"""Segments of long recordings, and enhancement that is sent while it is made."""

from __future__ import annotations

import io
import socket
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import httpx2
import numpy as np
import pytest
import soundfile

from tests.factories import chirps
from tests.kits import CLIP, RATE
from tests.serve.conftest import SMALL, encoded, files, listening, wav
from uniaudio_cli.cli.main import main
from uniaudio_cli.inference import enhance, gains
from uniaudio_cli.inference.segments import Segmenter
from uniaudio_cli.serve import schemas as schemas_module
from uniaudio_cli.serve import worker

PAUSE = np.zeros(RATE, np.float32)


def long_wav(*seeds: int, times: int = 20, format: str = "WAV") -> bytes:
    """Demonstrations in a row, each `times` over, with pauses of a second around."""
    parts = [np.concatenate([np.tile(chirps(CLIP, seed)[0, 0].numpy(), times), PAUSE]) for seed in seeds]
    return encoded(np.concatenate([PAUSE, *parts]), format)


def not_numbers() -> bytes:
    """A recording of NaN."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(RATE, np.nan), RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


# ---- segments


def test_segments_equal_the_python_api(client, kit, set_id, tmp_path):
    given = long_wav(0, 2)
    answer = client.post("/v1/classify", files=files(given), data={"set": set_id, "segments": "true"})
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["results"]
    assert (found["file"], found["error"]) == ("0.wav", None)
    assert found["seconds"] == pytest.approx(3 + 40 * CLIP / RATE, abs=1e-3)
    assert found["segments"]
    zipfile.ZipFile(io.BytesIO(client.get(f"/v1/sets/{set_id}/zip").content)).extractall(tmp_path)
    own = Segmenter(kit.classifier(tmp_path / set_id, "spoken-digit", shots=2))(given)
    assert found["segments"] == own.rows()


def test_a_recording_that_fails_is_named_and_the_rest_have_segments(client, set_id):
    given = files(not_numbers(), long_wav(0))
    answer = client.post("/v1/classify", files=given, data={"set": set_id, "segments": "true"})
    first, second = answer.json()["results"]
    assert first["error"] == "0.wav: holds samples that are NaN, infinite or absurdly large"
    assert [each["label"] for each in second["segments"]] == ["dog"]


@pytest.mark.parametrize(
    ("data", "content", "status", "words"),
    [
        ({"labels": ["rain", "siren"]}, wav(), 422, "segments: take a set"),
        ({"set": "example-digits"}, wav(), 422, "no set of labelled clips"),
        ({"set": "example-sounds"}, encoded(np.zeros(21 * RATE), "FLAC"), 413, "is longer than 20 s"),
        ({"set": "example-sounds"}, b"no audio", 422, "cannot be read as audio"),
        # As many samples as 5 s of two channels at the highest rate.
        ({"set": "example-sounds"}, encoded(np.zeros((12 * 192_000, 2)), "FLAC", 192_000), 413, "longer than 10 s"),
    ],
)
def test_segments_that_are_refused(client, data, content, status, words):
    answer = client.post("/v1/classify", files=files(content), data={**data, "segments": "true"})
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


def test_segments_end_with_the_time_of_an_answer(kit, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "SLICE", 0.0)
    seen = []

    def steps(self, source):
        while len(seen) < 100:
            seen.append(time.sleep(0.1))
            yield None

    monkeypatch.setattr(Segmenter, "steps", steps)
    with listening(kit, tmp_path, replace(SMALL, work=0.5)) as port:
        data = {"set": "example-sounds", "segments": "true"}
        answer = httpx2.post(f"http://127.0.0.1:{port}/v1/classify", files=files(wav()), data=data, timeout=60)
        assert (answer.status_code, answer.json()["detail"]) == (504, "no answer within 0.5 s")
        count = -1
        while len(seen) != count:  # the set's clips may still be read when the time is over
            count = len(seen)
            time.sleep(0.5)
        assert count < 20


def test_the_description_has_examples(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("ProblemDetails", "SetInfo", "Speech", "Codes", "TaskInfo", "Health"):
        [example] = schemas[name]["examples"]
        assert getattr(schemas_module, name)(**example).model_dump() == example
    paths = client.get("/openapi.json").json()
    answer = paths["paths"]["/v1/classify"]["post"]["responses"]["200"]["content"]["application/json"]
    for example, model in zip(answer["examples"].values(), ("Labels", "Recordings"), strict=True):
        assert example["value"]["results"][0].keys() <= (
            paths["components"]["schemas"][model[:-1]]["properties"].keys()
        )
    assert [each["$ref"].rsplit("/")[-1] for each in answer["schema"]["anyOf"]] == ["Labels", "Recordings"]


# ---- enhancement


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(gains, "STEPS", 2)
    monkeypatch.setattr(gains, "TREES", 5)


@pytest.fixture
def pairs(client, quick) -> str:
    """A set of one pair."""
    data = {"labels": ["noisy", "clean"], "task": "pair"}
    return client.post("/v1/sets", files=files(wav(0), wav(1)), data=data).json()["id"]


def command_line(monkeypatch, *arguments: object) -> bytes:
    """What `uniaudio` writes to stdout."""

    class Out(io.BytesIO):
        @property
        def buffer(self):
            return self

        def seekable(self) -> bool:  # a pipe
            return False

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out := Out())
        patch.setattr(sys, "argv", ["uniaudio", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
    assert not left.value.code
    return out.getvalue()


def test_enhanced_audio_equals_the_command_line(client, pairs, tmp_path, monkeypatch):
    zipfile.ZipFile(io.BytesIO(client.get(f"/v1/sets/{pairs}/zip").content)).extractall(tmp_path)
    rng = np.random.default_rng(0)
    given = encoded((0.1 * rng.standard_normal((int(3.3 * 22_050), 2))).astype(np.float32), rate=22_050)
    (tmp_path / "x.wav").write_bytes(given)
    flags = ("enhance", tmp_path / "x.wav", "--demos", tmp_path / pairs, "-q", "-o")
    made = client.post("/v1/enhance", files=files(given, field="file"), data={"set": pairs})
    assert (made.status_code, made.headers["content-type"]) == (200, "audio/wav")
    assert made.content[44:] == command_line(monkeypatch, *flags, "-")[44:]
    assert soundfile.info(io.BytesIO(made.content)).frames == int(3.3 * 22_050)
    made = client.post("/v1/enhance", files=files(given, field="file"), data={"set": pairs, "format": "flac"})
    assert (made.status_code, made.headers["content-type"]) == (200, "audio/flac")
    command_line(monkeypatch, *flags, tmp_path / "y.flac")
    one, other = (soundfile.read(each, dtype="int16")[0] for each in (io.BytesIO(made.content), tmp_path / "y.flac"))
    np.testing.assert_array_equal(one, other)
    assert soundfile.info(io.BytesIO(made.content)).frames == int(3.3 * 22_050)


@pytest.mark.parametrize(
    ("content", "data", "status", "words"),
    [
        (not_numbers(), {}, 422, "0.wav: holds samples that are NaN"),
        (encoded(np.zeros(RATE, np.float32), rate=100_001), {"format": "flac"}, 422, "cannot be written as flac"),
        (encoded(np.zeros(21 * RATE), "FLAC"), {}, 413, "is longer than 20 s"),
        (wav(), {"format": "mp3"}, 422, "format: "),
        (wav(), {"set": "example-sounds"}, 422, "no set of noisy and clean pairs"),
    ],
)
def test_enhancement_that_is_refused(client, pairs, content, data, status, words):
    answer = client.post("/v1/enhance", files=files(content, field="file"), data={"set": pairs, **data})
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


class Blocks:
    """Counts the blocks that are cleaned; from the third on each waits for a client to have read something."""

    def __init__(self, monkeypatch) -> None:
        self.count, self.read = 0, threading.Event()
        push = enhance.EnhancementStream.push

        def counted(stream, block):
            self.count += 1
            if self.count > 2:
                assert self.read.wait(20)
            time.sleep(0.02)
            return push(stream, block)

        monkeypatch.setattr(enhance.EnhancementStream, "push", counted)


@pytest.fixture
def streaming(kit, tmp_path, monkeypatch, quick):
    """(port, set of a pair, blocks, the folder of uploads) of a server that sends every block by itself."""
    (uploads := tmp_path / "uploads").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(uploads))
    monkeypatch.setattr(worker, "SLICE", 0.0)
    with listening(kit, tmp_path / "state", replace(SMALL, receive=1.0)) as port:
        data = {"labels": ["noisy", "clean"], "task": "pair"}
        made = httpx2.post(f"http://127.0.0.1:{port}/v1/sets", files=files(wav(0), wav(1)), data=data, timeout=60)
        yield port, made.json()["id"], Blocks(monkeypatch), uploads


def kept(uploads) -> list:
    return [path for path in uploads.rglob("*") if path.is_file()]


def until(condition) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


@contextmanager
def asked(port: int, set_id: str, content: bytes):
    sent, form = files(content, field="file"), {"set": set_id}
    with httpx2.stream("POST", f"http://127.0.0.1:{port}/v1/enhance", files=sent, data=form, timeout=30) as answer:
        yield answer


def test_audio_is_sent_while_it_is_made(streaming):
    port, set_id, blocks, uploads = streaming
    with asked(port, set_id, encoded(np.zeros(10 * RATE, np.float32))) as answer:
        pieces = answer.iter_bytes()
        made = next(pieces)
        assert blocks.count <= 3
        blocks.read.set()
        made += b"".join(pieces)
    assert len(made) == 44 + 2 * 10 * RATE
    until(lambda: not kept(uploads))


def test_a_client_that_goes_ends_the_work(streaming):
    port, set_id, blocks, uploads = streaming
    with asked(port, set_id, encoded(np.zeros(18 * RATE, np.float32))) as answer:
        next(answer.iter_bytes())
        blocks.read.set()
    until(lambda: not kept(uploads))
    assert blocks.count < 12
    until(lambda: httpx2.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok", "waiting": 0})


def test_a_client_that_does_not_read_ends_the_work(streaming):
    port, set_id, blocks, uploads = streaming
    blocks.read.set()
    content = encoded(np.zeros((19 * 96_000, 2), np.int16), "FLAC", 96_000)
    request = httpx2.Request(
        "POST", "http://127.0.0.1/v1/enhance", files=files(content, field="file"), data={"set": set_id}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"POST /v1/enhance HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        until(lambda: blocks.count)
        until(lambda: not kept(uploads))
    assert blocks.count < 19


def test_a_failure_on_the_way_leaves_the_answer_without_an_end(streaming, monkeypatch):
    port, set_id, blocks, uploads = streaming

    def fails(stream):
        raise ValueError("bad")

    blocks.read.set()
    monkeypatch.setattr(enhance.EnhancementStream, "finish", fails)
    with pytest.raises(httpx2.RemoteProtocolError), asked(port, set_id, wav(0, 4 * RATE)) as answer:
        answer.read()
    until(lambda: not kept(uploads))
