"""`uniaudio eval` as a shell runs it: run, continued, replayed, compared, and refused."""

from __future__ import annotations

import json
import shutil

import pytest
import soundfile

from tests.cli.conftest import uniaudio, world
from tests.evaluation.folders import clip_folder
from uniaudio_cli.evaluation import baselines
from uniaudio_cli.evaluation.manifest import Manifest, read_manifest

__all__ = ["uniaudio", "world"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def evaluate(uniaudio, world, monkeypatch):
    monkeypatch.setattr(baselines, "ROWS", baselines.ROWS[:1])  # the peers need weights
    return lambda *more: uniaudio("eval", *more, "--task", world.listen, *world.models)


FLAGS = ("--ways", 2, "--shots", "1,2", "--episodes", 3, "--group-regex", "/(?P<group>.)")


def test_a_folder_is_evaluated_continued_replayed_and_compared(evaluate, uniaudio, clips):
    done = evaluate(clips, *FLAGS, "-o", "report")
    assert done.code == 0, done.err
    for words in ("2-way 1-shot", "2-way 2-shot", "uniaudio", "counts only", "nearest demonstration", "chance"):
        assert words in done.out
    assert "Fewer than 5 groups" in done.err
    again = evaluate(clips, *FLAGS, "-o", "report", "--json")
    assert again.code == 0, again.err
    results = json.loads(again.out)
    assert [cell["shots"] for cell in results["cells"]] == [1, 2]
    assert results["settings"]["codec_sha256"]
    replayed = evaluate("replay", "report/manifest.json", clips, "-o", "other", "--json")
    assert replayed.code == 0, replayed.err
    assert json.loads(replayed.out)["cells"] == results["cells"]
    compared = uniaudio("eval", "compare", "report", "other", "--json")
    assert compared.code == 0, compared.err
    assert all(row["gain"]["value"] == 0 for row in json.loads(compared.out)["rows"])
    assert "+0.0" in uniaudio("eval", "compare", "report", "other").out


def test_other_episodes_do_not_go_into_a_report(evaluate, clips):
    assert evaluate(clips, *FLAGS, "-o", "report").code == 0
    evaluate(clips, *FLAGS, "-o", "report", "--seed", 1).is_error(2, "evaluation of other episodes", "--force")
    assert evaluate(clips, *FLAGS, "-o", "report", "--seed", 1, "--force").code == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--ways", "few"), "--ways few: takes a number from 2 up"),
        (("--shots", "1,x"), "--shots x: takes a number from 1 up"),
        (("--ways", 9), "9-way 5-shot episodes take 9 labels"),
        (("--shots", 9, "--episodes", 3), "no clip of"),
        (("--groups", "zoe"), "no clip has the group 'zoe'"),
        (("--group-regex", "("), "is not a regular expression"),
    ],
)
def test_what_cannot_be_drawn_is_refused(evaluate, clips, flags, words):
    evaluate(clips, *flags).is_error(2, words)


def test_a_folder_that_is_not_there(evaluate):
    evaluate("nowhere").is_error(2, "nowhere: no such folder")


def test_a_task_without_labels_is_refused(uniaudio, world, clips):
    uniaudio("eval", clips, "--task", world.speak, *world.models).is_error(2, "gives no labels")


def test_a_planted_duplicate_is_caught(evaluate, clips, tmp_path):
    """The same recording under another name and in another format, by folds and by episodes."""
    copy = tmp_path / "copy"
    shutil.copytree(clips, copy)
    samples, rate = soundfile.read(copy / "one" / "a-0.wav", dtype="int16")
    soundfile.write(copy / "one" / "new.flac", samples, rate, subtype="PCM_16")
    for flags in ((), ("--episodes", 60)):
        evaluate(copy, *flags).is_error(2, "one/a-0.wav", "one/new.flac", "hold the same audio", "remove one")


def test_a_planted_speaker_overlap_is_caught(evaluate, clips, tmp_path):
    """A manifest that shows a clip of the query's own speaker, with a hash that fits."""
    assert evaluate(clips, *FLAGS, "-o", "report").code == 0
    manifest = read_manifest(tmp_path / "here" / "report" / "manifest.json")
    assert manifest.rule == "other"
    first = manifest.episodes[0]
    query = manifest.clips[first.query]
    same = next(
        place
        for place, clip in enumerate(manifest.clips)
        if clip.group == query.group and place != first.query and clip.label in first.labels
    )
    planted = first.model_copy(update={"demonstrations": (same, *first.demonstrations[1:])})
    # Made anew: a copy would keep the hash of what it was copied from.
    changed = Manifest.model_validate({**manifest.model_dump(), "episodes": (planted, *manifest.episodes[1:])})
    changed.write(tmp_path / "planted.json")
    evaluate("replay", tmp_path / "planted.json", clips).is_error(2, query.file, f"of one group ({query.group})")
