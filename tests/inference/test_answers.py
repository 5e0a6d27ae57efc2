"""Answers in text, with stand-ins and a random LLM."""

from __future__ import annotations

import pytest
import torch

from tests.small_lms import RuleLM, tiny_llama
from tests.small_tokenizers import byte_bpe, sentencepiece
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.answers import Answerer
from uniaudio_cli.inference.readings import Readings
from uniaudio_cli.llm.model import LanguageModel

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EXAMPLES = (("1 + 4", ("5", "five")), ("up or down?", ("up",)), ("good evening", ("none",)))
CONTEXT = "Question: 1 + 4\nAnswer: 5\nQuestion: good evening\nAnswer: none\n"


def writing(tokenizer, text: str) -> RuleLM:
    """An LLM that writes `text` and a line end after every prompt, with 14 nats more than all else."""
    ids = [*tokenizer.word_ids(text), tokenizer.encode("a\n")[-1]]
    start = tokenizer.encode("x\nAnswer:")[-1]

    def rule(context):
        logits = torch.zeros(tokenizer.size)
        last = max(place for place, each in enumerate(context) if each == start)
        logits[ids[min(len(context) - 1 - last, len(ids) - 1)]] = 14.0
        return logits

    return RuleLM(rule)


@pytest.mark.parametrize("make", [byte_bpe, sentencepiece])
@pytest.mark.parametrize(
    ("written", "parts"),
    [("5", "five"), ("42", "four two"), ("4 2", "four two"), ("0", "zero"), ("1 2 3 4", "one two three four")],
)
def test_what_the_llm_writes_is_read_in_the_demonstrations_words(make, written, parts):
    tokenizer = make()
    lm = writing(tokenizer, written)
    answerer = Answerer(lambda: (lm, tokenizer), Readings(DIGITS), EXAMPLES)
    answer = answerer.answer("what is it?")
    assert (answer.parts, answer.text, answer.written) == (tuple(parts.split()), parts, written)
    assert 0.5 < answer.probability < 1
    start = [*tokenizer.start_ids, *tokenizer.encode(CONTEXT)]
    assert lm.contexts[0] == tuple(start)
    assert lm.contexts[1] == (*tokenizer.start_ids, *tokenizer.encode(f"{CONTEXT}Question: what is it?\nAnswer:"))
    before = len(lm.contexts)
    answerer.answer("and\n  now?")
    assert tuple(start) not in lm.contexts[before:]  # the worked examples are read once
    assert answerer.prompt("and\n now?").endswith("Question: and now?\nAnswer:")


def test_none_is_refused_with_what_can_be_said():
    tokenizer = byte_bpe()
    answerer = Answerer(lambda: (writing(tokenizer, "none"), tokenizer), Readings(DIGITS), EXAMPLES)
    with pytest.raises(UsageError, match=r"^'hello world': cannot be .* demonstrated: zero, .*, nine$"):
        answerer.answer("hello world")
    many = Readings([f"word{'a' * n}" for n in range(1, 31)])
    with pytest.raises(UsageError, match=r"and 10 more$"):
        Answerer(lambda: (writing(tokenizer, "none"), tokenizer), many, EXAMPLES).answer("hello world")


def test_without_an_example_of_none_every_question_is_answered():
    tokenizer = byte_bpe()
    answerer = Answerer(lambda: (writing(tokenizer, "none"), tokenizer), Readings(DIGITS), EXAMPLES[:2])
    answer = answerer.answer("hello world")
    assert set(answer.parts) <= set(DIGITS)
    assert answer.probability < 0.01


