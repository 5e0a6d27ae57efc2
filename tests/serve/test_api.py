"""The API: good and bad input, sets, the guard, and problems that name no path."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.kits import CLIP, RATE
from tests.serve.conftest import SMALL, encoded, files, make_client, wav
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference import gains
from uniaudio_cli.serve.problems import public_message
from uniaudio_cli.serve.settings import Settings


def is_problem(answer, status: int, *words: str) -> None:
    """A problem of this status that says these words, and neither a path nor a traceback."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == status
    for word in words:
        assert word in body["detail"]
    assert not any(word in answer.text for word in ("/tmp", "/home", "Traceback", ".py"))


# ---- what works


def test_classify_equals_the_python_api(client, kit, set_id, tmp_path):
    answer = client.post("/v1/classify", files=files(wav(7), wav(0)), data={"set": set_id})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["results"]
    assert (first["file"], second["file"], second["label"]) == ("0.wav", "1.wav", "dog")
    box = zipfile.ZipFile(io.BytesIO(client.get(f"/v1/sets/{set_id}/zip").content))
    box.extractall(tmp_path)
    own = kit.classifier(tmp_path / set_id, "spoken-digit", shots=2)
    for result, content in zip((first, second), (wav(7), wav(0)), strict=True):
        assert result["scores"] == pytest.approx(dict(own(content).scores), abs=1e-6)


def test_a_set_is_named_by_its_content(client, set_id):
    labels = {"labels": ["cat", "cat", "dog", "dog"], "task": "spoken-digit"}
    again = client.post("/v1/sets", files=files(wav(2), wav(3), wav(0), wav(1), names="other{}.wav"), data=labels)
    assert (again.status_code, again.json()["id"]) == (200, set_id)
    more = client.post("/v1/sets", files=files(wav(5)), data={**labels, "labels": ["bird"], "extends": set_id})
    assert more.json()["labels"] == {"bird": 1, "cat": 2, "dog": 2}
    listed = [each["id"] for each in client.get("/v1/sets").json()]
    assert {set_id, more.json()["id"], "example-sounds"} <= set(listed)
    assert client.delete(f"/v1/sets/{more.json()['id']}").status_code == 204
    is_problem(client.get(f"/v1/sets/{more.json()['id']}"), 404)
    assert client.get(f"/v1/sets/{set_id}").json()["labels"] == {"cat": 2, "dog": 2}


def test_sets_outlive_the_server(kit, tmp_path):
    with make_client(kit, tmp_path) as client:
        data = {"labels": ["a", "b"], "task": "spoken-digit"}
        made = client.post("/v1/sets", files=files(wav(0), wav(1)), data=data).json()
    (tmp_path / "sets" / ".new-left").mkdir()  # of a server that was killed
    with make_client(kit, tmp_path) as client:
        assert client.get(f"/v1/sets/{made['id']}").json() == made
        assert client.post("/v1/classify", files=files(wav(0)), data={"set": made["id"]}).status_code == 200
    assert [path.name for path in (tmp_path / "sets").iterdir()] == [made["id"]]


def test_a_clip_that_fails_is_named_and_the_rest_are_labelled(client, set_id):
    silent = encoded(np.zeros(CLIP, dtype=np.float32))
    answer = client.post("/v1/classify", files=files(silent, wav(1)), data={"set": set_id})
    first, second = answer.json()["results"]
    assert first["error"] == "0.wav: is digital silence"
    assert second["label"] == "dog"


def test_labels_by_their_names(client):
    given = files(wav(1), wav(2), encoded(np.zeros(CLIP, dtype=np.float32)))
    answer = client.post("/v1/classify", files=given, data={"labels": ["rain", "siren"], "words": "true"})
    assert answer.status_code == 200, answer.text
    found = answer.json()["results"]
    assert [sorted(each["scores"]) for each in found] == [["rain", "siren"]] * 3
    assert [bool(each["words"]) for each in found] == [True, True, False]


def test_the_llm_is_given_nothing_where_names_do_not_count(client, set_id):
    answer = client.post("/v1/classify", files=files(wav(1)), data={"set": set_id, "words": "true"})
    assert answer.json()["results"][0]["words"] == ""


def test_a_folder_below_the_root(client):
    answer = client.post("/v1/sets", data={"folder": "good", "task": "spoken-digit"})
    assert answer.json()["labels"] == {"cat": 1, "dog": 1}


