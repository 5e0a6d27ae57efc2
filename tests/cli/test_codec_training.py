"""`uniaudio codec train`, `eval` and `vocabulary build` from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.cli.world import RATE, write
from tests.training.parts import SMALL, WEIGHTS, logged
from uniaudio_cli.codec import quality

BASE = {
    "name": "mine",
    "sizes": [3, 4, 4],
    "audio": ["audio"],
    "cache": "cache",
    "losses": WEIGHTS,
    "batch_size": 2,
    "crop_frames": 4,
    "steps": 3,
    "bfloat16": False,
    "log_every": 1,
    "save_every": 1,
    "validation": {"every": 2, "batches": 1, "samples": 0},
}


def plain(values):
    return json.loads(json.dumps(values))


def write_recipe(world, **changes) -> Path:
    """A recipe in the working folder, with a vocabulary and four clips of two folders."""
    for number in range(4):
        write(Path(f"audio/{'ab'[number % 2]}/{number}.wav"), number, samples=RATE * 4)
    levels = {"lm": "tiny", "levels": [["river", "stone", "cloud"], ["paper", "garden", "window", "bridge"]]}
    levels["levels"].append(["winter", "candle", "mirror", "basket"])  # type: ignore[attr-defined]
    Path("words.json").write_text(json.dumps(levels))
    recipe = {**BASE, "lm": str(world.lm), "vocabulary": "words.json", "codec": SMALL, **changes}
    Path("recipe.yaml").write_text(yaml.safe_dump(plain(recipe)))
    return Path("recipe.yaml")


def test_train_resume_and_use(uniaudio, world):
    recipe = write_recipe(world)
    done = uniaudio("codec", "train", recipe, "-o", "run", "--set", "steps=2", "--device", "cpu")
    assert (done.code, done.out) == (0, "run/mine.safetensors\n")
    assert done.err.count("\n") == 2
    assert "step 2/2" in done.err
    uniaudio("codec", "train", recipe, "-o", "run").is_error(2, "run", "--resume")
    done = uniaudio("codec", "train", recipe, "-o", "run", "--resume", "--quiet", "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert [row["step"] for row in logged(Path("run")) if row["split"] == "train"] == [1, 2, 3]
    done = uniaudio("codec", "reconstruct", "audio/a/0.wav", "-o", "out", "--codec", "run/mine.safetensors")
    assert done.code == 0
    # What was trained can be trained on from, in another run.
    again = write_recipe(world, init="run/mine.safetensors", vocabulary=None, name="again")
    assert uniaudio("codec", "train", again, "-o", "run2", "--device", "cpu").code == 0


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "words"),
    [
        ({}, ["--resume"], 2, ["holds no run to resume"]),
        ({"lm": "no-such-llm"}, [], 2, ["no-such-llm"]),
        ({"audio": ["nowhere"]}, [], 1, ["nowhere"]),
        ({"audio": None}, [], 1, ["cache", "no packed audio"]),
        ({"vocabulary": "absent.json"}, [], 2, ["absent.json"]),
        ({"sizes": [3, 4, 5]}, [], 2, ["[3, 4, 4]", "[3, 4, 5]"]),
        ({"init": "absent.safetensors", "vocabulary": None}, [], 2, ["absent.safetensors"]),
        ({"text_teacher": "no-such-teacher"}, [], 2, ["no-such-teacher"]),
        ({}, ["--set", "steps"], 2, ["KEY=VALUE"]),
        ({}, ["--set", "losses.mell=1"], 2, ["losses.mell"]),
    ],
)
def test_what_cannot_be_trained(uniaudio, world, changes, arguments, code, words):
    uniaudio("codec", "train", write_recipe(world, **changes), "-o", "run", "--device", "cpu", *arguments).is_error(
        code, *words
    )


@pytest.mark.slow
def test_eval_is_a_table_json_and_pictures(uniaudio, world, monkeypatch):
    # Two clips a segment: DNSMOS doubles 4.6 s to one of its windows of 9 s, and 4 s to seven of them.
    for number in range(6):
        write(Path(f"in/{number % 2}_{number}.wav"), number, samples=36_800)
    flags = ("--codec", world.codec, "--group-regex", "^(.)_")
    done = uniaudio("codec", "eval", "in", *flags, "--json", "--pictures", "seen")
    assert done.code == 0, done.err
    (found,) = done.rows
    assert (found["segments"], found["groups"], found["seconds"]) == (2, 2, 9.2)
    assert found["codes_per_second"] == 58.33
    assert found["metrics"]["mel_l1"]["n"] == 2
    assert [level["codes"] for level in found["usage"]] == [4, 5, 5]
    assert sorted(path.name for path in Path("seen").iterdir()) == ["000.png", "001.png"]
    Path("in/0_broken.wav").write_bytes(b"RIFF")
    monkeypatch.setattr(quality, "dnsmos", lambda: None)  # the slowest metric by far, and measured above
    done = uniaudio("codec", "eval", "in", *flags)
    assert (done.code, len(done.complaints)) == (3, 1)
    assert "0_broken.wav" in done.err
    assert "2 segments, 9.2 s, 2 groups" in done.out
    assert "perplexity" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in"], 1, ["fewer than two segments"]),
        (["in", "--group-regex", "("], 2, ["--group-regex"]),
        (["absent"], 2, ["absent"]),
        (["in", "--split", "validation"], 1, ["fewer than two segments"]),
        (["in", "--codec", "absent"], 2, ["absent"]),
    ],
)
def test_what_cannot_be_evaluated(uniaudio, world, arguments, code, words):
    write(Path("in/a.wav"), samples=RATE)
    given = arguments if "--codec" in arguments else [*arguments, "--codec", world.codec]
    uniaudio("codec", "eval", *given).is_error(code, *words)


def test_vocabulary_build(uniaudio, world, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.training.words.GLUE_WORDS", 0)
    done = uniaudio("codec", "vocabulary", "build", "--lm", world.lm, "--sizes", "3,4", "-o", "v.json")
    assert (done.code, done.out) == (0, "v.json\n")
    found = json.loads(Path("v.json").read_text())
    assert [len(level) for level in found["levels"]] == [3, 4]
    for arguments, code, word in (
        (["--sizes", "3,4"], 2, "v.json"),  # it is there
        (["--sizes", "3,x"], 2, "--sizes"),
        (["--sizes", "0"], 2, "--sizes"),
        (["--sizes", "9999", "--force"], 1, "9999"),
        (["--level0", "absent.txt", "--force"], 2, "absent.txt"),
    ):
        done = uniaudio("codec", "vocabulary", "build", "--lm", world.lm, "-o", "v.json", *arguments)
        done.is_error(code, word)
    assert json.loads(Path("v.json").read_text()) == found


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_same_losses(uniaudio, world):
    recipe = write_recipe(world, steps=12, save_every=3)
    command = [sys.executable, "-m", "uniaudio_cli", "codec", "train", str(recipe), "--device", "cpu", "-o"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "whole"], check=True, capture_output=True, env=environment)
    killed = subprocess.Popen([*command, "parts"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert killed.stderr is not None
    while b"step 5/" not in killed.stderr.readline():
        pass
    time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run([*command, "parts", "--resume"], check=True, capture_output=True, env=environment)

    def by_step(folder):
        return {(row["step"], row["split"]): row for row in logged(Path(folder))}

    assert by_step("parts") == by_step("whole")
    assert Path("parts/mine.safetensors").read_bytes() == Path("whole/mine.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_train_one_codec(uniaudio, world):
    recipe = write_recipe(world, steps=4)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "uniaudio_cli"]
    train = ["codec", "train", str(recipe), "--device", "cpu", "-o"]
    subprocess.run([*launch, *train, "both"], check=True, capture_output=True, env=environment)
    subprocess.run([sys.executable, "-m", "uniaudio_cli", *train, "one"], check=True, capture_output=True)
    both, one = ([row for row in logged(Path(run)) if row["split"] == "train"] for run in ("both", "one"))
    assert [row["step"] for row in both] == [1, 2, 3, 4]  # the main process alone writes
    # The first process sees what one alone would see; the gradient is of both processes' batches.
    assert both[0]["mel"] == pytest.approx(one[0]["mel"], abs=1e-3)
    assert both[0]["gradient"] != pytest.approx(one[0]["gradient"], rel=1e-3)
    assert uniaudio("codec", "info", "both/mine.safetensors").code == 0
    further = [*train, "both", "--resume", "--set", "steps=5"]
    subprocess.run([*launch, *further], check=True, capture_output=True, env=environment)
    assert logged(Path("both"))[-1]["step"] == 5
