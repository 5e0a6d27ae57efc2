"""Ctrl-C, a full disk, a bug: what is written by then is whole."""

import json
import signal
from pathlib import Path

from typer.testing import CliRunner

from tests.cli.world import write
from uniaudio_cli.cli.main import app
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.pipeline import Session


def stopped(number: int, monkeypatch) -> None:
    """A Ctrl-C while query `number` is answered."""
    answer, asked = Session.__call__, []

    def interrupted(self, *query, **options):
        asked.append(query)
        if len(asked) == number:
            signal.raise_signal(signal.SIGINT)
        return answer(self, *query, **options)

    monkeypatch.setattr(Session, "__call__", interrupted)


def test_ctrl_c_keeps_the_lines_so_far(world, classify, monkeypatch):
    stopped(3, monkeypatch)
    done = classify(world.labels)
    assert (done.code, done.err) == (130, "interrupted\n")
    assert len(done.rows) == 2
    stopped(4, monkeypatch)
    done = classify(world.labels, "--jsonl", "x.jsonl")
    assert (done.code, done.out, done.err) == (130, "", "interrupted\n")
    assert len([json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]) == 3


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

    monkeypatch.setattr(Codec, "encode", bug)
    arguments = ["classify", "--task", world.listen, "--demos", world.labels, *world.models, world.labels]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, AssertionError)
