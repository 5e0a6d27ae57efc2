"""Ctrl-C, a full disk, a bug: what is written by then is whole."""

import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.world import write
from uniaudio_cli.cli.main import app
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.inference.pipeline import Session


def stopped(number: int, monkeypatch, method: str = "__call__") -> None:
    """A Ctrl-C while query (or batch) `number` is answered."""
    answer, asked = getattr(Session, method), []

    def interrupted(self, *query, **options):
        asked.append(query)
        if len(asked) == number:
            signal.raise_signal(signal.SIGINT)
        return answer(self, *query, **options)

    monkeypatch.setattr(Session, method, interrupted)


def test_ctrl_c_keeps_the_lines_so_far(world, classify, monkeypatch):
    stopped(2, monkeypatch, "label_files")  # batches are of 1, 2, 4, ... clips
    done = classify(world.labels)
    assert (done.code, done.err) == (130, "interrupted\n")
    assert len(done.rows) == 1
    stopped(3, monkeypatch, "label_files")
    done = classify(world.labels, "--jsonl", "x.jsonl")
    assert (done.code, done.out, done.err) == (130, "", "interrupted\n")
    assert len([json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]) == 3


def test_what_was_stopped_is_gone_on_with(world, classify, monkeypatch, tmp_path):
    clips = sorted(world.labels.rglob("*.wav"))
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    whole = classify(*clips, "--jsonl", "whole.jsonl")
    assert whole.code == 0
    with monkeypatch.context() as patch:
        stopped(3, patch, "label_files")
        assert classify(bad, *clips, "--jsonl", "x.jsonl").code == 130
    with Path("x.jsonl").open("ab") as file:
        file.write(b'{"file": "half a li')
    write(bad)  # mended meanwhile
    done = classify(bad, *clips, "--jsonl", "x.jsonl", "--resume")
    assert (done.code, done.err) == (0, f"2 of {len(clips) + 1} clips are done\n")
    lines = [[json.loads(line) for line in Path(name).read_text().splitlines()] for name in ("x.jsonl", "whole.jsonl")]
    first, second = ({row["file"]: row | {"seconds": 0} for row in rows} for rows in lines)
    assert len(lines[0]) == len(clips) + 1
    assert first.pop(str(bad))["label"]
    for file, row in second.items():
        assert first[file]["label"] == row["label"]
        assert first[file]["scores"] == pytest.approx(row["scores"], abs=1e-4)
    before = Path("x.jsonl").read_bytes()
    done = classify(bad, *clips, "--jsonl", "x.jsonl", "--resume", "--quiet")
    assert (done.code, done.err, Path("x.jsonl").read_bytes()) == (0, "", before)


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", [], "--resume: goes on with the file of --jsonl; name one"),
        ("", ["--jsonl", "-"], "--resume: goes on with the file of --jsonl; name one"),
        ("hello\n{}\n", ["--jsonl", "x.jsonl"], "x.jsonl:1: is no row of this command"),
        ('{"file": "a", "scores": {"cat": 1.0}}\n', ["--jsonl", "x.jsonl"], "its rows choose among cat"),
    ],
)
def test_what_cannot_be_gone_on_with(world, classify, content, flags, message):
    Path("x.jsonl").write_text(content)
    done = classify(world.labels, *flags, "--resume", "--quiet")
    done.is_error(2, message)
    assert Path("x.jsonl").read_text() == content


def test_ctrl_c_keeps_the_files_so_far(world, enhance, tts, monkeypatch):
    stopped(2, monkeypatch)
    done = enhance(world.pairs / "noisy", "-o", "out", "--json")
    assert (done.code, done.err) == (130, "interrupted\n")
    assert len(done.out.splitlines()) == 1
    assert [path.name for path in Path("out").iterdir()] == ["0.wav"]
    stopped(1, monkeypatch)
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


def test_a_full_disk_is_one_line(world, enhance, classify, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    clip = write(Path("clip.wav"))
    monkeypatch.setattr(Path, "write_bytes", full)
    enhance(clip, "-o", "out").is_error(1, "out/clip.wav: cannot be written (No space left on device)")
    classify(clip, "--jsonl", "/dev/full").is_error(2, "/dev/full: already exists")
    classify(clip, "--jsonl", "/dev/full", "--force").is_error(1, "/dev/full: cannot be written (No space left")


def test_a_bug_keeps_its_traceback(world, monkeypatch):
    def bug(self, wav):
        raise AssertionError("a bug")

    monkeypatch.setattr(Codec, "listen", bug)
    arguments = ["classify", "--task", world.listen, "--demos", world.labels, *world.models, world.labels]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, AssertionError)
