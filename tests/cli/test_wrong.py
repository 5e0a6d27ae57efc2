"""Commands that cannot work: one line on stderr, the right exit code, nothing written."""

import json
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.cli.world import CLIP, RATE, write
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.classify import Classifier


def metadata(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "metadata.csv").write_text(text)
    return folder


WRONG = {
    "a misspelt task": (["--task", "emotoin"], "did you mean 'emotion'?"),
    "a task file that is not there": (["--task", "nope.yaml"], "nope.yaml: cannot be read (No such file"),
    "a task of another kind": (["--task", "resynthesis"], "`uniaudio run resynthesis` can"),
    "a misspelt preset": (["--model", "smal"], "did you mean 'small'?"),
    "an unknown LLM": (["--lm", "nope"], "no LLM 'nope'"),
    "an unknown codec": (["--codec", "nope"], "no codec 'nope'"),
    "an unknown device": (["--device", "warp"], "device 'warp': not on this machine"),
    "a device that is not here": (["--device", "cuda:99"], "device 'cuda:99': not on this machine"),
    "a device without numbers": (["--device", "meta"], "device 'meta': not on this machine"),
    "an unknown dtype": (["--dtype", "float31"], "dtype 'float31'"),
    "bits that are none": (["--bits", "3"], "4 or 8 bits, not 3"),
    "an unknown readout": (["--readout", "best"], "'readout' must be one of likelihood, label"),
    "no levels": (["--levels", "x"], "'levels' must be a list of whole numbers from 0 up or speech, sounds or prosody"),
    "a setting without a value": (["--set", "shots"], "--set shots: write KEY=VALUE"),
    "a setting of no key": (["--set", "shot=2"], "unknown key 'shot' (did you mean 'shots'?)"),
    "a setting out of range": (["--set", "clip.seconds=1e-6"], "'clip.seconds' must be a number from 0.05 to 600"),
    "an unknown selection": (["--select", "best"], "'selection' must be one of random"),
    "a selection of another task": (["--select", "separable"], "'selection' must be random or representative"),
    "an unknown level": (["--levels", "9"], "level 9: this codec has levels 0 to 2"),
    "levels out of order": (["--levels", "1,0"], "'levels' must be in rising order"),
    "an unknown label": (["--labels", "up,down,updown"], "no demonstration of 'updown'"),
    "a single label": (["--labels", "up,up"], "a choice takes two or more labels"),
    "no label": (["--labels", ""], "a choice takes two or more labels"),
    "no shots": (["--shots", "0"], "'--shots'", "see `uniaudio classify --help`"),
    "a seed out of range": (["--seed", str(2**63)], "'--seed'"),
    "an unknown option": (["--lables", "up"], "--lables", "see `uniaudio classify --help`"),
    "an LLM of a short context": (["--lm", "short"], "the LLM's context holds 16", "would fit"),
    "no audio in a folder": (["empty"], "empty: this folder holds no audio file"),
    "demonstrations that are not there": (["--demos", "nope"], "nope: no such folder"),
    "demonstrations that are a file": (["--demos", "clip.wav"], "clip.wav: is a file, not a folder"),
    "demonstrations of one label": (["--demos", "one"], "holds the one label 'up'"),
    "a label without a clip": (["--demos", "hollow"], "holds no audio file"),
    "a label of blanks": (["--demos", "blank"], "a folder named by blanks"),
    "a clip without a label": (["--demos", "loose"], "lies in no label's folder"),
    "a row of metadata without its clip": (["--demos", "rows"], "metadata.csv:2: 'file_name' is"),
    "a folder to write to": (["--output", "empty"], "empty: is a folder"),
    "an output that is there": (["--output", "clip.wav"], "clip.wav: already exists (pass --force"),
    "an output of another kind": (["--output", "x.txt"], "x.txt: labels are written as .jsonl, .csv, .json"),
    "audio as output of labels": (["--output", "clip.wav", "--force"], "clip.wav: labels are written as .jsonl"),
    "stdout as output": (["--output", "-"], "--output -: names a file; --json prints records to stdout"),
    "stdout by its path": (["--output", "/dev/stdout"], "--output /dev/stdout: names a file; --json prints"),
    "an output below a file": (["--output", "clip.wav/x/y.jsonl"], "clip.wav is not a folder"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_command_is_one_line_and_exit_code_2(world, classify, wrong):
    clip = write(Path("clip.wav"), 99)
    Path("empty").mkdir()
    for folder in ("one/up", "hollow/up", "blank/up", "blank/ ", "loose/up", "loose/down"):
        write(Path(folder) / "a.wav")
    Path("hollow/down").mkdir()
    write(Path("loose/a.wav"))
    metadata(Path("rows"), "file_name,label\nnope.wav,up\n")
    Path("short").symlink_to(world.short_lm)
    arguments, *words = WRONG[wrong]
    classify(clip, clip.with_name("other.wav"), *arguments).is_error(2, *words)


TASKS = {
    "an unknown key": ("name: x\nlables: [a]\n", "task.yaml: unknown key 'lables'"),
    "a missing key": ("name: x\n", "task.yaml: missing key 'description'"),
    "no mapping": ("- name\n- x\n", "task.yaml: the file must be a mapping"),
    "nothing": ("", "task.yaml: the file must be a mapping"),
    "no YAML": ("name: [x\n", "task.yaml: line 2: not YAML"),
    "no text": (b"\xff\xfe\x00", "task.yaml: not YAML"),
}


@pytest.mark.parametrize("wrong", TASKS)
def test_a_bad_task_file_is_one_line(world, classify, uniaudio, wrong):
    content, word = TASKS[wrong]
    Path("task.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    classify("clip.wav", "--task", "task.yaml").is_error(2, word)
    for command in (("tasks", "show"), ("tasks", "validate")):
        uniaudio(*command, "task.yaml").is_error(2, word)


def test_a_file_in_a_label_that_is_no_audio_is_left_out(world, uniaudio):
    for seed, label in enumerate(("up", "down")):
        write(Path("demos") / label / "a.wav", seed)
        (Path("demos") / label / "notes.txt").write_text("not audio")
    done = uniaudio("classify", write(Path("clip.wav"), 9), "--task", world.listen, "--demos", "demos", *world.models)
    assert (done.code, done.err) == (0, "note: demos: passed over 2 files: 2 .txt\n")


@pytest.mark.parametrize("command", ["classify", "enhance", "tts"])
def test_a_demonstration_that_cannot_be_read_is_one_line(world, uniaudio, tmp_path, command):
    if command == "enhance":
        for side in ("noisy", "clean"):
            write(tmp_path / "demos" / side / "a.wav").write_text("no audio")
    else:
        for label in ("one", "two"):
            write(tmp_path / "demos" / label / "a.wav").write_text(f"no audio of {label}")
    task = {"classify": world.listen, "enhance": None, "tts": world.speak}[command]
    queries = ["one"] if command == "tts" else [world.labels / "up" / "0.wav", world.labels / "up" / "1.wav"]
    output = {"classify": "x.jsonl", "enhance": "out", "tts": "x.wav"}[command]
    models = () if command == "enhance" else ("--task", task, *world.models)
    done = uniaudio(command, *queries, "--demos", tmp_path / "demos", *models, "-o", output)
    done.is_error(1, "a.wav: cannot be read as audio")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_a_prompt_that_does_not_fit_is_one_line(world, classify, enhance, tts, readout):
    files, short = [write(Path("a.wav"), 98), write(Path("b.wav"), 99)], ("--lm", world.short_lm)
    for done in (
        classify(*files, *short, "--readout", readout),
        enhance(*files, *short, "-o", "out"),
        tts("one", *short, "-o", "one.wav"),
    ):
        done.is_error(2, "the LLM's context holds 16; of its ", " would fit")


def test_a_later_clip_that_does_not_fit_does_not_stop_the_others(world, classify, monkeypatch):
    def score(self, clips):
        if any(encoded.samples == CLIP for clip in clips for encoded in clip):
            raise UsageError("the context is full")
        return original(self, clips)

    original = Classifier.score
    monkeypatch.setattr(Classifier, "score", score)
    files = [write(Path("a.wav")), write(Path("b.wav"), samples=CLIP), write(Path("c.wav"))]
    done = classify(*files)
    assert (done.code, done.complaints) == (3, ["error: b.wav: the context is full"])
    assert [row["file"] for row in done.labelled] == ["a.wav", "c.wav"]


def test_run_refuses_flags_of_other_kinds_of_task(world, uniaudio):
    tasks = {
        "classify": (world.listen, world.labels),
        "speak": (world.speak, world.digits),
        "enhance": (world.clean, world.pairs),
    }
    flags = {
        "classify": [["--labels", "a,b"], ["--resume"], ["--dry-run"], ["--readout", "label"]],
        "speak": [["--abstain-below", "0.5"], ["--voice", "x"], ["--no-think"], ["--stream"]],
        "enhance": [["--strength", "0.5"]],
    }
    for kind, (task, demos) in tasks.items():
        for other, given in flags.items():
            for flag in given if other != kind else ():
                done = uniaudio("run", task, "x", "--demos", demos, *world.models, "-o", "out", *flag)
                assert (done.code, done.out) == (2, "")


def test_wrong_outputs_are_refused_before_anything_is_loaded(world, enhance, tts, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.api.load", None)
    write(Path("a/clip.wav"))
    write(Path("b/clip.mp3"))
    Path("folder.wav").mkdir()
    Path("lines").write_text("one\ntwo\n")
    with Path("lines").open() as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        tts("-", "-o", "x.wav").is_error(2, "x.wav: is one file, and there are 2 inputs; name a folder")
    enhance("a", "b", "-o", "x.wav").is_error(2, "x.wav: is one file, and there are 2 inputs; name a folder")
    enhance("a", "-o", "x.mp3").is_error(2, "x.mp3: audio is written as .wav, .flac, .ogg")
    enhance("a", "b", "-o", "-").is_error(2, "--output -: takes one input, and there are 2; name a folder")
    enhance("nope.wav", "-o", "out").is_error(2, "nope.wav: no such file")
    tts("one", "-o", "there.txt").is_error(2, "audio is written as .wav, .flac, .ogg")
    tts("one", "-o", "folder.wav").is_error(2, "folder.wav: is a folder")
    tts("one", "-o", "a/clip.wav").is_error(2, "a/clip.wav: already exists")
    tts("one", "-o", "a/clip.wav/x.wav").is_error(2, "a/clip.wav is not a folder")
    tts("one").is_error(2, "makes audio: say where with --output")
    tts("one", "--stream").is_error(2, "makes audio: say where with --output")
    tts("-", "--stream", "-o", "x.wav").is_error(2, "--stream speaks one text")
    tts("one", "--stream", "-o", "x.flac").is_error(2, "x.flac: a stream is written as .wav, or to stdout with -o -")
    tts("one", "--stream", "-o", "a/clip.wav").is_error(2, "a/clip.wav: already exists")
    tts(" ", "-o", "x.wav").is_error(2, "the text is empty")
    tts("\udcff", "-o", "x.wav").is_error(2, "is not UTF-8 text")
    enhance("a").is_error(2, "makes audio: say where with --output")
    enhance("a", "-o", "a").is_error(2, "a/clip.wav: already exists")
    enhance("a", "-o", "a/clip.wav").is_error(2, "a/clip.wav: already exists")
    enhance("a", "-o", "a/clip.wav/out").is_error(2, "a/clip.wav is not a folder")
    enhance("a", "b", "-o", "out").is_error(2, "would both be written to out/clip.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(world, tts, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    tts("one", "-o", tmp_path / "locked" / "new" / "x.wav").is_error(1, "no permission")


def test_force_overwrites_what_is_there(world, classify, enhance, tts):
    write(Path("in/a.wav"), samples=CLIP)
    for path in ("labels.jsonl", "out/a.wav", "x.wav"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("old")
    for done in (
        classify("in", "--output", "labels.jsonl", "--force"),
        enhance("in", "-o", "out", "--force"),
        tts("one", "-o", "x.wav", "--force"),
    ):
        assert done.code == 0
    assert [next(iter(json.loads(line))) for line in Path("labels.jsonl").read_text().splitlines()] == [
        "settings_sha256",
        "file",
    ]
    assert read_wav(Path("out/a.wav"), RATE).shape == (1, CLIP)
    assert read_wav(Path("x.wav"), RATE).shape == (1, 2 * CLIP)


def test_stdin_without_a_text(tts, monkeypatch):
    Path("in.txt").write_bytes(b"one\n\xff\n")
    for name, word in ((os.devnull, "stdin holds no text"), ("in.txt", "is not UTF-8 text")):
        with Path(name).open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            tts("-", "-o", "out").is_error(2, word)


# ---- models that are missing, gated, malicious or broken


def test_missing_models_are_exit_code_4(world, classify, uniaudio):
    clip = write(Path("clip.wav"))
    for arguments in (["--lm", "smollm2-135m"], ["--lm", "llama2-7b"], ["--lm", "org/name"], ["--codec", "llm-codec"]):
        done = classify(clip, *arguments, "--offline")
        done.is_error(4, "fetching is off", f"`uniaudio models pull {arguments[1]}`")
    uniaudio("models", "path", "llama2-7b").is_error(4, "fetching is off")
    done = classify(clip, "--lm", "org/name", "--quiet")
    done.is_error(4, "org/name cannot be fetched from the hub (no network)")


def test_a_gated_llm_says_how_to_get_access(world, classify, monkeypatch):
    from huggingface_hub.errors import GatedRepoError

    def gated(*_, **__):
        raise GatedRepoError(
            "401 Client Error.\n\nCannot access gated repo", response=SimpleNamespace(headers={}, request=None)
        )

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    done = classify(write(Path("clip.wav")), "--lm", "llama2-7b")
    message = done.err.split("\n", 1)[1]
    assert done.err.startswith("fetching meta-llama/Llama-2-7b-hf")
    assert (done.code, done.out, message.count("\n")) == (4, "", 1)
    for word in ("https://huggingface.co/meta-llama/Llama-2-7b-hf", "hf auth login", "HF_TOKEN"):
        assert word in message
    assert classify(write(Path("clip.wav")), "--lm", "llama2-7b", "--quiet").err == message


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("save", [lambda path: torch.save({"codec_model": Bomb()}, path), None])
def test_a_malicious_checkpoint_is_not_executed(classify, uniaudio, save):
    checkpoint = Path("evil.pth")
    checkpoint.write_bytes(pickle.dumps(Bomb())) if save is None else save(checkpoint)
    Path("evil.yaml").write_text("generator: {}")
    clip = write(Path("clip.wav"))
    for done in (
        classify(clip, "--codec", checkpoint),
        uniaudio("codec", "info", checkpoint),
        uniaudio("codec", "convert", checkpoint, "-o", "new.safetensors"),
    ):
        done.is_error(1, "evil.pth: not a checkpoint that can be read safely")
    assert not Path("exploded").exists()
    assert not Path("new.safetensors").exists()


def test_broken_model_files_are_one_line(world, classify):
    clip = write(Path("clip.wav"), 99)
    Path("bad.safetensors").write_bytes(b"not safetensors")
    classify(clip, "--codec", "bad.safetensors").is_error(4, "bad.json: no such file")
    Path("bad.json").write_text("{}")
    classify(clip, "--codec", "bad.safetensors").is_error(1, "bad.json: describes no codec")
    Path("bad.json").write_bytes(world.codec.with_suffix(".json").read_bytes())
    classify(clip, "--codec", "bad.safetensors").is_error(1, "bad.safetensors: broken")
    for content in (b"", b"GGUF", b"GGUF" + bytes(100)):
        Path("bad.gguf").write_bytes(content)
        classify(clip, "--lm", "bad.gguf", "--quiet").is_error(1, "bad.gguf: cannot be converted")
    Path("lm").mkdir()
    classify(clip, "--lm", "lm").is_error(2, "lm: not a whole transformers model, it lacks config.json")
    for file in world.lm.iterdir():
        (Path("lm") / file.name).write_bytes(file.read_bytes())
    Path("lm/model.safetensors").write_bytes(b"not safetensors")
    classify(clip, "--lm", "lm").is_error(2, "lm: not a whole transformers model, it lacks a whole model.safetensors")
    Path("lm/model.safetensors").write_bytes((world.lm / "model.safetensors").read_bytes())
    Path("lm/config.json").write_text("{}")
    classify(clip, "--lm", "lm").is_error(1, "lm: ")
    Path("lm/tokenizer.json").write_text("{}")
    classify(clip, "--lm", "lm").is_error(2, "lm: no tokenizer can be read there")
