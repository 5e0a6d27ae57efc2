"""Spoken answers measured: questions right by text, and by a recogniser of what is spoken, beside controls.

Every answer and every generated text is kept in a log, so that a stopped run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.core.schema import Schema, load_yaml
from uniaudio_cli.evaluation.metrics import Interval, accuracy, mean
from uniaudio_cli.evaluation.product import random_lm
from uniaudio_cli.inference.answers import Answerer
from uniaudio_cli.inference.speak import Speaker

FOLDER = Path(__file__).parent / "suites" / "questions"
SUITES = ("paper", "arithmetic", "simple", "complex")
REFUSALS = "not-a-number"
PRODUCT, DIRECT, RANDOM, MINILM = "uniaudio", "without thoughts", "random LLM", "MiniLM"
# Texts in, unit vectors [N, D] out.
Embed = Callable[[Sequence[str]], np.ndarray]
# A wav, float32 [1, T] at 16 kHz, in; the text that a recogniser finds among all words, or None, out.
Recogniser = Callable[[Tensor], str | None]
Rating = Callable[[Tensor], float]


class Suite(Schema):
    """A file of questions with one right number each, or of texts that no number answers."""

    description: str
    questions: dict[str, int] = {}  # noqa: RUF012, pydantic copies it
    texts: list[str] = []  # noqa: RUF012


def load_suites(half: str) -> dict[str, Suite]:
    """The suites by name: "development", that thresholds were chosen on, "more-development" or "held-out"."""
    folder = FOLDER if half == "development" else FOLDER / half
    return {name: load_yaml(folder / f"{name}.yaml", Suite) for name in (*SUITES, REFUSALS)}


@dataclass(frozen=True)
class Judges:
    """`free`, `closed`: a recogniser that may find anything, and one that finds one of the texts. `rate`: DNSMOS."""

    free: Recogniser
    closed: Recogniser
    rate: Rating


def evaluate(
    speaker: Speaker,
    suites: Mapping[str, Suite],
    log: JsonlLog,
    judges: Judges | None = None,
    embed: Embed | None = None,
    controls: bool = False,
) -> dict[str, Any]:
    """Results by suite and system, of refusals, of confidence and, with `judges`, of what is spoken.

    `embed`: for the MiniLM row. `controls`: also the same LLM with random weights.

    Raises:
        UniAudioError: a model cannot be loaded, or the log cannot be written.
    """
    direct = _answers(DIRECT, speaker.answerer, suites, log)
    rows = {PRODUCT: _thought_about(speaker, direct, log), DIRECT: direct}
    if embed is not None:
        rows[MINILM] = {name: _nearest(speaker, suite, embed) for name, suite in suites.items() if name != REFUSALS}
    if controls:
        questions = {name: suite for name, suite in suites.items() if name != REFUSALS}
        rows[RANDOM] = _answers(RANDOM, _random(speaker), questions, log)
    found: dict[str, Any] = {
        "suites": {name: _cell(suites[name], name, rows, speaker) for name in suites if name != REFUSALS},
        "chance": 1 / max(1, len(speaker.texts)),
        "refused": _rate([row["answer"] is None for row in rows[PRODUCT][REFUSALS]]),
        "confidence": _confidence(rows[PRODUCT], suites, speaker),
        "answers": rows[PRODUCT],
    }
    if judges is not None:
        spoken = {text: log.once(f"spoken {text}", partial(_spoken, speaker, text, judges)) for text in speaker.texts}
        found["speech"] = _speech(spoken, rows[PRODUCT], suites, speaker)
    return found


def _answers(
    system: str, answerer: Answerer, suites: Mapping[str, Suite], log: JsonlLog
) -> dict[str, list[dict[str, Any]]]:
    """Per suite, what `_ask` gives of every text, without thoughts."""
    return {
        name: [log.once(f"{system} {text}", partial(_ask, answerer, text, False)) for text in _texts(suite)]
        for name, suite in suites.items()
    }


def _thought_about(
    speaker: Speaker, direct: Mapping[str, Sequence[dict[str, Any]]], log: JsonlLog
) -> dict[str, list[dict[str, Any]]]:
    """The product's answers: those without thoughts, where it does not think."""

    def final(row: dict[str, Any]) -> dict[str, Any]:
        if row["answer"] is None or not row["written"]:
            return row
        if not speaker.answerer.thinks_about(row["text"], row["probability"]):
            return row
        return log.once(f"{PRODUCT} {row['text']}", partial(_ask, speaker.answerer, row["text"], True))

    return {name: [final(row) for row in rows] for name, rows in direct.items()}