def test_speech_enhancement_and_codes(client, monkeypatch):
    monkeypatch.setattr(gains, "STEPS", 2)
    monkeypatch.setattr(gains, "TREES", 5)
    words = client.post("/v1/sets", files=files(wav(0), wav(1)), data={"labels": ["one", "two"], "task": "text"})
    spoken = client.post("/v1/speak", json={"text": "one", "set": words.json()["id"]})
    assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/wav")
    assert spoken.headers["uniaudio-answer"] == "one"
    assert soundfile.read(io.BytesIO(spoken.content))[1] == RATE
    pairs = files(wav(0), wav(1))
    made = client.post("/v1/sets", files=pairs, data={"labels": ["noisy", "clean"], "task": "pair"})
    assert made.json()["labels"] == {"noisy": 1, "clean": 1}
    data = {"set": made.json()["id"]}
    cleaned = client.post("/v1/enhance", files=files(wav(3), field="file"), data=data)
    assert len(soundfile.read(io.BytesIO(cleaned.content))[0]) == CLIP
    record = client.post("/v1/codec/encode", files=files(wav(3), field="file")).json()
    assert record["samples"] == CLIP
    decoded = client.post("/v1/codec/decode", json=record)
    assert len(soundfile.read(io.BytesIO(decoded.content))[0]) == CLIP


def test_information_and_the_page(client):
    assert client.get("/healthz").json() == {"status": "ok", "waiting": 0}
    assert {"sound-event", "spoken-answer"} <= {each["name"] for each in client.get("/v1/tasks").json()}
    models = client.get("/v1/models")
    assert {"name", "kind", "about", "licence", "here"} == models.json()[0].keys()
    assert "/home" not in models.text
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for word in ("<script>", "<style", " style=", " onclick=", "http://", "https://"):
        assert word not in page.text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/sets", "/v1/classify", "/v1/speak", "/v1/enhance", "/v1/codec/encode"} <= paths.keys()


# ---- what is refused


def flac_of_silence(seconds: int) -> bytes:
    return encoded(np.zeros(seconds * RATE, dtype=np.int16), "FLAC")


def wav_header(claimed: int, channels: int = 1, rate: int = RATE) -> bytes:
    """A WAV that claims `claimed` bytes of samples and holds 2,000."""
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, min(2 * rate * channels, 2**32 - 1), 2 * channels, 16)
    return (
        b"RIFF" + struct.pack("<I", claimed) + b"WAVEfmt " + form + b"data" + struct.pack("<I", claimed) + bytes(2000)
    )


BAD_AUDIO = {
    "text": (b"no audio at all", 422, "cannot be read as audio"),
    "empty": (b"", 422, ""),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", 422, "cannot be read as audio"),
    "html": (b"<html><script>alert(1)</script>", 422, "cannot be read as audio"),
    "flac of silence": (flac_of_silence(3600), 413, "is longer than 5 s"),
    "long wav": (wav(0, 6 * RATE), 413, "is longer than 5 s"),
    "channels": (encoded(np.ones((400, 6), dtype=np.float32) / 9), 413, "has 6 channels"),
    "rate of 2 GHz": (wav_header(2000, rate=2_000_000_000), 422, "says its rate is"),
    "rate of 1 Hz": (wav_header(2000, rate=1), 422, "rate"),
    "no samples": (encoded(np.zeros(0, dtype=np.float32)), 422, "holds no samples"),
    "a thousand files in one": (wav(0, 100) * 40, 422, "holds more than 16 recordings"),
}


@pytest.mark.parametrize("name", BAD_AUDIO)
@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_bad_audio_is_refused(client, set_id, name, suffix):
    content, status, words = BAD_AUDIO[name]
    answer = client.post("/v1/classify", files=files(content, names="x{}." + suffix), data={"set": set_id})
    is_problem(answer, status, f"x0.{suffix}", words)


def test_a_header_that_claims_4_gb_is_read_as_far_as_there_are_samples(client, set_id):
    content = wav_header(0xFFFFFFF0)[:44] + wav(1)[44:]
    answer = client.post("/v1/classify", files=files(content), data={"set": set_id})
    assert answer.status_code in (200, 413, 422)  # as libsndfile's version takes it


