"""Cross-validation: every clip asked once a round, by clips of other folds; and what small folders still give."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.evaluation.folders import LABELS, clip_folder
from tests.factories import chirps
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation.folds import plan_folds
from uniaudio_cli.evaluation.manifest import Selection, read_manifest

REGEX = "/(?P<group>.)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


def folder_of(path, counts):
    """`counts`: clips by label and speaker, {"one": {"a": 2}}."""
    seed = 0
    for label, speakers in counts.items():
        for speaker, count in speakers.items():
            for take in range(count):
                seed += 1
                write_wav(path / label / f"{speaker}-{take}.wav", chirps(1_600, seed)[0], 16_000)
    return path


def test_every_clip_is_asked_once_a_round(folder):
    made = plan_folds(Selection(folder), shots=(1, 3), folds=4)
    assert (made.folds, made.rounds, made.ways, made.rule) == (4, 5, 3, "any")
    asked = Counter(each.query for each in made.episodes)
    assert len(asked) == 24
    assert set(asked.values()) == {5}
    for episode in made.episodes:
        assert episode.query not in episode.demonstrations
        counts = Counter(made.clips[place].label for place in episode.demonstrations)
        assert counts == dict.fromkeys(LABELS, 3)
    for one in made.episodes_in(folder, 1):
        assert Counter(item.label for item in one.demonstrations) == dict.fromkeys(LABELS, 1)


def test_speakers_stay_together(folder):
    made = plan_folds(Selection(folder, group_regex=REGEX))
    assert (made.folds, made.rule) == (2, "other")
    for episode in made.episodes:
        assert all(made.clips[each].group != made.clips[episode.query].group for each in episode.demonstrations)


def test_a_seed_gives_the_same_folds_and_a_manifest_comes_back(folder, tmp_path):
    first, again = (plan_folds(Selection(folder), seed=3) for _ in range(2))
    assert first.hash == again.hash != plan_folds(Selection(folder), seed=4).hash
    first.write(tmp_path / "manifest.json")
    assert read_manifest(tmp_path / "manifest.json") == first


def test_names_are_asked_once_without_demonstrations(folder):
    made = plan_folds(Selection(folder), shots=(0,))
    assert (made.shots, len(made.episodes)) == ((0,), 24)
    assert not any(each.demonstrations for each in made.episodes)


@pytest.mark.parametrize(
    ("counts", "regex", "words"),
    [
        ({"one": {"a": 3}, "two": {"a": 3}, "three": {"a": 1}}, None, "left out, as a label takes two clips: three"),
        ({"one": {"a": 3}, "two": {"a": 3}}, REGEX, "all clips are of one group (a), so figures hold for it alone"),
        ({"one": {"a": 3}, "two": {"a": 3}}, None, "every clip counts as its own"),
        ({"one": {"a": 3}, "two": {"a": 2, "b": 2}}, REGEX, "one: clips of one group alone), so figures may be too"),
        ({"one": {"a": 9}, "two": {"a": 2}}, None, "shown with fewer than 5 clips, at the least 1: two"),
        ({"one": {"a": 3}, "two": {"a": 3}}, None, "5 shots: there are 2 at most, so shots are 1, 2"),
        ({"one": {"a": 3, "b": 3}, "two": {"a": 3, "b": 3}}, REGEX, "2 folds, as there are no more groups"),
    ],
)
def test_small_folders_say_what_they_give(tmp_path, counts, regex, words):
    notes: list[str] = []
    made = plan_folds(Selection(folder_of(tmp_path, counts), group_regex=regex), note=notes.append)
    assert made.episodes
    assert words in "\n".join(notes)


def test_labels_of_one_clip_are_not_enough(tmp_path):
    folder = folder_of(tmp_path, {"one": {"a": 3}, "two": {"a": 1}})
    with pytest.raises(UsageError, match=r"fewer than two labels have two clips.*add a clip to two"):
        plan_folds(Selection(folder))


def test_the_same_speaker_is_no_fold(folder):
    with pytest.raises(UsageError, match="takes --episodes"):
        plan_folds(Selection(folder), rule="same")
