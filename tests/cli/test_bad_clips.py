"""Clips that cannot be read, odd ones and odd names, alone and in batches: nothing else is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.world import CLIP, RATE, clip_samples, write, write_samples
from uniaudio_cli.audio.io import read_wav


def corrupt(path: Path) -> None:
    path.write_bytes(os.urandom(4_000))


def nothing(path: Path) -> None:
    path.touch()


def cut(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:44])


def no_samples(path: Path) -> None:
    write_samples(path, np.zeros(0))


def nan(path: Path) -> None:
    write_samples(path, np.full(CLIP, np.nan, np.float32), subtype="FLOAT")


def no_file(path: Path) -> None:
    pass


def pipe(path: Path) -> None:
    os.mkfifo(path)


def silent(path: Path) -> None:
    write_samples(path, np.zeros(CLIP))


def eight_bits(path: Path) -> None:
    write_samples(path, clip_samples(), subtype="PCM_U8")


def twenty_four_bits(path: Path) -> None:
    write_samples(path, clip_samples(), subtype="PCM_24")


def surround(path: Path) -> None:
    write_samples(path, np.stack([clip_samples()] * 6, axis=1))


def one_sample(path: Path) -> None:
    write_samples(path, np.full(1, 0.5))


def telephone(path: Path) -> None:
    write_samples(path, clip_samples(), rate=8_000)


def an_hour(path: Path) -> None:
    second = np.random.default_rng(0).uniform(-0.5, 0.5, 1_000)
    write_samples(path, np.tile(second, 3_600), rate=1_000, subtype="PCM_U8")


BAD = {
    corrupt: "cannot be read as audio",
    nothing: "cannot be read as audio",
    cut: "holds no samples",
    no_samples: "holds no samples",
    nan: "NaN",
    no_file: "no such file",
    pipe: "is a pipe or a device",
}
# Refused for labels, which need a sound; enhanced as they are.
EMPTY = {silent: "is digital silence", one_sample: "is shorter than 20 ms"}
ODD = (eight_bits, twenty_four_bits, surround, telephone)


def batch(folder: Path, *makers) -> list[Path]:
    """A file of each maker, in turn."""
    folder.mkdir()
    files = [folder / f"{maker.__name__}.wav" for maker in makers]
    for maker, file in zip(makers, files, strict=True):
        maker(file)
    return files


@pytest.mark.parametrize("maker", BAD, ids=lambda maker: maker.__name__)
def test_one_bad_clip_is_one_line(classify, tmp_path, maker):
    code = 2 if maker is no_file else 1
    classify(*batch(tmp_path / "clips", maker), "-o", "x.jsonl").is_error(code, f"{maker.__name__}.wav: ", BAD[maker])


def test_classify_goes_on_after_bad_clips(classify, tmp_path):
    bad, fine = {**BAD, **EMPTY}, [*ODD, an_hour]
    makers = [maker for pair in zip(bad, [*fine, *fine[: len(bad) - len(fine)]], strict=True) for maker in pair]
    makers = list(dict.fromkeys(makers))
    files = batch(tmp_path / "clips", *makers)
    done = classify(*files)
    assert done.code == 3
    assert f"note: {len(bad)} of {len(files)} clips failed\n" in done.err
    assert [row["file"] for row in done.rows] == list(map(str, files))
    labelled = [file for file, maker in zip(files, makers, strict=True) if maker not in bad]
    assert [row["file"] for row in done.rows if "label" in row] == list(map(str, labelled))
    failed = [
        (row, file, bad[maker]) for row, file, maker in zip(done.rows, files, makers, strict=True) if maker in bad
    ]
    for (row, file, why), line in zip(failed, done.complaints, strict=True):
        assert list(row) == ["file", "error"]
        assert why in row["error"]
        assert line.startswith(f"error: {file}: ")
        assert why in line


def test_enhance_goes_on_after_bad_clips(enhance, tmp_path):
    odd = [*EMPTY, *ODD]
    makers = [*BAD, *odd]
    files = batch(tmp_path / "clips", *makers)
    done = enhance(*files, "-o", tmp_path / "out", "--json")
    assert done.code == 3
    assert len(done.complaints) == len(BAD)
    assert [row["file"] for row in done.rows] == list(map(str, files))
    assert ["error" in row for row in done.rows] == [True] * len(BAD) + [False] * len(odd)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{maker.__name__}.wav" for maker in odd}
    assert read_wav(tmp_path / "out" / "silent.wav", RATE).abs().max() == 0
    for file in files[len(BAD) :]:
        assert read_wav(tmp_path / "out" / file.name, RATE).shape == read_wav(file, RATE).shape


def test_all_clips_bad_is_a_failure(classify, enhance, tmp_path):
    files = batch(tmp_path / "clips", corrupt, nothing)
    for done in (classify(*files), enhance(*files, "-o", tmp_path / "out")):
        assert (done.code, len(done.complaints)) == (1, 2)
    assert len(classify(*files).rows) == 2


def test_conversion_is_one_note(classify, enhance, tmp_path):
    files = batch(tmp_path / "clips", corrupt, eight_bits, surround, telephone)
    for run, made in (
        (classify, ""),
        (lambda *files: enhance(*files, "-o", tmp_path / "out"), ", and so are the results"),
    ):
        notes = [line for line in run(*files).err.splitlines() if line.startswith("note: clips are")]
        assert notes == [
            f"note: clips are resampled to {RATE} Hz and mixed down to mono{made} "
            f"({files[2]} has {RATE} Hz, 6 channels)"
        ]
    assert "note: " not in classify("--quiet", *files).err
    assert len(classify("--quiet", *files).complaints) == 1


@pytest.mark.slow
def test_a_clip_may_come_by_stdin(world, tmp_path):
    """In processes of their own, as a shell runs them."""
    clip = write(tmp_path / "a.wav", 9)
    for name, stdin in (("-", f"< {clip}"), ("/dev/stdin", f"< <(cat {clip})")):
        line = f"{sys.executable} -m uniaudio_cli codec words {name} --json --codec {world.codec} {stdin}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["file"] == "/dev/stdin"


def test_what_a_folder_passes_over_is_a_note(world, classify, enhance):
    write(Path("in/a.wav"), 9)
    for name in ("in/notes.txt", "in/deep/b.pdf", "in/deep/c.pdf", "in/.hidden"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    for done in (classify("in"), enhance("in", "-o", "out")):
        assert done.code == 0
        assert "note: passed over 3 files: 2 .pdf, 1 .txt\n" in done.err


ODD_NAMES = [
    b"with space.wav",
    b"quote'\".wav",
    b"new\nline.wav",
    b"not-utf8-\xff\xe9.wav",
    "grün 声.wav".encode(),
    b":dog: [bold]x.wav",
    b"back\\slash\ttab\x1b[31m.wav",
    b"%s {x}.wav",
]


def test_odd_file_names_come_through_json_unharmed(classify, enhance, tmp_path):
    files = [write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/" + name))) for name in ODD_NAMES]
    names = list(map(os.fsencode, files))
    assert [os.fsencode(row["file"]) for row in classify(*files).rows] == names
    classify("--output", tmp_path / "x.jsonl", *files)
    lines = (tmp_path / "x.jsonl").read_text(encoding="utf-8").split("\n")[1:-1]
    assert [os.fsencode(json.loads(line)["file"]) for line in lines] == names
    done = enhance(tmp_path / "in", "--json", "-o", tmp_path / "out")
    assert done.code == 0
    assert sorted(os.fsencode(path.name) for path in (tmp_path / "out").iterdir()) == sorted(ODD_NAMES)
    assert sorted(os.fsencode(Path(row["output"]).name) for row in done.rows) == sorted(ODD_NAMES)


def test_odd_file_names_are_one_line_each_in_errors(classify, enhance, world, tmp_path):
    files = [Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)) for name in ODD_NAMES]
    for file in files:
        corrupt(file)
    done = classify(world.queries / "a" / "0.wav", *files)
    assert (done.code, len(done.complaints), len(done.labelled)) == (3, len(files), 1)
    for word in (":dog: [bold]x.wav", "not-utf8-\\xff\\xe9.wav", "new\\nline.wav", "tab\\x1b[31m.wav"):
        assert word in done.err
    said = enhance(world.pairs / "noisy", "-o", tmp_path / "a\nb").err
    assert said.startswith(f"{tmp_path}/a\\nb/0.wav: ")


def test_lists_and_patterns_are_inputs(world, classify, tmp_path):
    write(tmp_path / "one.wav")
    (tmp_path / "clips.txt").write_text("one.wav\nmissing.wav\n")
    done = classify(tmp_path / "clips.txt", world.queries / "a*" / "*.wav")
    assert done.code == 3
    assert [Path(row["file"]).name for row in done.rows] == ["one.wav", "missing.wav", "0.wav", "2.wav", "4.wav"]