SETS = [
    ({"labels": ["dog"]}, 2, 422, "there are 1 for 2 files"),
    ({"labels": ["dog", "dog"]}, 2, 422, "a choice takes two or more"),
    ({"labels": ["dog", " "]}, 2, 422, "a label is"),
    ({"labels": ["dog", "a\0b"]}, 2, 422, "holds a NUL"),
    ({"labels": ["dog", "x" * 300]}, 2, 422, "a label is"),
    ({"labels": ["dog", "cat"], "task": "sound-evnt"}, 2, 422, "task: one of"),
    ({"labels": ["dog", "cat"], "task": "/etc/passwd.yaml"}, 2, 422, "task: one of"),
    ({"labels": ["dog", "cat"], "task": "spoken-answer"}, 2, 422, "task: one of"),
    ({"labels": ["dog", "cat"], "extends": "../../x"}, 2, 404, "no such set"),
    ({"labels": ["dog", "cat"], "extends": "example-digits"}, 2, 422, "another kind"),
    ({"labels": ["a", "clean"], "task": "pair"}, 2, 422, "noisy and clean"),
    ({"labels": ["noisy", "noisy"], "task": "pair"}, 2, 422, "pairs take as many"),
    ({"labels": ["x"] * 9}, 9, 413, "8 files"),
    ({}, 0, 422, "give files with labels, or a folder"),
    ({"folder": "../secret"}, 0, 403, "not below --root"),
    ({"folder": "/etc"}, 0, 403, "not below --root"),
    ({"folder": "linked"}, 0, 403, "not below --root"),
    ({"folder": "clip"}, 0, 403, "leads outside"),
    ({"folder": "metadata"}, 0, 403, "leads outside"),
    ({"folder": "row"}, 0, 403, "leads outside"),
    ({"folder": "gone"}, 0, 422, "no such folder"),
    ({"folder": "a\0b"}, 0, 403, "not below --root"),
    ({"folder": "good", "extends": "example-sounds"}, 0, 413, "12 clips"),
]


@pytest.mark.parametrize(("data", "count", "status", "words"), SETS, ids=lambda value: str(value)[:40])
def test_sets_that_are_refused(client, data, count, status, words):
    before = client.get("/v1/sets").json()
    answer = client.post(
        "/v1/sets", files=files(*map(wav, range(count))) or None, data={"task": "spoken-digit", **data}
    )
    is_problem(answer, status, words)
    assert client.get("/v1/sets").json() == before


def test_a_silent_demonstration_makes_no_set(client):
    before = client.get("/v1/sets").json()
    silent = encoded(np.zeros(CLIP, dtype=np.float32))
    data = {"labels": ["dog", "cat"], "task": "spoken-digit"}
    is_problem(client.post("/v1/sets", files=files(wav(0), silent), data=data), 422, "digital silence")
    assert client.get("/v1/sets").json() == before


REQUESTS = [
    ("post", "/v1/classify", {"data": {"set": "x"}}, 422, "files"),
    ("post", "/v1/classify", {"files": files(wav()), "data": {}}, 422, "give a set, or labels"),
    ("post", "/v1/classify", {"files": files(wav()), "data": {"set": "gone"}}, 404, "no such set"),
    ("post", "/v1/classify", {"files": files(wav()), "data": {"set": "../../etc"}}, 404, "no such set"),
    ("post", "/v1/classify", {"files": files(wav()), "data": {"set": "example-digits"}}, 422, "no set of labelled"),
    ("post", "/v1/classify", {"files": files(wav()), "data": {"labels": ["one"]}}, 422, "2 to"),
    ("post", "/v1/classify", {"files": files(*[wav()] * 9), "data": {"set": "example-sounds"}}, 413, "8 files"),
    ("post", "/v1/speak", {"json": {}}, 422, "text: field required"),
    ("post", "/v1/speak", {"json": {"text": " "}}, 422, "printable"),
    ("post", "/v1/speak", {"json": {"text": "x" * 500}}, 422, "printable"),
    ("post", "/v1/speak", {"json": {"text": "x", "lm": "/etc"}}, 422, "lm"),
    ("post", "/v1/speak", {"json": {"text": "x", "set": "example-sounds"}}, 422, "no set of spoken texts"),
    ("post", "/v1/speak", {"content": b"{", "headers": {"content-type": "application/json"}}, 422, "JSON"),
    ("post", "/v1/enhance", {"files": files(b"x", field="file")}, 422, "cannot be read as audio"),
    ("post", "/v1/codec/decode", {"json": {"samples": 1, "gain": None, "codes": [[10**6]]}}, 422, "not codes of this"),
    ("post", "/v1/codec/decode", {"json": {"samples": 1, "gain": None, "codes": [[]]}}, 422, "not codes of this"),
    ("post", "/v1/codec/decode", {"json": {"samples": 1, "gain": None, "codes": [["a"]]}}, 422, "codes"),
    ("post", "/v1/codec/decode", {"json": {"samples": 1, "gain": None, "codes": [[2**70]]}}, 422, "codes"),
    ("get", "/v1/sets/..%2f..%2fetc", {}, 404, ""),
    ("get", "/static/..%2f..%2fcli%2fmain.py", {}, 404, ""),
    ("get", "/static/../service.py", {}, 404, ""),
    ("delete", "/v1/sets/example-sounds", {}, 403, "examples"),
    ("put", "/v1/classify", {}, 405, ""),
    ("get", "/docs", {}, 404, ""),
]


