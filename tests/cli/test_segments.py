"""`classify --segments` and `--stream`, and what a run makes beside labels, in the small world."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.world import RATE, clip_samples, write


@pytest.fixture
def similar(world, uniaudio):
    """`uniaudio classify` by the similarity readout on the codec's level 0; no LLM."""
    flags = ("--task", world.listen, "--demos", world.labels, *world.models, "--readout", "similarity", "--levels", "0")
    return lambda *more: uniaudio("classify", *flags, *more)


@pytest.fixture
def long(tmp_path) -> Path:
    """A second of silence, three of a clip, one of silence."""
    pause, sound = np.zeros(RATE), np.resize(clip_samples(), 3 * RATE)
    soundfile.write(tmp_path / "long.wav", np.concatenate([pause, sound, pause]), RATE)
    return tmp_path / "long.wav"


def test_segments_in_every_form(similar, long, tmp_path):
    done = similar("--segments", long)
    assert (done.code, done.err.splitlines()[-1].startswith("segments: ")) == (0, True)
    assert done.rows
    assert all(list(row) == ["file", "start", "end", "label", "score"] for row in done.rows)
    assert done.rows[0]["start"] == pytest.approx(1.0, abs=0.15)
    assert done.rows[-1]["end"] == pytest.approx(4.0, abs=0.15)
    for name in ("x.jsonl", "x.csv", "x.txt"):
        done_too = similar("--segments", long, "-o", name, "--window-scores", f"w-{name.replace('.txt', '2.csv')}")
        assert (done_too.code, done_too.out) == (0, "")
    places = [(row["start"], row["end"], row["label"]) for row in done.rows]
    rows = [json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]
    assert [(row["start"], row["end"], row["label"]) for row in rows] == places
    with Path("x.csv").open() as file:
        assert [(float(row["start"]), float(row["end"]), row["label"]) for row in csv.DictReader(file)] == places
    lines = [line.split("\t") for line in Path("x.txt").read_text().splitlines()]
    assert [(float(start), float(end), label) for start, end, label in lines] == places
    windows = [json.loads(line) for line in Path("w-x.jsonl").read_text().splitlines()]
    assert windows[0]["label"] is None
    assert set(windows[-8]["scores"]) == {"up", "upper", "down"}
    assert len(Path("w-x.csv").read_text().splitlines()) == len(windows) + 1


def test_a_bad_recording_is_one_row(similar, long):
    Path("bad.wav").write_text("no audio")
    done = similar("--segments", "bad.wav", long)
    assert (done.code, list(done.rows[0])) == (3, ["file", "error"])
    assert len(done.complaints) == 1


REFUSED = [
    (["--segments", "--resume", "-o", "x.jsonl"], "--resume: is for clips of one label"),
    (["--segments", "-o", "x.json"], "written as .jsonl, .csv, .txt"),
    (["--segments", "--window", "1e6"], "a window is"),
    (["--segments", "--window-scores", "w.txt"], "written as .jsonl, .csv"),
    (["--window", "1"], "--window: is of --segments"),
    (["--stream"], "--stream: reads samples from stdin; give - as the only input"),
    (["--copy-to", "a", "--link-to", "b"], "name one of them"),
    (["--copy-to", "here.txt"], "is a file, not a folder"),
    (["--copy-to", "-"], "--copy-to -: names a file or a folder, not standard output"),
    (["--embed", "x.txt"], "features are written as"),
    (["--embed", "x.npy", "-o", "x.jsonl", "--resume"], "leave out --resume"),
    (["--unknown-below", "2"], "less than or equal to 1"),
    (["--readout", "label", "--unknown"], "'unknown_below' must be null unless the readout is similarity"),
]


