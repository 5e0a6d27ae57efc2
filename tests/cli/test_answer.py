"""`classify`, `tts`, `enhance` and `run` where all is well: what they print and write."""

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

import uniaudio_cli
from tests.cli.world import CLIP, RATE, write
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.cli.label_output import common_folder
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.speak import PAUSE


def test_classify_prints_one_json_object_a_clip(world, classify):
    files = sorted(world.queries.rglob("*.wav"))
    done = classify(world.queries, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert [row["file"] for row in done.rows] == list(map(str, files))
    for row in done.rows:
        assert list(row) == ["file", "label", "scores", "margin", "seconds"]
        assert set(row["scores"]) == {"up", "upper", "down"}
        assert row["label"] == next(iter(row["scores"]))
        assert list(row["scores"].values()) == sorted(row["scores"].values(), reverse=True)
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_classify_says_the_same_in_every_form(world, classify, tmp_path):
    files = sorted(world.queries.rglob("*.wav"))
    plain = classify(*files).rows
    dashed = classify("--json", *files).rows
    done = classify("--output", tmp_path / "new" / "labels.jsonl", *files)
    assert (done.code, done.out, done.complaints) == (0, "", [])
    stored = [json.loads(line) for line in (tmp_path / "new" / "labels.jsonl").read_text().splitlines()[1:]]
    for rows in (dashed, stored):
        assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in plain]


def test_labels_as_csv_and_as_json(world, classify):
    write(Path("grün, 1.wav"), 9)
    Path("bad.wav").touch()
    files = ["grün, 1.wav", "bad.wav", world.queries / "a" / "0.wav"]
    rows = [row | {"seconds": 0} for row in classify(*files).rows]
    for output in ("new/x.json", "new/x.csv"):
        done = classify(*files, "-o", output)
        assert (done.code, done.out) == (3, "")
    stored = json.loads(Path("new/x.json").read_text(encoding="utf-8"))
    assert [row | {"seconds": 0} for row in stored] == rows
    with Path("new/x.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert list(cells[0]) == [
        *("file", "label", "margin", "seconds", "error"),
        *("score:down", "score:up", "score:upper"),
    ]
    for cell, row in zip(cells, rows, strict=True):
        assert (cell["file"], cell["label"], cell["error"]) == (row["file"], row.get("label", ""), row.get("error", ""))
        for label, p in row.get("scores", {}).items():
            assert float(cell[f"score:{label}"]) == p


def test_a_file_and_stdout_may_both_have_the_records(world, classify):
    done = classify(world.queries, "-o", "x.csv", "--json")
    assert len(done.rows) == len(Path("x.csv").read_text().splitlines()) - 1 == 6


def test_the_summary_counts_labels_and_names_doubtful_clips(world, classify):
    done = classify(world.queries)
    rows, lines = done.rows, done.err.splitlines()
    for label, count in Counter(row["label"] for row in rows).items():
        assert f"{count} {label}" in lines[0]
    doubtful = [row for row in rows if max(row["scores"].values()) < 0.6]
    assert lines[0].endswith(f"; {len(doubtful)} of 6 below 0.6")
    closest = min(doubtful, key=lambda row: row["margin"])
    assert lines[1].startswith(f"check first: {closest['file']} ({closest['label']} ")
    assert len(lines) == 1 + min(3, len(doubtful))
    assert classify(world.queries / "a" / "0.wav").err == ""
    assert classify(world.queries, "--quiet").err == ""


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["in/a.wav", "in/b/c.wav"], Path("in")),
        (["in/b/a.wav"], Path("in/b")),
        (["a.wav", "in/b.wav"], None),
        (["/a.wav", "/in/b.wav"], None),
        (["a.wav", "/in/b.wav"], None),
    ],
)
def test_the_table_names_clips_from_their_common_folder(files, folder):
    assert common_folder(list(map(Path, files))) == folder


