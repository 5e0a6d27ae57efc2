"""Manifests: drawn, hashed, replayed, and checked for leaks."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.evaluation.folders import clip_folder
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.episodes import load_items
from uniaudio_cli.evaluation.folds import plan_folds
from uniaudio_cli.evaluation.manifest import Selection, check_contents, check_leaks, default_rule, plan, read_manifest

REGEX = "/(?P<group>.)"


def chosen(folder):
    return Selection(folder, group_regex=REGEX)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


def test_a_manifest_comes_back_as_it_was(folder, tmp_path):
    made = plan(chosen(folder), shots=(2, 1), count=6)
    made.write(tmp_path / "manifest.json")
    assert read_manifest(tmp_path / "manifest.json") == made
    assert (made.ways, made.shots, made.rule) == (3, (1, 2), "other")
    assert plan(chosen(folder), shots=(1, 2), count=6).hash == made.hash
    assert plan(chosen(folder), shots=(1, 2), count=6, seed=1).hash != made.hash
    check_contents(made, folder)


def test_fewer_shots_are_the_first_rounds(folder):
    made = plan(chosen(folder), ways=2, shots=(1, 2), count=5)
    for one, two in zip(made.episodes_in(folder, 1), made.episodes_in(folder, 2), strict=True):
        assert (one.query, one.labels) == (two.query, two.labels)
        assert two.demonstrations[: len(one.demonstrations)] == one.demonstrations
        assert {item.label for item in one.demonstrations} == set(one.labels)
        assert all(item.group != one.query.group for item in two.demonstrations)


def test_an_edited_manifest_is_refused(folder, tmp_path):
    path = tmp_path / "manifest.json"
    plan(chosen(folder), count=3).write(path)
    rows = json.loads(path.read_text())
    rows["episodes"][0]["query"] = 1
    path.write_text(json.dumps(rows))
    with pytest.raises(UsageError, match="does not match its hash"):
        read_manifest(path)
    path.write_text("{}")
    with pytest.raises(UsageError, match="is no manifest"):
        read_manifest(path)


def test_the_same_audio_in_another_file_is_caught(tmp_path):
    folder = clip_folder(tmp_path / "clips")
    samples, rate = soundfile.read(folder / "one" / "a-0.wav", dtype="int16")
    soundfile.write(folder / "one" / "b-9.flac", samples, rate, subtype="PCM_16")
    with pytest.raises(UsageError, match=r"hold the same audio"):
        plan(chosen(folder), shots=(5,), count=60, rule="any")


def test_a_shared_group_is_caught_when_replayed(folder):
    made = plan(chosen(folder), count=4, rule="any", shots=(3,))
    with pytest.raises(UsageError, match="of one group"):
        check_leaks(made.model_copy(update={"rule": "other"}))
    first = made.episodes[0]
    shown = first.model_copy(update={"demonstrations": (first.query, *first.demonstrations[1:])})
    with pytest.raises(UsageError, match="both query and demonstration"):
        check_leaks(made.model_copy(update={"episodes": (shown,)}))


def test_other_clips_are_not_replayed(folder, tmp_path):
    made = plan(chosen(folder), count=3)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    check_contents(made, copy)
    (copy / made.clips[0].file).write_bytes((copy / made.clips[1].file).read_bytes())
    with pytest.raises(UsageError, match="holds other audio"):
        check_contents(made, copy)


def test_only_some_groups_and_labels(folder):
    made = plan(Selection(folder, group_regex=REGEX, groups=["a"], labels=["one", "two"]), count=4)
    assert {(clip.group, clip.label) for clip in made.clips} == {("a", "one"), ("a", "two")}
    assert made.rule == "any"
    with pytest.raises(UsageError, match="no clip has the group 'c'"):
        plan(Selection(folder, group_regex=REGEX, groups=["c"]))
    with pytest.raises(UsageError, match="takes two labels or more"):
        plan(Selection(folder, group_regex=REGEX, labels=["one"]))


def test_the_default_rule(folder):
    assert default_rule(load_items(folder, REGEX)) == "other"
    assert default_rule(load_items(folder)) == "any"  # every clip is a group of its own


@pytest.fixture
def spoilt(tmp_path):
    """Three clips that cannot be used among others, and what is said of each."""
    folder = clip_folder(tmp_path / "clips")
    (folder / "one" / "a-0.wav").write_bytes(b"no audio")
    soundfile.write(folder / "two" / "a-0.wav", np.zeros(4_000), 16_000)
    soundfile.write(folder / "two" / "b-0.wav", np.ones(100) / 2, 16_000)
    return folder, {"one/a-0.wav": "cannot be read", "two/a-0.wav": "silence", "two/b-0.wav": "shorter than 20 ms"}


@pytest.mark.parametrize("way", ["episodes", "folds"])
def test_clips_that_cannot_be_used_are_left_out_and_named(spoilt, way):
    folder, reasons = spoilt
    notes: list[str] = []
    if way == "episodes":
        made = plan(chosen(folder), count=60, note=notes.append)
    else:
        made = plan_folds(chosen(folder), shots=(1,), note=notes.append)
    assert {clip.file for clip in made.clips}.isdisjoint(reasons)
    left_out = [note for note in notes if note.startswith("note: left out: ")]
    for file, reason in reasons.items():
        [line] = [note for note in left_out if file in note]
        assert reason in line
    assert len(left_out) == len(reasons)
    assert len(set(notes)) == len(notes), "nothing is said twice"


def test_where_too_few_clips_are_left_that_is_said(spoilt):
    folder, _ = spoilt
    for path in folder.glob("[!t]*/*.wav"):
        path.write_bytes(b"no audio")
    with pytest.raises(UsageError, match="leave 'one' out"):
        plan(chosen(folder), ways=2, count=60)
