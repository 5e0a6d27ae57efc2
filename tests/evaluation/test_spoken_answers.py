"""Spoken answers measured with stand-ins for the LLM and the judges."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.kits import make_kit, speech_task, spoken, write_clips
from uniaudio_cli.cli.eval_answers import _print, rate
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.evaluation.spoken_answers import REFUSALS, SUITES, Judges, Suite, evaluate, load_suites
from uniaudio_cli.inference.answers import TextAnswer
from uniaudio_cli.prompting.task import load_task

TEXTS = ("one", "two", "thirty two")
ANSWERS = {text: (text,) for text in TEXTS} | {
    "1 + 0": ("one",),
    "1 + 1": ("one",),
    "30 + 2": ("thirty two",),
    "hello": None,
    "bye": ("two",),
}


class Table:
    """Answers questions by a table."""

    def __init__(self):
        self.asked = []

    def thinks_about(self, text, probability):
        return probability < 0.5

    def answer(self, text, think=True):
        self.asked += [] if text in TEXTS else [text]
        if ANSWERS[text] is None:
            raise UsageError("no")
        found = ANSWERS[text] if think or text != "30 + 2" else ("one",)
        return TextAnswer(found, 0.9 if text == "1 + 0" else 0.2, "x")


def suites():
    questions = Suite(description="x", questions={"1 + 0": 1, "1 + 1": 2, "30 + 2": 32})
    return {"paper": questions, REFUSALS: Suite(description="x", texts=["hello", "bye"])}


@pytest.fixture
def speaker(tmp_path):
    task = speech_task(qa_examples={"1 + 1": ["two"]}, doubtful_below=0.5, layout="auto")
    made = make_kit().session(task, spoken(write_clips(tmp_path)))
    made.answerer = Table()
    return made


def embed(texts):
    """Every question is nearest to "two"."""
    return np.array([[text == "two" or text not in ("one", "thirty two"), 0.1] for text in texts], dtype=float)


def test_questions_are_right_by_text_and_by_what_is_recognised(speaker, tmp_path, capsys):
    judges = Judges(lambda wav: "thirty two", lambda wav: "one", lambda wav: 3.0)
    log = JsonlLog(tmp_path / "log.jsonl", {})
    found = evaluate(speaker, suites(), log, judges, embed)
    cell = found["suites"]["paper"]
    assert {name: (each["right"], each["n"]) for name, each in cell.items()} == {
        "uniaudio": (2, 3),
        "without thoughts": (1, 3),
        "MiniLM": (1, 3),
    }
    assert (found["refused"]["right"], found["refused"]["n"], found["chance"]) == (1, 2, pytest.approx(1 / 3))
    assert found["confidence"]["confident"]["right"] == found["confidence"]["not confident"]["right"] == 1
    assert found["confidence"]["not confident"]["n"] == 2
    speech = found["speech"]
    assert {judge: speech["questions"]["paper"][judge]["right"] for judge in ("free", "closed")} == {
        "free": 1,
        "closed": 1,
    }
    for name in ("uniaudio", "copy"):
        assert speech["literal"][name]["free"]["right"] == speech["literal"][name]["closed"]["right"] == 1
        assert speech["literal"][name]["dnsmos"] == {"value": 3.0, "low": 3.0, "high": 3.0}
    log.close()
    asked = len(speaker.answerer.asked)
    again = evaluate(speaker, suites(), JsonlLog(tmp_path / "log.jsonl", {}, resume=True), judges, embed)
    assert again == json.loads(json.dumps(found))
    assert len(speaker.answerer.asked) == asked  # nothing is asked twice
    _print(found)
    printed = capsys.readouterr().out
    assert "chance 33 %; of texts that no number answers, refused 1 of 2: 50.0 %" in printed


def test_without_judges_only_the_text_is_measured(speaker):
    found = evaluate(speaker, suites(), JsonlLog(None))
    assert "speech" not in found
    assert list(found["suites"]["paper"]) == ["uniaudio", "without thoughts"]
    assert rate(found["suites"]["paper"]["uniaudio"]).startswith("2 of 3: 66.7 % [")


def test_random_weights_are_a_control(tmp_path):
    task = speech_task(qa_examples={"1 + 1": ["two"], "hello": ["none"]})
    made = make_kit().session(task, spoken(write_clips(tmp_path)))
    found = evaluate(made, suites(), JsonlLog(None), controls=True)
    assert list(found["suites"]["paper"]) == ["uniaudio", "without thoughts", "random LLM"]


def test_more_development_questions_are_neither_held_out_nor_shown():
    more = [question for each in load_suites("more-development").values() for question in each.questions]
    assert len(more) == 276
    held_out = {question for each in load_suites("held-out").values() for question in each.questions}
    task = load_task("spoken-answer")
    shown = {question for question, _ in (*task.qa_examples, *task.reasoning_examples)}
    assert not set(more) & (held_out | shown)


@pytest.mark.parametrize("half", ["development", "held-out"])
def test_the_suites_have_twenty_questions_each_and_share_none(half):
    found = load_suites(half)
    assert list(found) == [*SUITES, REFUSALS]
    assert [len(found[name].questions) for name in SUITES] == [20] * 4
    assert len(found[REFUSALS].texts) == 15
    other = load_suites("development" if half == "held-out" else "held-out")
    for name in SUITES:
        assert all(0 <= number <= (3 if name == "paper" else 9) for number in found[name].questions.values())
        mine, theirs = ({question for each in half.values() for question in each.questions} for half in (found, other))
        assert not mine & theirs
