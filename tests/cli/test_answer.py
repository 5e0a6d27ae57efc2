"""`classify`, `tts`, `enhance` and `run` where all is well: what they print and write."""

import json
import sys
from pathlib import Path

import pytest
import torch

from tests.cli.world import CLIP, RATE, write
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.inference.pipeline import PAUSE


def test_classify_prints_one_json_object_a_clip(world, classify):
    files = sorted(world.labels.rglob("*.wav"))
    done = classify(world.labels)
    assert (done.code, done.err) == (0, "")
    assert [row["file"] for row in done.rows] == list(map(str, files))
    for row in done.rows:
        assert list(row) == ["file", "label", "scores", "margin", "seconds"]
        assert set(row["scores"]) == {"up", "upper", "down"}
        assert row["label"] == next(iter(row["scores"]))
        assert list(row["scores"].values()) == sorted(row["scores"].values(), reverse=True)
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_classify_says_the_same_in_every_form(world, classify, tmp_path):
    files = sorted(world.labels.rglob("*.wav"))
    plain = classify(*files).rows
    dashed = classify("--jsonl", "-", *files).rows
    done = classify("--jsonl", tmp_path / "new" / "labels.jsonl", *files)
    assert (done.code, done.out, done.err) == (0, "", "")
    stored = [json.loads(line) for line in (tmp_path / "new" / "labels.jsonl").read_text().splitlines()]
    for rows in (dashed, stored):
        assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in plain]


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_labels_that_begin_alike_are_told_apart(world, classify, readout):
    (row,) = classify("--readout", readout, world.labels / "up" / "0.wav").rows
    assert set(row["scores"]) == {"up", "upper", "down"}
    assert len(set(row["scores"].values())) == 3
    done = classify("--readout", readout, "--labels", "up, upper", world.labels / "up" / "0.wav")
    assert set(json.loads(done.out)["scores"]) == {"up", "upper"}


def test_a_label_that_is_not_sure_is_not_given(world, classify):
    query = world.labels / "up" / "0.wav"
    (row,) = classify(query).rows
    p, second, _ = row["scores"].values()
    assert row["margin"] == pytest.approx(p - second, abs=1e-5)
    (sure,) = classify("--abstain-below", p - 1e-4, query).rows
    (unsure,) = classify("--abstain-below", p + 1e-4, query).rows
    assert (sure["label"], unsure["label"]) == (row["label"], None)
    assert sure["scores"] == unsure["scores"] == row["scores"]