@pytest.mark.parametrize(("method", "path", "more", "status", "words"), REQUESTS, ids=lambda value: str(value)[:40])
def test_requests_that_are_refused(client, method, path, more, status, words):
    is_problem(client.request(method, path, **more), status, words)


MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--x\r\nno header", MULTIPART),
        (b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n', MULTIPART),
        (b"\0" * 100, MULTIPART),
        (b"--x--", "multipart/form-data"),
        (b"set=1", "application/x-www-form-urlencoded"),
        (b'--x\r\nContent-Disposition: form-data; name="set"\r\n\r\n' + b"a" * (1 << 20) + b"\r\n--x--", MULTIPART),
    ],
)
def test_malformed_forms(client, body, kind):
    answer = client.post("/v1/classify", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 413, 422)
    is_problem(answer, answer.status_code)


def test_bodies_are_bounded_by_their_header_and_by_their_bytes(client):
    is_problem(client.post("/v1/classify", content=b"x" * (SMALL.body + 1)), 413, "1 MB")
    pieces = (b"x" * (1 << 16) for _ in range(40))
    headers = {"content-type": MULTIPART}
    is_problem(client.post("/v1/classify", content=pieces, headers=headers), 413, "1 MB")


# ---- the guard


def test_other_hosts_and_origins_are_refused(client):
    is_problem(client.get("/v1/tasks", headers={"host": "evil.example"}), 421)
    is_problem(client.get("/", headers={"host": "evil.example:8000"}), 421)
    assert client.get("/healthz", headers={"host": "localhost:1"}).status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9"):
        is_problem(client.post("/v1/speak", json={"text": "x"}, headers={"origin": origin}), 403, "origin")
    answer = client.get("/v1/tasks", headers={"origin": "http://127.0.0.1:8000"})
    assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)


def test_named_origins_may_call(kit, tmp_path):
    client = make_client(kit, tmp_path, cors=("https://a.example",), token="secret")
    headers = {"origin": "https://a.example", "authorization": "Bearer secret"}
    answer = client.get("/v1/tasks", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    before = {"origin": "https://a.example", "access-control-request-method": "POST"}
    assert client.options("/v1/classify", headers=before).status_code == 204
    is_problem(client.options("/v1/classify", headers={**before, "origin": "https://b.example"}), 403)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "bearer secret", "Basic secret", "secret", "Bearer s\xe9cret"]
)
def test_a_wrong_token(kit, tmp_path, header):
    client = make_client(kit, tmp_path, host="0.0.0.0", token="secret")
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    for path in ("/v1/tasks", "/v1/sets", "/openapi.json", "/v1/models"):
        answer = client.get(path, headers=headers)
        is_problem(answer, 401, "Bearer TOKEN")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/tasks", headers={"authorization": "Bearer secret"}).status_code == 200
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "--token"),
        ({"host": "192.168.1.2"}, "--token"),
        ({"token": "s\xe9cret"}, "--token"),
        ({"token": "two words"}, "--token"),
        ({"cors": ("*",)}, "--cors"),
        ({"root": "/no/such"}, "--root"),
    ],
)
def test_settings_that_are_refused(tmp_path, settings, words):
    given = {key: Path(value) if key == "root" else value for key, value in settings.items()}
    with pytest.raises(UsageError, match=words):
        Settings(tmp_path, **given)


def test_messages_name_no_path(tmp_path):
    path = tmp_path / "0.wav"
    assert public_message(f"{path}: no such file", {path: "a.wav"}) == "a.wav: no such file"
    assert public_message("/srv/models/x.bin: missing (see /etc/y/z)", {}) == "...: missing (see ...)"
    assert public_message("up or down, audio/wav", {}) == "up or down, audio/wav"


def test_nothing_is_left_of_uploads(client, set_id, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client.post("/v1/classify", files=files(wav(1), b"no audio"), data={"set": set_id})
    client.post("/v1/classify", files=files(wav(1)), data={"set": set_id})
    assert list(tmp_path.iterdir()) == []
