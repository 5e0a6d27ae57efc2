"""Ctrl-C, a full disk, a bug: what is written by then is whole."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.world import RATE, write
from uniaudio_cli.cli.main import app, write_failure
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.resynthesis import Resynthesizer
from uniaudio_cli.inference.speak import Speaker


def stopped(number: int, monkeypatch, kind: type, method: str) -> None:
    """A Ctrl-C in call `number` of a method."""
    original, calls = getattr(kind, method), []

    def interrupted(self, *query, **options):
        calls.append(query)
        if len(calls) == number:
            # The tests may run in the background of a shell, where Ctrl-C is ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)
        return original(self, *query, **options)

    monkeypatch.setattr(kind, method, interrupted)


def read_rows(path: str) -> list[dict]:
    return [row for line in Path(path).read_text().splitlines() if "file" in (row := json.loads(line))]


def test_ctrl_c_keeps_the_rows_so_far(world, classify, monkeypatch):
    stopped(2, monkeypatch, Classifier, "classify_clips")  # batches are of 1, 2, 4, ... clips
    done = classify(world.queries)
    assert (done.code, done.err) == (130, "interrupted\n")
    assert len(done.rows) == 1
    for output in ("x.jsonl", "x.csv", "x.json"):
        with monkeypatch.context() as patch:
            stopped(3, patch, Classifier, "classify_clips")
            done = classify(world.queries, "-o", output)
        assert (done.code, done.out, done.err) == (130, "", "interrupted\n")
    assert len(read_rows("x.jsonl")) == 3
    assert len(json.loads(Path("x.json").read_text())) == 3
    assert len(Path("x.csv").read_text().splitlines()) == 4


def test_a_stopped_run_is_continued(world, classify, monkeypatch, tmp_path):
    clips = sorted(world.queries.rglob("*.wav"))
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    whole = classify(*clips, "-o", "whole.jsonl")
    assert whole.code == 0
    with monkeypatch.context() as patch:
        stopped(3, patch, Classifier, "classify_clips")
        assert classify(bad, *clips, "-o", "x.jsonl").code == 130
    with Path("x.jsonl").open("ab") as file:
        file.write(b'{"file": "half a li')
    write(bad)  # mended meanwhile
    done = classify(bad, *clips, "-o", "x.jsonl", "--resume")
    assert done.code == 0
    assert done.err.startswith(f"2 of {len(clips) + 1} clips are done\n")
    first, second = (
        {row["file"]: row | {"seconds": 0} for row in read_rows(name)} for name in ("x.jsonl", "whole.jsonl")
    )
    assert len(read_rows("x.jsonl")) == len(clips) + 1
    assert first.pop(str(bad))["label"]
    for file, row in second.items():
        assert first[file]["label"] == row["label"]
        assert first[file]["scores"] == pytest.approx(row["scores"], abs=1e-4)
    before = Path("x.jsonl").read_bytes()
    done = classify(bad, *clips, "-o", "x.jsonl", "--resume", "--quiet")
    assert (done.code, done.err, Path("x.jsonl").read_bytes()) == (0, "", before)


def test_a_clip_is_labelled_once_by_whatever_path(world, classify):
    clip = write(Path("in/a.wav"))
    assert classify(clip, "-o", "x.jsonl").code == 0
    for path in (clip.absolute(), "in/../in/a.wav", "in"):
        assert classify(path, "-o", "x.jsonl", "--resume").err == "1 of 1 clips are done\n"
    assert len(read_rows("x.jsonl")) == 1


CHANGES = {
    "shots": ["--shots", 1],
    "the seed": ["--seed", 1],
    "labels": ["--labels", "up,down"],
    "a task key": ["--set", "abstain_below=0.5"],
    "the readout": ["--readout", "label"],
    "levels": ["--levels", "0,1"],
    "the LLM": ["--lm", "other-lm"],
    "a demonstration": ["--demos", "other"],
    "the names of labels": ["--demos", "swapped"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_settings_are_not_continued(world, classify, change):
    shutil.copytree(world.labels, "other")
    write(Path("other/up/0.wav"), 77)
    shutil.copytree(world.labels, "swapped")
    for old, new in (("up", "x"), ("upper", "up"), ("x", "upper")):
        Path("swapped", old).rename(Path("swapped", new))
    Path("other-lm").symlink_to(world.lm)
    query = world.queries / "a" / "0.wav"
    assert classify(query, "-o", "x.jsonl").code == 0
    before = Path("x.jsonl").read_bytes()
    classify(world.queries, *CHANGES[change], "-o", "x.jsonl", "--resume").is_error(2, "x.jsonl: ", "--force")
    assert Path("x.jsonl").read_bytes() == before
    assert classify(query, *CHANGES[change], "-o", "x.jsonl", "--force").code == 0
    assert len(read_rows("x.jsonl")) == 1


def test_one_process_at_a_time_writes_a_file(world, classify):
    query = world.queries / "a" / "0.wav"
    assert classify(query, "-o", "x.jsonl").code == 0
    with Path("x.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        classify(world.queries, "-o", "x.jsonl", "--resume").is_error(1, "x.jsonl: another process is writing it")
    assert len(read_rows("x.jsonl")) == 1


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", [], "--resume: continues the .jsonl file of --output; name one"),
        ("", ["-o", "x.csv"], "--resume: continues the .jsonl file of --output; name one"),
        ("hello\n{}\n", ["-o", "x.jsonl"], "x.jsonl"),
        ('{"file": "a", "scores": {"cat": 1.0}}\n', ["-o", "x.jsonl"], "x.jsonl"),
    ],
)
def test_what_cannot_be_continued(world, classify, content, flags, message):
    Path("x.jsonl").write_text(content)
    done = classify(world.queries, *flags, "--resume", "--quiet")
    done.is_error(2, message)
    assert Path("x.jsonl").read_text() == content


def test_ctrl_c_keeps_the_files_so_far(world, enhance, tts, monkeypatch):
    stopped(2, monkeypatch, Resynthesizer, "enhance")
    done = enhance(world.pairs / "noisy", "-o", "out", "--json")
    assert (done.code, done.err) == (130, "interrupted\n")
    assert len(done.out.splitlines()) == 1
    assert [path.name for path in Path("out").iterdir()] == ["0.wav"]
    stopped(1, monkeypatch, Speaker, "speak")
    assert tts("one", "-o", "one.wav").code == 130
    assert not Path("one.wav").exists()


def test_ctrl_c_while_a_file_is_written_leaves_none(world, enhance, monkeypatch):
    def interrupted(self, content):
        with self.open("wb") as file:
            file.write(content[:10])
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    assert enhance(world.pairs / "noisy", "-o", "out").code == 130
    assert list(Path("out").iterdir()) == []


WRITE_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@pytest.mark.parametrize("code", WRITE_FAILURES, ids=errno.errorcode.get)
def test_a_write_that_fails_is_one_line(world, enhance, uniaudio, monkeypatch, code):
    def full(self, *content, **_):
        raise OSError(code, os.strerror(code))

    clip = write(Path("clip.wav"))
    monkeypatch.setattr(Path, "write_bytes", full)
    enhance(clip, "-o", "out").is_error(1, "out/clip.wav: cannot be written", os.strerror(code))
    monkeypatch.setattr(Path, "write_text", full)
    done = uniaudio("codec", "encode", clip, "-o", "out", "--codec", world.codec)
    done.is_error(1, "out/clip.json: cannot be written", os.strerror(code))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json"])
def test_labels_on_a_full_disk_are_one_line(world, classify, suffix):
    full = Path(f"full{suffix}")
    full.symlink_to("/dev/full")
    clip = write(Path("clip.wav"), 99)
    classify(clip, "-o", full).is_error(2, f"{full}: already exists")
    classify(clip, "-o", full, "--force").is_error(1, f"{full}: cannot be written (No space left")


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (OSError(errno.EIO, "x", "a.pt"), f"a.pt: cannot be written ({os.strerror(errno.EIO)})"),
        (RuntimeError("I/O error: File too large (os error 27)"), os.strerror(errno.EFBIG)),
        (RuntimeError("PytorchStreamWriter failed: No space left on device"), os.strerror(errno.ENOSPC)),
        (BrokenPipeError(errno.EPIPE, "x"), os.strerror(errno.EPIPE)),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (ValueError("a bug"), None),
    ],
)
def test_write_failures_of_libraries_are_recognised(problem, reason):
    assert write_failure(problem) == reason


def test_a_file_size_limit_is_one_line(world, uniaudio):
    """In a process of its own, as the limit holds for all of it."""
    write(Path("clip.wav"), samples=RATE)
    command = f"{sys.executable} -m uniaudio_cli codec reconstruct clip.wav -o out --codec {world.codec}"
    done = subprocess.run(["bash", "-c", f"ulimit -f 8; exec {command}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: out/clip.wav: cannot be written ({os.strerror(errno.EFBIG)})\n"
    assert list(Path("out").iterdir()) == []


def test_a_bug_keeps_its_traceback(world, monkeypatch):
    def bug(self, wav):
        raise AssertionError("a bug")

    monkeypatch.setattr(Codec, "encode_soft", bug)
    arguments = ["classify", "--task", world.listen, "--demos", world.labels, *world.models, world.queries]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, AssertionError)