def test_more_demonstrations_than_are_shown_are_announced(world, classify, tts, enhance):
    query = world.queries / "a" / "0.wav"
    for number in range(3):
        write(Path("demos/up") / f"{number}.wav", number)
        write(Path("demos/down") / f"{number}.wav", 9 + number)
    write(Path("demos/down/3.wav"), 20)
    assert (
        "note: demonstrations: 2 of 3 to 4 clips a label, the first 0.24 s of each\n"
        in classify(query, "--demos", "demos").err
    )
    done = classify(query, "--labels", "up,down", "--set", "clip.crop=loudest")
    assert "note: demonstrations: 2 of 2 clips a label, 2 of 3 labels, the loudest 0.24 s of each\n" in done.err
    assert "note" not in classify(query).err
    assert "1 of 2 pairs" in enhance(query, "--shots", 1, "-o", "out").err


def test_inputs_that_are_demonstrations_are_announced(world, classify):
    shutil.copy(world.labels / "up" / "0.wav", "copy.wav")
    for given in (["copy.wav", world.queries], [world.labels / "up" / "0.wav", world.queries]):
        done = classify(*given)
        assert f"note: 1 of 7 inputs are demonstrations too ({given[0]}); the results for them say little\n" in done.err


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_labels_that_begin_alike_are_told_apart(world, classify, readout):
    (row,) = classify("--readout", readout, world.queries / "a" / "0.wav").rows
    assert set(row["scores"]) == {"up", "upper", "down"}
    assert len(set(row["scores"].values())) == 3
    done = classify("--readout", readout, "--labels", "up, upper", world.queries / "a" / "0.wav")
    assert set(json.loads(done.out)["scores"]) == {"up", "upper"}


def test_a_label_that_is_not_sure_is_not_given(world, classify):
    query = world.queries / "a" / "0.wav"
    (row,) = classify(query).rows
    p, second, _ = row["scores"].values()
    assert row["margin"] == pytest.approx(p - second, abs=1e-5)
    (sure,) = classify("--set", f"abstain_below={p - 1e-4}", query).rows
    (unsure,) = classify("--set", f"abstain_below={p + 1e-4}", query).rows
    assert (sure["label"], unsure["label"]) == (row["label"], None)
    assert sure["scores"] == unsure["scores"] == row["scores"]