def _ask(answerer: Answerer, text: str, think: bool) -> dict[str, Any]:
    """{"text", "answer", "probability", "written", "thought"}; "answer" is None where it is refused."""
    try:
        answer = answerer.answer(text, think)
    except UsageError:
        return {"text": text, "answer": None}
    said = {"answer": answer.text, "probability": round(answer.probability, 4), "written": answer.written}
    return {"text": text, **said, "thought": answer.thought}


def _texts(suite: Suite) -> tuple[str, ...]:
    return (*suite.questions, *suite.texts)


def _random(speaker: Speaker) -> Answerer:
    lm, tokenizer = speaker.models.text_model()
    twin = random_lm(lm)
    return Answerer(lambda: (twin, tokenizer), speaker.readings, speaker.task.qa_examples, refused_below=0.0)


def _nearest(speaker: Speaker, suite: Suite, embed: Embed) -> list[dict[str, Any]]:
    """The demonstrated text whose embedding is nearest to the question's."""
    questions, texts = list(suite.questions), list(speaker.texts)
    nearest = (embed(questions) @ embed(texts).T).argmax(axis=1)
    return [{"text": text, "answer": texts[place]} for text, place in zip(questions, nearest, strict=True)]


def _right(rows: Sequence[Mapping[str, Any]], suite: Suite, speaker: Speaker) -> list[bool]:
    wanted = [speaker.readings.number(str(number)) for number in suite.questions.values()]
    return [parts is not None and row["answer"] == " ".join(parts) for row, parts in zip(rows, wanted, strict=True)]


def _cell(suite: Suite, name: str, rows: Mapping[str, Mapping[str, Any]], speaker: Speaker) -> dict[str, Any]:
    return {system: _rate(_right(found[name], suite, speaker)) for system, found in rows.items()}


def _confidence(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], suites: Mapping[str, Suite], speaker: Speaker
) -> dict[str, Any]:
    """How many answers are right that are confident, and that are not."""
    marked = [
        (row.get("probability", 0.0) >= speaker.task.doubtful_below, right)
        for name, suite in suites.items()
        if name != REFUSALS
        for row, right in zip(rows[name], _right(rows[name], suite, speaker), strict=True)
    ]
    groups = {"confident": True, "not confident": False}
    parts = {name: [right for sure, right in marked if sure is kept] for name, kept in groups.items()}
    return {name: _rate(rights) for name, rights in parts.items() if rights}


def _spoken(speaker: Speaker, text: str, judges: Judges) -> dict[str, Any]:
    """What judges find in a text as it is spoken, and in its demonstration through the codec."""
    examples = speaker.examples_for(text)
    codes = [examples[0].clip.codes[level] for level in speaker.task.levels]
    wavs = {PRODUCT: speaker.speak(text).wav, "copy": speaker.encoder.decode(codes, speaker.seed)}
    return {
        name: {
            "free": judges.free(wav) == text,
            "closed": judges.closed(wav) == text,
            "dnsmos": round(judges.rate(wav), 4),
        }
        for name, wav in wavs.items()
    }


def _speech(
    spoken: Mapping[str, Mapping[str, Any]],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    suites: Mapping[str, Suite],
    speaker: Speaker,
) -> dict[str, Any]:
    """Literal texts by each judge, and questions that are right by text and in what is recognised.

    An answer's audio depends on its texts alone, so each text is generated and judged once.
    """
    literal: dict[str, Any] = {}
    for system in (PRODUCT, "copy"):
        judged = [each[system] for each in spoken.values()]
        literal[system] = {judge: _rate([each[judge] for each in judged]) for judge in ("free", "closed")}
        value, half = mean([each["dnsmos"] for each in judged])
        literal[system]["dnsmos"] = {
            "value": round(value, 3),
            "low": round(value - half, 3),
            "high": round(value + half, 3),
        }
    questions = {}
    for name, suite in suites.items():
        if name == REFUSALS:
            continue
        rights = _right(rows[name], suite, speaker)
        parts = [speaker.readings.read(row["answer"]) if row["answer"] else () for row in rows[name]]
        questions[name] = {
            judge: _rate(
                [
                    right and all(spoken[part][PRODUCT][judge] for part in said or ())
                    for right, said in zip(rights, parts, strict=True)
                ]
            )
            for judge in ("free", "closed")
        }
    return {"literal": literal, "questions": questions}


def _rate(rights: Sequence[bool]) -> dict[str, Any]:
    found: Interval = accuracy(list(rights))
    return {
        "right": int(sum(rights)),
        "n": found.n,
        "value": round(found.value, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
    }
