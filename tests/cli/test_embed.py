"""`classify --embed`: the features of every clip in each kind of file, in order, whatever fails."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.world import write
from uniaudio_cli.api import load
from uniaudio_cli.prompting.task import load_task, override_task

FAST = ("--readout", "similarity", "--levels", "0")


@pytest.fixture
def clips():
    """Four clips, the first and the third of which cannot be read."""
    files = [write(Path("in") / f"{number}.wav", 50 + number) for number in range(4)]
    for bad in files[0::2]:
        bad.write_bytes(b"no audio")
    return files


@pytest.fixture
def features(world, clips):
    """What the Python API gives: label and row of features of every clip; None of one that fails."""
    task = override_task(load_task(str(world.listen)), readout="similarity", levels=(0,))
    session = load(codec=world.codec, lm=world.lm).classifier(world.labels, task)
    results = session.classify_batch(clips)
    assert [each.ok for each in results] == [False, True, False, True]
    return [(each.label, each.features) if each.ok else (None, None) for each in results]


def embed(classify, clips, target: str) -> Path:
    done = classify(*clips, *FAST, "--embed", target)
    assert (done.code, len(done.complaints)) == (3, 2), done.err
    return Path(target)


def test_npy(classify, clips, features):
    rows = np.load(embed(classify, clips, "deep/x.npy"))
    assert (rows.dtype, rows.shape) == (np.float32, (4, len(features[1][1])))
    assert np.isnan(rows[0::2]).all()
    for row, (_, expected) in zip(rows[1::2], features[1::2], strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-6)
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert np.abs(rows[1] - rows[3]).max() > 0.01


def test_csv(classify, clips, features):
    with embed(classify, clips, "x.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "label", *(f"f{number}" for number in range(len(features[1][1])))]
    for row, clip, (label, expected) in zip(rows, clips, features, strict=True):
        assert row[:2] == [str(clip), label or ""]
        if expected is None:
            assert set(row[2:]) == {""}
        else:
            np.testing.assert_allclose([float(cell) for cell in row[2:]], expected, rtol=1e-5, atol=1e-6)


def test_parquet(classify, clips, features):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(embed(classify, clips, "x.parquet"))
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("file", "string"),
        ("label", "string"),
        ("features", "list<element: float>"),
    ]
    rows = table.to_pylist()
    assert [(row["file"], row["label"]) for row in rows] == [
        (str(clip), label) for clip, (label, _) in zip(clips, features, strict=True)
    ]
    assert rows[0]["features"] is rows[2]["features"] is None
    for number in (1, 3):
        np.testing.assert_allclose(rows[number]["features"], features[number][1], atol=1e-6)


def test_parquet_without_its_library_is_refused_before_anything_is_loaded(classify, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = classify(*clips, *FAST, "--embed", "x.parquet", "--codec", "nowhere.safetensors")
    done.is_error(2, "x.parquet", "needs pyarrow", "pip install 'uniaudio[parquet]'", ".npy or .csv")
    assert not Path("x.parquet").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--embed", "x.txt"), ("x.txt: features are written as .npy, .csv, .parquet",)),
        (("--embed", "in/1.wav/x.npy"), ("in/1.wav is not a folder",)),
        (("--embed", "there.npy"), ("there.npy: already exists",)),
        (("--embed", "x.npy", "-o", "x.jsonl", "--resume"), ("--embed: takes all clips of a run",)),
    ],
)
def test_what_cannot_be_written_is_refused(classify, clips, flags, words):
    Path("there.npy").touch()
    classify(*clips, *FAST, *flags, "--codec", "nowhere.safetensors").is_error(2, *words)


def test_readouts_without_features_are_refused(classify, clips):
    classify(clips[1], "--readout", "likelihood", "--embed", "x.npy").is_error(2, "pass --readout similarity")
    assert not Path("x.npy").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("suffix", ["npy", "csv", "parquet"])
def test_a_full_disk_is_one_line(classify, clips, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow.parquet")
    target = Path(f"x.{suffix}")
    target.symlink_to("/dev/full")
    done = classify(clips[1], *FAST, "--embed", target, "--force")
    assert (done.code, len(done.complaints)) == (1, 1), done.err
    assert f"x.{suffix}: cannot be written" in done.err
    assert "No space left on device" in done.err
