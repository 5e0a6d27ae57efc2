"""Answers to reviews of clips, advice and sentences."""

from __future__ import annotations

import pytest

from uniaudio_cli.evaluation import report, sentences
from uniaudio_cli.evaluation.confidence import Coverage
from uniaudio_cli.evaluation.manifest import Clip, Manifest, PlannedEpisode
from uniaudio_cli.evaluation.results import Answer, Cost, read_results
from uniaudio_cli.evaluation.summary import summarise

# File, truth and the probability of "dog" in each of two rounds.
CLIPS = [("dog/1", "dog", (0.9, 0.95)), ("dog/2", "dog", (0.6, 0.4)), ("dog/3", "dog", (0.1, 0.2)),
         ("rain/1", "rain", (0.1, 0.1)), ("rain/2", "rain", (0.3, 0.3)), ("rain/3", "rain", (0.9, 0.99))]  # fmt: skip


@pytest.fixture
def results():
    clips = tuple(Clip(file=file, label=truth, group=file, content=file) for file, truth, _ in CLIPS)
    episodes = tuple(
        PlannedEpisode(query=place, labels=("dog", "rain"), demonstrations=()) for _ in range(2) for place in range(6)
    )
    manifest = Manifest(data="pets", half="all", rule="any", seed=0, ways=2, shots=(1, 3), clips=clips,
                        episodes=episodes, folds=3, rounds=2)  # fmt: skip
    answers = []
    for shots in (1, 3):
        for number in range(12):
            file, truth, odds = CLIPS[number % 6]
            dog = odds[number // 6]
            scores = {"dog": dog, "rain": 1 - dog}
            for system in ("uniaudio", "nearest demonstration"):
                right = system == "uniaudio"
                answer = max(scores, key=lambda label: scores[label]) if right else "dog"
                answers.append(
                    Answer(system=system, shots=shots, episode=number, file=file, group=file, truth=truth,
                           answer=answer, scores=scores, probabilities=right)
                )  # fmt: skip
    return summarise(
        manifest, answers, ("uniaudio",), lambda file: f"words of {file}", settings={}, versions={}, models={},
        skipped={}, cost=Cost(answers=48, seconds=200.0, cpu_seconds=4.2, cores=2),
    )  # fmt: skip


def test_clips_are_reviewed_the_most_doubtful_first(results):
    assert [each.file for each in results.reviews][:1] == ["dog/2"]
    doubtful = results.reviews[0]
    assert (doubtful.right, doubtful.asked, doubtful.doubt) == (1, 2, 1.0)
    assert doubtful.words == "words of dog/2"
    assert {each.file: each.fits_better for each in results.reviews if each.fits_better} == {
        "dog/3": "rain",
        "rain/3": "dog",
    }


def test_precision_and_recall_come_from_the_same_answers(results):
    counts = results.deepest.systems["uniaudio"].per_class
    assert (counts["dog"].n, counts["dog"].recall, counts["dog"].precision) == (6, 0.5, 0.6)
    assert counts["rain"].recall == pytest.approx(4 / 6)


def test_advice_names_the_worst_label_and_clips_that_are_not_mislabelled(results):
    first = results.advice[0]
    assert (first.label, first.taken_for, first.share, first.show) == ("dog", "rain", 0.5, ("dog/2",))


def test_sentences_say_it_plainly(results):
    lines = sentences.lines(results)
    assert lines[0].startswith("pets: labels 58 of 100 new clips right (")
    assert "guessing: 50; nearest demonstration: 50" in lines[0]
    assert "1: 58, 3: 58; the step from 1 to 3 gives +0.0 points, so more of the same help little" in lines[1]
    assert any("label to check: rain/3 (rain, fits dog)" in line for line in lines)
    assert any(line.startswith("doubtful: dog/2 (") for line in lines)
    assert lines[-1] == "48 answers about 6 clips took 3 min 20 s (4.2 s of CPU, 2 cores there)"
    assert "3 folds x 2 rounds" in report.design(results)


def test_abstention_is_said_with_its_threshold(results):
    assert "no threshold of its probability gets 95 % right" in sentences.abstaining(results)
    cell = results.cells[-1]
    covered = {"0.95": Coverage(threshold=0.99876, coverage=0.3, accuracy=0.95)}
    ours = cell.systems["uniaudio"].model_copy(update={"covered": covered})
    sure = results.model_copy(update={"cells": (cell.model_copy(update={"systems": {"uniaudio": ours}}),)})
    assert "0.9987 or more (--set abstain_below=0.9987;" in sentences.abstaining(sure)


def test_results_come_back(results, tmp_path):
    results.write(tmp_path / "results.json")
    assert read_results(tmp_path) == results