def test_a_random_llm_answers_with_what_can_be_said_and_the_product_of_its_probabilities():
    tokenizer, texts = byte_bpe(), ("up", "down", "seven", "forty two")
    lm = LanguageModel(tiny_llama(tokenizer.size), "tiny")
    answerer = Answerer(lambda: (lm, tokenizer), Readings(texts), EXAMPLES[:2])
    answer = answerer.answer("which way?")
    assert set(answer.parts) <= set(texts)
    prompt = answerer.prompt("which way?")
    assert prompt.startswith(
        "Question: up\nAnswer: up\nQuestion: down\nAnswer: down\nQuestion: up or down?\nAnswer: up\n"
    )
    ids = tokenizer.encode(prompt)
    answer_ids = tokenizer.encode(f"{prompt} {answer.written}\n")[len(ids) :]
    logp = lm.model(torch.tensor([[*ids, *answer_ids]])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
    expected = logp.gather(1, torch.tensor(answer_ids)[:, None]).sum().exp()
    assert answer.probability == pytest.approx(float(expected), rel=1e-3)


def test_a_literal_reading_loads_no_llm():
    answerer = Answerer(lambda: pytest.fail("it is loaded"), Readings(DIGITS), EXAMPLES)
    assert answerer.answer("42").parts == ("four", "two")
    for text in ("-5", "...", "3.5"):
        with pytest.raises(UsageError, match="cannot be said or answered"):
            answerer.answer(text)


REASONING = (("2 + 2 + 2", ("2 + 2 = 4. 4 + 2 = 6.", "6")), ("which way?", ("It is up.", "up")))


def thinking(tokenizer, direct: str, thought: str, after: str) -> RuleLM:
    """An LLM that writes `direct`, or `thought` and then `after`."""
    end = tokenizer.encode("a\n")[-1]

    def rule(context):
        logits = torch.zeros(tokenizer.size)
        lines = tokenizer.decode(list(context)).splitlines()
        begun, _, rest = lines[-1].partition(":")
        wanted = thought if begun == "Thought" else after if lines[-2].startswith("Thought") else direct
        ids = [*tokenizer.word_ids(wanted), end]
        done = len(tokenizer.encode(f"x:{rest}")) - len(tokenizer.encode("x:"))
        logits[ids[min(done, len(ids) - 1)]] = 9.0
        return logits

    return RuleLM(rule)


@pytest.mark.parametrize(
    ("question", "think", "think_below", "thinks"),
    [
        ("what is 5 + 1?", True, 0.0, False),
        ("what is 5 + 1?", True, 1.0, True),
        ("what is 5 + 1?", False, 1.0, False),
        ("what is 5?", True, 1.0, False),
        ("what is it?", True, 1.0, False),
    ],
)
def test_an_unlikely_answer_to_a_sum_is_thought_about(question, think, think_below, thinks):
    tokenizer = byte_bpe()
    lm = thinking(tokenizer, "5", "so it must be six", "6")
    answerer = Answerer(lambda: (lm, tokenizer), Readings(DIGITS), EXAMPLES[:2], REASONING, think_below)
    answer = answerer.answer(question, think)
    assert (answer.text, answer.thought) == (("six", "so it must be six") if thinks else ("five", ""))
    assert answer.probability < 0.01 if thinks else answer.probability > 0.5
    prompts = [tokenizer.decode(list(context)) for context in lm.contexts]
    shown = f"Question: 2 + 2 + 2\nThought: 2 + 2 = 4. 4 + 2 = 6.\nAnswer: 6\nQuestion: {question}\nThought:"
    assert (shown in prompts) is thinks
    assert (f"{shown} so it must be six\nAnswer:" in prompts) is thinks


def test_a_thought_has_an_end():
    tokenizer = byte_bpe()
    lm = thinking(tokenizer, "5", "river " * 200, "6")
    answerer = Answerer(lambda: (lm, tokenizer), Readings(DIGITS), EXAMPLES[:2], REASONING)
    answer = answerer.answer("what is 5 + 1?")
    assert len(tokenizer.word_ids(answer.thought)) == 64
    assert answer.text == "six"


def test_without_worked_thoughts_nothing_is_thought_about():
    tokenizer = byte_bpe()
    answerer = Answerer(lambda: (writing(tokenizer, "5"), tokenizer), Readings(DIGITS), EXAMPLES[:2])
    assert answerer.answer("what is 5 + 1?").thought == ""