def test_a_dry_run_says_what_fits_without_the_llms_weights(world, classify, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.llm.loading.load_lm", lambda *names, **options: pytest.fail("loaded"))
    query = world.queries / "a" / "0.wav"
    done = classify(query, "--dry-run", "--shots", 1)
    assert done.code == 0
    assert {row["label"] for row in done.rows} == {"up", "upper", "down"}
    for row in done.rows:
        assert row["ids"] == sum(row["shot_ids"]) + row["rest_ids"] + row["answer_ids"] <= row["context"]
        assert (row["shots"], len(row["shot_ids"])) == (1, 1)
        assert row["most_shots"] >= 1
    (row,) = classify(query, "--dry-run", "--readout", "label").rows
    assert (row["label"], row["level"]) == (None, None)
    # The most shots that fit a short LLM are what its error names.
    (short, *_) = classify(query, "--dry-run", "--lm", world.short_lm).rows
    assert (short["context"], short["ids"] > 16) == (16, True)
    assert f"{short['most_shots']} would fit" in classify(query, "--lm", world.short_lm).err


def test_representative_demonstrations(world, classify):
    query = world.queries / "a" / "0.wav"
    (row,) = classify(query, "--shots", 1, "--select", "representative").rows
    assert set(row["scores"]) == {"up", "upper", "down"}
    assert classify(query, "--shots", 1, "--select", "representative", "--labels", "up,sideways").code == 2


def test_seed_and_shots_choose_the_demonstrations(world, classify):
    query = world.queries / "a" / "0.wav"
    rows = [json.loads(classify("--shots", 1, "--seed", seed, query).out)["scores"] for seed in (0, 0, 1, 2**63 - 1)]
    assert rows[0] == rows[1]
    assert any(row != rows[0] for row in rows[2:])


def test_tts_writes_a_sound_and_says_what_it_answers(world, tts, tmp_path):
    done = tts("1 + 1", "--json", "-o", tmp_path / "new" / "answer.flac")
    row = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert list(row) == ["text", "answer", "probability", "confident", "output", "seconds"]
    assert (row["text"], row["output"]) == ("1 + 1", str(tmp_path / "new" / "answer.flac"))
    assert set(row["answer"].split()) <= {"one", "two"}
    assert 0 <= row["probability"] < 1
    count = len(row["answer"].split())
    assert read_wav(Path(row["output"]), RATE).shape == (1, count * 2 * CLIP + (count - 1) * int(PAUSE * RATE))
    done = tts("two", "--set", "qa_examples={}", "-o", tmp_path / "two.wav")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{tmp_path}/two.wav: 0.24 s\n"


def test_an_unlikely_answer_is_marked_or_not_made(world, tts, tmp_path):
    wav = tmp_path / "x.wav"
    (row,) = tts("1 + 1", "--json", "--set", "doubtful_below=1", "-o", wav).rows
    assert row["confident"] is False
    wav.unlink()
    assert ", not confident" in tts("1 + 1", "--set", "doubtful_below=1", "-o", wav).err
    wav.unlink()
    for more in ((), ("--stream",)):
        done = tts("1 + 1", "--abstain-below", 1, "-o", wav, *more)
        assert (done.code, done.out, wav.exists()) == (3, "", False)
        assert f"not answered: '{row['answer']}' has probability " in done.err
    done = tts("1 + 1", "--abstain-below", 1, "--json", "-o", wav)
    assert (done.code, done.rows) == (3, [row | {"output": None, "seconds": None}])
    assert tts("two", "--abstain-below", 1, "-o", wav).code == 0  # read as it stands


def test_one_voice_of_several(world, tts, tmp_path):
    rows = ["file_name,text,group"]
    for number, (text, voice) in enumerate((t, v) for t in ("one", "two") for v in ("anna", "bob")):
        write(Path("voices") / f"{number}.wav", 30 + number)
        rows.append(f"{number}.wav,{text},{voice}")
    Path("voices/metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    voices = ("--demos", "voices", "--shots", 1)
    prompts = [tts("one", *voices, "--voice", voice, "--show-prompt").out for voice in ("anna", "bob")]
    assert "Input: one" in prompts[0]
    assert prompts[0] != prompts[1]
    done = tts("one", *voices, "-o", tmp_path / "any.wav")
    assert "note: demonstrations by anna, bob; --voice NAME takes those of one\n" in done.err
    tts("one", *voices, "--voice", "bop", "-o", "x.wav").is_error(
        2, "by 'bop' (did you mean 'bob'?); there are anna, bob"
    )
    tts("one", "--voice", "bob", "-o", "x.wav").is_error(2, "no column 'group'")


@pytest.mark.parametrize("text", ["minus one", "three", "...", "\N{SLIGHTLY SMILING FACE}", "3.5"])
@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_what_cannot_be_said_is_one_line_that_says_what_can(tts, tmp_path, text, more):
    tts(text, "-o", tmp_path / "x.wav", *more).is_error(2, "with what is demonstrated: one, two\n")
    assert not (tmp_path / "x.wav").exists()


def test_an_llm_without_the_codecs_words_answers_in_text_alone(world, tts, monkeypatch, tmp_path):
    from uniaudio_cli.cli.params import ModelOptions

    tried = []

    def load(self, quiet, defer_lm=False, answer_lm=None):
        tried.append((self.lm, answer_lm))
        if self.lm:
            raise UsageError("the codec is not in its words")
        return uniaudio_cli.load(codec=world.codec, lm=world.lm, answer_lm=answer_lm)

    monkeypatch.setattr(ModelOptions, "load", load)
    kit = ModelOptions(lm=str(world.lm)).load_to_speak(True, (0, 1, 2))
    assert tried == [(str(world.lm), None), (None, str(world.lm))]
    assert kit.models.text_model()[0] is kit.models.text_model()[0] is not kit.lm
    with pytest.raises(UsageError, match="not in its words"):
        ModelOptions(lm=str(world.lm), codec=str(world.codec)).load_to_speak(True, (0, 1, 2))


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
    frames.write_text(world.speak.read_text() + "layout: interleaved\n")
    assert tts("two one", "--task", frames, "-o", tmp_path / "whole.wav").code == 0
    torch.testing.assert_close(streamed, read_wav(tmp_path / "whole.wav", RATE), atol=1e-3, rtol=0)


def test_resynthesis_of_no_strength_is_the_input(world, enhance, tmp_path):
    noisy = write(tmp_path / "noisy.wav")
    assert enhance(noisy, "--strength", 0, "-o", tmp_path / "same").code == 0
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


def test_one_input_may_have_an_audio_file(world, enhance, tts):
    noisy = write(Path("in/a.wav"))
    assert enhance(noisy, "-o", "new/clean.flac", "--json").rows[0]["output"] == "new/clean.flac"
    assert read_wav(Path("new/clean.flac"), RATE).shape == (1, 2 * CLIP)
    assert enhance("in", "-o", "clean.wav", "--json").rows[0]["output"] == "clean.wav"
    assert tts("two", "-o", "said", "--json").rows[0]["output"] == "said/0.wav"


@pytest.mark.slow
def test_audio_may_go_to_stdout(world, tmp_path):
    """In a process of its own, whose stdout has bytes."""
    command = [sys.executable, "-m", "uniaudio_cli", "tts", "two", "--task", world.speak, "-o", "-"]
    done = subprocess.run([*command, "--demos", world.digits, *world.models], capture_output=True, check=True)
    (tmp_path / "two.wav").write_bytes(done.stdout)
    assert read_wav(tmp_path / "two.wav", RATE).shape == (1, 2 * CLIP)


def test_run_takes_what_the_tasks_command_takes(world, uniaudio):
    query = world.queries / "a" / "0.wav"
    listen = ("run", world.listen, query, "--demos", world.labels, *world.models)
    (row,) = uniaudio(*listen, "--labels", "up,down", "--shots", 1, "--set", "abstain_below=1").rows
    assert (row["label"], set(row["scores"])) == (None, {"up", "down"})
    assert uniaudio(*listen, "--select", "representative", "--readout", "label", "-o", "x.jsonl").code == 0
    assert uniaudio(*listen, "--select", "representative", "--readout", "label", "-o", "x.jsonl", "--resume").code == 0
    assert len(uniaudio(*listen, "--dry-run").rows) == 3
    speak = ("run", world.speak, "two one", "--demos", world.digits, *world.models)
    assert uniaudio(*speak, "--stream", "--abstain-below", 0.5, "-o", "x.wav").code == 0
    clean = ("run", world.clean, query, "--demos", world.pairs, *world.models)
    assert uniaudio(*clean, "--strength", 0, "-o", "y.wav").code == 0
    assert Path("y.wav").read_bytes()[44:] == query.read_bytes()[44:]


def test_set_changes_any_task_key(world, classify, tts):
    query = world.queries / "a" / "0.wav"
    (row,) = classify(query, "--levels", "0", "--set", "levels=[0, 1]").rows
    (same,) = classify(query, "--levels", "0,1").rows
    assert row["scores"] == same["scores"] != classify(query).rows[0]["scores"]
    (one,) = classify(query, "--set", "shots=1").rows
    assert one["scores"] == classify(query, "-k", 1).rows[0]["scores"]
    assert tts("two", "--set", "instruction=Other words", "--show-prompt").out.count("Other words") == 1


def test_run_does_what_the_task_says(world, uniaudio, tmp_path):
    query = world.queries / "a" / "0.wav"
    labels = uniaudio("run", world.listen, query, "--demos", world.labels, *world.models, "--json")
    assert json.loads(labels.out)["file"] == str(query)
    kept = uniaudio("run", world.listen, query, "--demos", world.labels, *world.models, "-o", tmp_path / "x.jsonl")
    assert (kept.code, kept.out) == (0, "")
    header, row = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert header["settings"]["shots"] == 2
    assert row["label"] == json.loads(labels.out)["label"]
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
    done = run("--show-prompt", "two" if command == "tts" else world.queries / "a" / "0.wav")
    assert (done.code, done.err) == (0, "")
    for word in (
        ("=== up",)
        if command == "classify"
        else ("--- instruction, ", f"--- demonstration {1 if command == 'tts' else 2}, ", "tokens in all")
    ):
        assert word in done.out
    assert list(Path.cwd().iterdir()) == []