def test_a_plan_says_what_fits_without_the_llms_weights(world, classify, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.llm.loading.load_lm", lambda *names, **options: pytest.fail("loaded"))
    query = world.labels / "up" / "0.wav"
    done = classify(query, "--plan", "--shots", 1)
    assert done.code == 0
    assert {row["label"] for row in done.rows} == {"up", "upper", "down"}
    for row in done.rows:
        assert row["ids"] == sum(row["shot_ids"]) + row["rest_ids"] + row["answer_ids"] <= row["context"]
        assert (row["shots"], len(row["shot_ids"])) == (1, 1)
        assert row["most_shots"] >= 1
    (row,) = classify(query, "--plan", "--readout", "label").rows
    assert (row["label"], row["level"]) == (None, None)
    # The most shots that fit a short LLM are what its error names.
    (short, *_) = classify(query, "--plan", "--lm", world.short_lm).rows
    assert (short["context"], short["ids"] > 16) == (16, True)
    assert f"{short['most_shots']} would fit" in classify(query, "--lm", world.short_lm).err


def test_spread_is_another_way_to_choose(world, classify):
    query = world.labels / "up" / "0.wav"
    (row,) = classify(query, "--shots", 1, "--spread").rows
    assert set(row["scores"]) == {"up", "upper", "down"}
    assert classify(query, "--shots", 1, "--spread", "--labels", "up,sideways").code == 2


def test_seed_and_shots_choose_the_demonstrations(world, classify):
    query = world.labels / "up" / "0.wav"
    rows = [json.loads(classify("--shots", 1, "--seed", seed, query).out)["scores"] for seed in (0, 0, 1, 2**63 - 1)]
    assert rows[0] == rows[1]
    assert any(row != rows[0] for row in rows[2:])


def test_tts_writes_a_sound_and_says_what_it_answers(world, tts, tmp_path):
    done = tts("1 + 1", "--json", "-o", tmp_path / "new" / "answer.flac")
    row = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert list(row) == ["text", "answer", "output", "seconds"]
    assert (row["text"], row["output"]) == ("1 + 1", str(tmp_path / "new" / "answer.flac"))
    assert row["answer"] in ("one", "two")
    assert read_wav(Path(row["output"]), RATE).shape == (1, 2 * CLIP)
    done = tts("two", "--no-think", "-o", tmp_path / "two.wav")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{tmp_path}/two.wav: 0.24 s\n"


def test_tts_speaks_known_words_one_by_one(world, tts, tmp_path):
    done = tts("two one  two", "--json", "-o", tmp_path / "three.wav")
    assert done.rows[0]["answer"] == "two one two"
    whole = read_wav(tmp_path / "three.wav", RATE)[0].tolist()
    pause = int(PAUSE * RATE)
    assert len(whole) == 3 * 2 * CLIP + 2 * pause
    assert set(whole[2 * CLIP : 2 * CLIP + pause]) == {0.0}
    assert whole[: 2 * CLIP] == whole[-2 * CLIP :]


def test_tts_streams_what_it_would_write(world, tts, tmp_path):
    done = tts("two one", "--stream", "-o", tmp_path / "new" / "streamed.wav")
    assert (done.code, done.out) == (0, "")
    assert "0.56 s of audio in " in done.err
    streamed = read_wav(tmp_path / "new" / "streamed.wav", RATE)
    frames = tmp_path / "frames.yaml"
    frames.write_text(world.speak.read_text() + "order: frames\n")
    assert tts("two one", "--task", frames, "-o", tmp_path / "whole.wav").code == 0
    torch.testing.assert_close(streamed, read_wav(tmp_path / "whole.wav", RATE), atol=1e-3, rtol=0)


def test_enhance_mixes_the_input_in(world, enhance, tmp_path):
    noisy = write(tmp_path / "noisy.wav")
    assert enhance(noisy, "--mix", 1, "-o", tmp_path / "same").code == 0
    assert (tmp_path / "same" / "noisy.wav").read_bytes()[44:] == noisy.read_bytes()[44:]
    enhance(noisy, "-o", tmp_path / "made")
    assert (tmp_path / "made" / "noisy.wav").read_bytes() != (tmp_path / "same" / "noisy.wav").read_bytes()


def test_tts_reads_texts_from_stdin(world, tts, tmp_path, monkeypatch):
    lines = tmp_path / "lines.txt"
    lines.write_text("one\n\n  two \none\n")
    with lines.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = tts("-", "--json", "-o", tmp_path / "out")
    assert done.code == 0
    rows = done.rows
    assert [row["text"] for row in rows] == ["one", "two", "one"]
    assert [row["output"] for row in rows] == [str(tmp_path / "out" / f"{n}.wav") for n in range(3)]
    assert (tmp_path / "out" / "0.wav").read_bytes() == (tmp_path / "out" / "2.wav").read_bytes()


def test_enhance_mirrors_the_folders_it_is_given(world, enhance, tmp_path):
    for name in ("a.wav", "deep/a.wav"):
        write(tmp_path / "noisy" / name, samples=3 * CLIP)
    done = enhance(tmp_path / "noisy", "--json", "-o", tmp_path / "clean")
    rows = done.rows
    assert (done.code, done.err) == (0, "")
    assert [list(row) for row in rows] == [["file", "output", "seconds"]] * 2
    for row, name in zip(rows, ("a.wav", "deep/a.wav"), strict=True):
        assert row["output"] == str(tmp_path / "clean" / name)
        assert read_wav(tmp_path / "clean" / name, RATE).shape == (1, 3 * CLIP)


def test_outputs_inside_the_inputs_are_not_inputs_of_the_next_run(enhance, tmp_path):
    write(tmp_path / "in" / "a.wav")
    for flags in ((), ("--force",)):
        rows = enhance(tmp_path / "in", "-o", tmp_path / "in" / "out", "--json", *flags).rows
        assert [row["output"] for row in rows] == [str(tmp_path / "in" / "out" / "a.wav")]
    (tmp_path / "in" / "a.wav").unlink()
    enhance(tmp_path / "in", "-o", tmp_path / "in" / "out").is_error(2, "holds all that was given")
    assert len(enhance(tmp_path / "in", "-o", tmp_path / "in", "--force", "--json").rows) == 1


def test_run_does_what_the_task_says(world, uniaudio, tmp_path):
    query = world.labels / "up" / "0.wav"
    labels = uniaudio("run", world.listen, query, "--demos", world.labels, *world.models, "--json")
    assert json.loads(labels.out)["file"] == str(query)
    kept = uniaudio("run", world.listen, query, "--demos", world.labels, *world.models, "-o", tmp_path / "x.jsonl")
    assert (kept.code, kept.out) == (0, "")
    assert json.loads((tmp_path / "x.jsonl").read_text())["label"] == json.loads(labels.out)["label"]
    speak = ("run", world.speak, "--demos", world.digits, *world.models, "--json")
    rows = uniaudio(*speak, "one", "two", "-o", tmp_path / "said").rows
    assert [row["output"] for row in rows] == [str(tmp_path / "said" / f"{n}.wav") for n in (0, 1)]
    one = uniaudio(*speak, "one", "-o", tmp_path / "one.wav")
    assert json.loads(one.out)["output"] == str(tmp_path / "one.wav")
    clean = uniaudio("run", world.clean, query, "--demos", world.pairs, *world.models, "-o", tmp_path / "clean")
    assert (clean.code, clean.out) == (0, "")
    assert (tmp_path / "clean" / "0.wav").is_file()


@pytest.mark.parametrize("command", ["classify", "tts", "enhance"])
def test_show_prompt_shows_it_and_writes_nothing(world, request, tmp_path, command):
    run = request.getfixturevalue(command)
    done = run("--show-prompt", "two" if command == "tts" else world.labels / "up" / "0.wav")
    assert (done.code, done.err) == (0, "")
    for word in (
        ("--- instruction, ", "--- demonstration 2, ", "tokens in all") if command != "classify" else ("=== up",)
    ):
        assert word in done.out
    assert list(Path.cwd().iterdir()) == []
