"""Two processes, a killed run and a replay give the numbers of one undisturbed process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import world
from tests.evaluation.folders import clip_folder
from uniaudio_cli.evaluation import runner, workers
from uniaudio_cli.evaluation.folds import plan_folds
from uniaudio_cli.evaluation.job import Job, ModelNames, evaluate
from uniaudio_cli.evaluation.manifest import Selection
from uniaudio_cli.evaluation.runner import Todo
from uniaudio_cli.prompting.task import load_task

__all__ = ["world"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def job(folder, world, tmp_path, monkeypatch):
    """The small world's models, and peers without weights."""
    monkeypatch.setenv("UNIAUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as conftest sets torch: sums depend on the number of threads
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    manifest = plan_folds(Selection(folder), shots=(1, 2))
    names = ModelNames(codec=str(world.codec), lm=str(world.lm), offline=True)
    return Job(manifest, folder, load_task(str(world.listen)), names)


@pytest.mark.slow
def test_two_workers_and_a_killed_run_give_the_same_numbers(job, folder, world, tmp_path):
    alone = evaluate(job, runner.open_log(tmp_path / "alone", {}))
    together = evaluate(job, runner.open_log(tmp_path / "together", {}), workers=2)
    ours = {"cost", "schema_version"}
    assert together.model_dump(exclude=ours) == alone.model_dump(exclude=ours)
    lines = [
        [line for line in (tmp_path / name / runner.EPISODES).read_text().splitlines() if '"system"' in line]
        for name in ("alone", "together")
    ]
    assert lines[0] == lines[1]
    assert together.cost.workers == 2
    assert together.cost.answers == alone.cost.answers == len(lines[0])

    flags = ["--task", world.listen, "--codec", world.codec, "--lm", world.lm, "--offline", "--shots", "1,2"]
    command = [sys.executable, "-m", "uniaudio_cli", "eval", folder, *flags, "-o", tmp_path / "killed", "--json"]
    running = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / runner.EPISODES
    while running.poll() is None and (not log.exists() or log.read_text().count("\n") < 5):
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert log.read_text().count('"system"') < len(lines[0])
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["cells"] == json.loads(json.dumps(alone.model_dump(mode="json")["cells"]))
    assert found["reviews"] == alone.model_dump(mode="json")["reviews"]
    assert found["cost"]["answers"] < len(lines[0])


def test_episodes_of_a_fold_stay_in_one_block(job):
    todo = [Todo(1, number, ("a",)) for number in range(len(job.manifest.episodes))]
    made = workers.blocks(job, todo)
    assert [each for block in made for each in block] == todo
    for block in made:
        assert len(block) <= workers.BLOCK
        assert len({job.manifest.episodes[each.episode].demonstrations for each in block}) == 1


def test_an_error_in_a_worker_is_one_line(job, tmp_path):
    from dataclasses import replace

    from uniaudio_cli.core.errors import UniAudioError

    with pytest.raises(UniAudioError, match="nowhere"):
        evaluate(replace(job, names=replace(job.names, lm=str(tmp_path / "nowhere"))), workers=2)