@pytest.mark.parametrize(("flags", "why"), REFUSED, ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_what_does_not_fit_is_refused_before_loading(world, uniaudio, flags, why):
    Path("here.txt").touch()
    write(Path("a.wav"))
    demos = ("--demos", world.labels, "--task", world.listen, *world.models)
    readout = () if "--readout" in flags else ("--readout", "similarity", "--levels", "0")
    uniaudio("classify", "a.wav", *demos, *readout, *flags).is_error(2, why)


def test_raw_samples_on_stdin(similar, monkeypatch):
    samples = np.resize(clip_samples(), RATE)
    pcm = (np.concatenate([samples, np.zeros(RATE // 2)]) * 32767).astype("<i2").tobytes()

    class Stdin:
        buffer = io.BytesIO(pcm)

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", Stdin())
    done = similar("--stream", "-", "--set", "clip.seconds=0.5")
    assert done.code == 0
    assert [row["start"] for row in done.rows] == [0, 0.25, 0.5, 0.75, 1.0]
    assert all(row["latency"] >= 0 for row in done.rows)
    assert done.rows[-1]["label"] is None
    assert done.rows[0]["label"] is not None
    assert "stream: 5 windows of 2 s" in done.err


def test_clips_go_to_folders_by_label(similar, world, tmp_path):
    same = [write(tmp_path / side / "clip.wav", seed) for seed, side in enumerate("abc")]
    Path("bad.wav").touch()
    done = similar("bad.wav", *same, "--copy-to", "sorted", "--json")
    assert done.code == 3
    copies = sorted(Path("sorted").rglob("*.wav"))
    assert len(copies) == 3
    assert {path.read_bytes() for path in copies} == {path.read_bytes() for path in same}
    assert {path.parent.name for path in copies} == {row["label"] for row in done.labelled}
    similar(*same, "--copy-to", "sorted").is_error(2, "is not empty")
    assert similar(*same, "--copy-to", "sorted", "--force").code == 0  # the same clips are there already
    assert sorted(Path("sorted").rglob("*.wav")) == copies
    assert similar(*same, "--link-to", "linked", "--set", "abstain_below=1").code == 0
    links = sorted(Path("linked", "undecided").iterdir())
    assert [path.name for path in links] == ["clip-2.wav", "clip-3.wav", "clip.wav"]
    assert {path.resolve() for path in links} == {path.resolve() for path in same}
    inside = tmp_path / "a" / "sorted"
    similar(tmp_path / "a", "--copy-to", inside).is_error(2, "lies in the input")
    assert not inside.exists()


def test_a_copy_that_does_not_fit_leaves_no_half_file(similar, tmp_path):
    resource = pytest.importorskip("resource")
    clip, before = write(tmp_path / "clip.wav"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        similar(clip, "--copy-to", "sorted", "--quiet").is_error(1, "clip.wav: cannot be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in Path("sorted").rglob("*") if path.is_file()]


def test_labels_make_safe_folder_names():
    from uniaudio_cli.cli.label_sinks import folder_name

    assert [folder_name(label) for label in ("a/b", "..", ".x", "rain drop")] == ["a_b", "_.", "_x", "rain drop"]


def test_features_of_clips(similar, world, tmp_path):
    Path("bad.wav").touch()
    clips = sorted(world.queries.rglob("*.wav"))
    for name in ("x.npy", "x.csv"):
        assert similar("bad.wav", *clips, "--embed", name, "--json").code == 3
    rows = np.load("x.npy")
    assert rows.shape[0] == len(clips) + 1
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1:]).all()
    with Path("x.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["file"] for row in table] == ["bad.wav", *map(str, clips)]
    assert np.array([[float(row[f"f{n}"]) for n in range(rows.shape[1])] for row in table[1:]]) == pytest.approx(
        rows[1:], abs=1e-5
    )


def test_unknown_and_what_to_label_next(similar, world):
    done = similar(world.queries, "--unknown-below", "1", "--suggest", 2)
    assert {row["label"] for row in done.rows} == {"unknown"}
    assert all(list(row)[-2:] == ["similarity", "seconds"] for row in done.rows)
    assert done.err.count("\nlabel next: ") == 2
    assert "6 unknown" in done.err
