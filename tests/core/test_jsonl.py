import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.jsonl import JsonlLog, json_line, settings_hash

SETTINGS = {"shots": 1, "labels": ["rain", "siren"]}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_below_a_header(tmp_path):
    path = tmp_path / "new" / "r.jsonl"
    with JsonlLog(path, SETTINGS) as log:
        log.write({"file": "a.wav"})
        assert lines(path) == [{"settings_sha256": settings_hash(SETTINGS), "settings": SETTINGS}, {"file": "a.wav"}]
    with JsonlLog(path, dict(reversed(SETTINGS.items())), resume=True) as log:
        assert log.rows == [{"file": "a.wav"}]
        log.write({"file": "b.wav"})
    assert [row["file"] for row in lines(path)[1:]] == ["a.wav", "b.wav"]


def test_without_settings_there_is_no_header(tmp_path):
    with JsonlLog(tmp_path / "r.jsonl") as log:
        log.write({"a": 1})
    assert lines(tmp_path / "r.jsonl") == [{"a": 1}]
    with JsonlLog(tmp_path / "r.jsonl", resume=True) as log:
        assert log.rows == [{"a": 1}]


def test_what_exists_is_not_overwritten_unless_forced(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        JsonlLog(path, SETTINGS)
    assert path.read_text() == "mine"
    JsonlLog(path, SETTINGS, force=True).close()
    assert len(lines(path)) == 1


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    JsonlLog(path, SETTINGS).close()
    before = path.read_bytes()
    with pytest.raises(
        UsageError, match=r"r\.jsonl: was made with other settings \(seed null, now 2; shots 1, now 5\)"
    ):
        JsonlLog(path, {**SETTINGS, "shots": 5, "seed": 2}, resume=True)
    assert path.read_bytes() == before
    path.write_text('{"file": "a"}\n')
    with pytest.raises(UsageError, match="does not say what settings"):
        JsonlLog(path, SETTINGS, resume=True)


@pytest.mark.parametrize("content", ["", '{"settings_sh', '{"settings_sha256": "'])
def test_a_log_that_was_stopped_at_its_first_line_starts_anew(tmp_path, content):
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    with JsonlLog(path, SETTINGS, resume=True) as log:
        log.write({"a": 1})
    assert lines(path)[0]["settings"] == SETTINGS
    assert len(lines(path)) == 2


def test_half_a_line_is_cut_off(tmp_path):
    path = tmp_path / "r.jsonl"
    with JsonlLog(path, SETTINGS) as log:
        log.write({"a": 1})
        log.write({"a": 2})
    whole = path.read_bytes()
    for cut in range(len(whole) - 8, len(whole)):
        path.write_bytes(whole[:cut])
        with JsonlLog(path, SETTINGS, resume=True) as log:
            assert log.rows == [{"a": 1}]
            log.write({"a": 2})
        assert path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == ["r.jsonl"]


def test_rows_to_be_tried_again_are_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    with JsonlLog(path, SETTINGS) as log:
        for row in ({"file": "a", "error": "no"}, {"file": "b"}):
            log.write(row)
    with JsonlLog(path, SETTINGS, resume=True, retry=lambda row: "error" in row) as log:
        log.write({"file": "a"})
    assert lines(path)[1:] == [{"file": "b"}, {"file": "a"}]


@pytest.mark.parametrize("content", ["not json\n", "[1]\n", '{"a": 1}\nx\n{"a": 2}\n'])
def test_what_is_no_log_is_refused(tmp_path, content):
    (tmp_path / "r.jsonl").write_text(content)
    with pytest.raises(UsageError, match=r"r\.jsonl:\d: is no JSON object"):
        JsonlLog(tmp_path / "r.jsonl", resume=True)
    assert (tmp_path / "r.jsonl").read_text() == content


def test_numbers_that_json_cannot_hold_are_null(tmp_path):
    row = {"p": math.nan, "scores": {"a": [math.inf, 1.0]}, "of": (1, -math.inf)}
    assert json.loads(json_line(row)) == {"p": None, "scores": {"a": [None, 1.0]}, "of": [1, None]}
    with JsonlLog(tmp_path / "r.jsonl", {"x": math.nan}) as log:
        log.write(row)
    assert "NaN" not in (tmp_path / "r.jsonl").read_text()


def test_names_that_are_not_utf8():
    assert json_line({"file": os.fsdecode(b"caf\xe9")}) == r'{"file": "caf\udce9"}'


@pytest.mark.parametrize("resume", [True, False])
def test_two_writers_of_one_file(tmp_path, resume):
    path = tmp_path / "r.jsonl"
    with JsonlLog(path, SETTINGS) as log:
        log.write({"a": 1})
        with pytest.raises(UniAudioError, match=r"r\.jsonl: another process is writing it"):
            JsonlLog(path, SETTINGS, resume=resume, force=True)
    with JsonlLog(path, SETTINGS, resume=True) as log:
        assert log.rows == [{"a": 1}]


def test_the_lock_outlives_a_rewrite(tmp_path):
    path = tmp_path / "r.jsonl"
    with JsonlLog(path, SETTINGS) as log:
        log.write({"error": "no"})
    with (
        JsonlLog(path, SETTINGS, resume=True, retry=lambda row: "error" in row),
        pytest.raises(UniAudioError, match="another process"),
    ):
        JsonlLog(path, SETTINGS, resume=True)


def test_a_value_is_made_once(tmp_path):
    made = []
    for _ in range(2):
        with JsonlLog(tmp_path / "r.jsonl", SETTINGS, resume=True) as log:
            assert log.once("one", lambda: made.append(1) or {"x": 1}) == {"x": 1}
            assert log.once("one", lambda: made.append(1)) == {"x": 1}
    assert made == [1]
    log = JsonlLog(None, SETTINGS)
    assert log.once("one", lambda: 5) == log.once("one", lambda: 6) == 5


@pytest.mark.parametrize("name", ["folder", "file/r.jsonl"])
def test_places_that_cannot_be_written_are_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UniAudioError, match="cannot be written"):
        JsonlLog(tmp_path / name, SETTINGS, force=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    with pytest.raises(UniAudioError, match=r"/dev/full: cannot be written \(No space"):
        JsonlLog(Path("/dev/full"), SETTINGS, force=True)


WRITER = """
import sys
from pathlib import Path
from uniaudio_cli.core.jsonl import JsonlLog
with JsonlLog(Path(sys.argv[1]), {"a": 1}, resume=True, retry=lambda row: row["n"] % 7 == 3) as log:
    done = {row["n"] for row in log.rows}
    for n in range(100_000):
        if n not in done:
            log.write({"n": n})
            if len(log.rows) % 100 == 1:
                print("more", flush=True)
"""


def test_a_writer_that_is_killed_loses_and_doubles_nothing(tmp_path):
    path = tmp_path / "r.jsonl"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with JsonlLog(path, {"a": 1}, resume=True) as log:
        numbers = [row["n"] for row in log.rows]
    assert len(numbers) == len(set(numbers)) > 100


def test_rows_that_are_not_kept_are_written(tmp_path):
    with JsonlLog(tmp_path / "x.jsonl", {}, keep=False) as log:
        log.write({"n": 1})
        assert log.rows == []
    with JsonlLog(tmp_path / "x.jsonl", {}, resume=True, keep=False) as log:
        assert log.rows == [{"n": 1}]
