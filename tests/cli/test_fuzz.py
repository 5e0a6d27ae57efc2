"""Generated bad inputs through the command line: one line each, the right exit code, nothing lost, no traceback."""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.world import RATE, Done, World, clip_samples, write

pytestmark = pytest.mark.slow

SEED = 20_261_128
HEADERS, TRUNCATIONS, RUBBISH, TABLES, TASKS, TREES = 70, 40, 15, 40, 45, 30
FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III", ".aiff": "PCM_16"}
INSERTED = ('"', ",", ";", "\t", "\n", "\0", ":", "é", "[", "{", "&a", "010")
VALUES = ("1e-9", "1e9", "-1", ".nan", ".inf", "010", "1:30", "null", "[]", "{}", "''", "yes", "2026-11-28", "!!x 1")
NAMES = ("a", "b", "train", "test", "A", "a ", "ä", "a\u0308", "x\ny", " ", "__MACOSX", ".h", "b.wav")
FAST = ("--readout", "similarity", "--levels", "0")


def audio_bytes(suffix: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, np.resize(clip_samples(), RATE), RATE, FORMATS[suffix], format=suffix[1:])
    return data.getvalue()


@pytest.fixture
def run(world: World, uniaudio) -> Callable[..., Done]:
    return lambda *more: uniaudio("classify", *world.models, *FAST, *more)


def holds(done: Done, codes: tuple[int, ...]) -> None:
    """The exit code is one of these; what failed is one line, and a wrong command prints nothing else."""
    assert "Traceback" not in done.err
    assert done.code in codes, (done.code, done.err)
    failed = [row for row in done.rows if "error" in row]
    if done.code == 2:
        assert (len(done.complaints), done.out) == (1, ""), done.err
    elif done.rows:
        assert len(done.complaints) == len(failed), done.err
    else:
        assert len(done.complaints) == (done.code != 0), done.err


def spoil_header(data: bytes, draw: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        spoilt[draw.randrange(min(64, len(spoilt)))] = draw.choice((0, 255, draw.randrange(256)))
    return bytes(spoilt)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def rubbish(data: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 3, 100, 5_000)))


@pytest.mark.parametrize(("spoil", "count"), [(spoil_header, HEADERS), (cut, TRUNCATIONS), (rubbish, RUBBISH)])
def test_spoilt_audio(run, world, spoil, count):
    draw = random.Random(f"{SEED} {spoil.__name__}")
    good = write(Path("good.wav"))
    for number in range(count):
        suffix = draw.choice(list(FORMATS))
        bad = Path(f"{number}{suffix}")
        bad.write_bytes(spoil(audio_bytes(suffix), draw))
        done = run("--task", world.listen, "--demos", world.labels, good, bad)
        holds(done, (0, 3))
        assert [row["file"] for row in done.rows] == [str(good), str(bad)]
        assert (done.code == 3) == ("error" in done.rows[1])
        assert "label" in done.rows[0]


def spoil_text(text: str, draw: random.Random) -> bytes:
    """One to three edits: a character lost, doubled or replaced, a line lost, doubled or moved, bytes put in."""
    data = text
    for _ in range(draw.randint(1, 3)):
        at, lines = draw.randrange(len(data)), data.splitlines(keepends=True)
        line = draw.randrange(len(lines))
        kind = draw.randrange(6)
        if kind == 0:
            data = data[:at] + data[at + 1 :]
        elif kind == 1:
            data = (
                data[:at] + draw.choice(['"', ",", ";", "\t", "\n", "\0", ":", "é", "[", "{", "&a", "010"]) + data[at:]
            )
        elif kind == 2:
            data = "".join(lines[:line] + lines[line + 1 :]) or "\n"
        elif kind == 3:
            data = "".join([*lines, lines[line]])
        elif kind == 4:
            draw.shuffle(lines)
            data = "".join(lines)
        else:
            data = data[:at] + "\udcff" + data[at:]
    return data.encode("utf-8", "surrogateescape")


def test_spoilt_tables(run, world):
    draw, clip = random.Random(f"{SEED} tables"), write(Path("query.wav"), 50)
    rows = ["file_name,label,group\n"]
    for number, label in enumerate(("up", "down", "up", "down")):
        write(Path("demos", f"{number}.wav"), number)
        rows.append(f'{number}.wav,"{label}",{number // 2}\n')
    for _ in range(TABLES):
        Path("demos", "metadata.csv").write_bytes(spoil_text("".join(rows), draw))
        done = run("--task", world.listen, "--demos", "demos", clip)
        holds(done, (0, 2))
        assert done.code == 2 or len(done.labelled) == 1


def test_spoilt_tasks(uniaudio, world):
    draw, clip = random.Random(f"{SEED} tasks"), write(Path("query.wav"), 50)
    text = world.listen.read_text().replace("likelihood", "similarity") + "levels: [0]\nabstain_below: 0.1\n"
    for number in range(TASKS):
        lines = text.splitlines(keepends=True)
        if number % 2:
            at = draw.randrange(len(lines))
            lines[at] = f"{lines[at].split(':')[0]}: {draw.choice(VALUES)}\n"
            Path("task.yaml").write_text("".join(lines))
        else:
            Path("task.yaml").write_bytes(spoil_text(text, draw))
        done = uniaudio("classify", *world.models, "--task", "task.yaml", "--demos", world.labels, clip)
        holds(done, (0, 1, 2))


def plant(root: Path, draw: random.Random) -> None:
    """A tree of clips, empty folders, litter, links in circles and to nothing, odd names and other files."""
    folders = [root]
    root.mkdir()
    for number in range(draw.randint(1, 12)):
        parent = draw.choice(folders)
        kind = draw.randrange(9)
        name = draw.choice(
            ["a", "b", "train", "test", "A", "a ", "ä", "a\u0308", "x\ny", " ", "__MACOSX", ".h", "b.wav"]
        )
        path = parent / f"{name}{number if draw.random() < 0.5 else ''}"
        if os.path.lexists(path):
            continue
        if kind < 4:
            path.mkdir()
            folders.append(path)
            for shot in range(draw.randint(0, 2)):
                write(path / f"{shot}.wav", draw.randrange(5))
        elif kind == 4:
            path.symlink_to(draw.choice([root, root / "nothing", path]))
        elif kind == 5:
            write(path.with_suffix(".wav"), number)
        elif kind == 6:
            path.with_suffix(".txt").write_text("nothing.wav\n")
        elif kind == 7:
            os.mkfifo(path.with_suffix(".wav")) if not path.with_suffix(".wav").exists() else None
        else:
            Path(os.fsdecode(os.fsencode(parent) + b"/\xff.wav")).write_bytes(b"RIFF")


def test_odd_trees(run, world):
    draw = random.Random(f"{SEED} trees")
    clip = write(Path("query.wav"), 50)
    for number in range(TREES):
        root = Path(f"tree{number}")
        plant(root, draw)
        as_input = run("--task", world.listen, "--demos", world.labels, root)
        holds(as_input, (0, 1, 2, 3))
        holds(run("--task", world.listen, "--demos", root, clip), (0, 1, 2))
        shutil.rmtree(root)
