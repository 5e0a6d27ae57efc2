from __future__ import annotations

import math
import random

import pytest
import torch

from tests.small_lms import RuleLM, bigram_rule, tiny_llama
from tests.small_tokenizers import byte_bpe
from uniaudio_cli.inference.scoring import (
    EFFECTIVE_TOKENS,
    ODDS,
    LabelReadout,
    LikelihoodReadout,
    TokenObservation,
    average_logprobs,
    normalised,
    smooth_across_labels,
    temperature,
)
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.llm.ngram import NgramCache


def ask(readout, query: list[int]) -> dict[str, float]:
    """One query, heard once, of one level."""
    (found,) = readout([[[TokenObservation(query)]]])
    return found


LABELS = ["up", "upper", "upper left", "down", "dog barking", "dog"]
VOCAB = 12


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel(tiny_llama(byte_bpe().size, context=128), "tiny")


def answers(labels=LABELS) -> dict[str, list[int]]:
    return {label: byte_bpe().encode(f" {label}\n") for label in labels}


def test_labels_have_the_probabilities_of_their_whole_ids(lm):
    context, query = [1, 2, 3, 4], [9, 8, 7]
    found = ask(LabelReadout(lm, lm.prefill([context]), answers()), query)
    assert list(found) == LABELS
    scores = {}
    for label, ids in answers().items():
        logits = lm.model(torch.tensor([[*context, *query, *ids]])).logits[0, len(context) + len(query) - 1 : -1]
        scores[label] = float(logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).sum())
    total = math.log(sum(map(math.exp, scores.values())))
    assert found == pytest.approx({label: score - total for label, score in scores.items()}, abs=1e-4)
    assert sum(map(math.exp, found.values())) == pytest.approx(1)


@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1], LABELS[1:], LABELS[:1]])
def test_labels_compete_with_each_other_alone(lm, labels):
    prefix = lm.prefill([[1, 2, 3]])
    every, some = (ask(LabelReadout(lm, prefix, answers(kept)), [5, 6]) for kept in (LABELS, labels))
    assert sum(map(math.exp, some.values())) == pytest.approx(1)
    assert some == pytest.approx(normalised({label: every[label] for label in labels}), abs=1e-4)


def test_the_end_marker_decides_between_a_label_and_one_it_begins():
    up, per, end = 1, 2, 3

    def rule(likely_after_up: int):
        follows = {up: likely_after_up, per: end}
        return lambda ids: torch.tensor([9.0 * (id == follows.get(ids[-1], up)) for id in range(VOCAB)])

    for likely, expected in ((end, "up"), (per, "upper")):
        stub = RuleLM(rule(likely))
        found = ask(LabelReadout(stub, stub.prefill([[0]]), {"up": [up, end], "upper": [up, per, end]}), [9])
        assert max(found, key=found.get) == expected


READOUTS = {
    "label": lambda lm: LabelReadout(lm, lm.prefill([[1, 2, 3]]), answers()),
    "likelihood": lambda lm: listener(lm, [[1, 2], [3, 4, 5]], range(4, 20)),
}


def listener(lm, contexts, among, labels=None) -> LikelihoodReadout:
    """Contexts whose clips the cache has not heard: it says the same of every label."""
    labels = labels or list("abcde"[: len(contexts)])
    return LikelihoodReadout(lm, [lm.prefill(contexts)], [deaf(among, len(labels))], labels, [among], [1])


def deaf(among, labels: int) -> list[NgramCache]:
    return [NgramCache([], among)] * labels


@pytest.mark.parametrize("kind", READOUTS)
def test_queries_do_not_touch_each_other(lm, kind):
    readout = READOUTS[kind](lm)
    queries = [
        [[TokenObservation([5, 6]), TokenObservation([6, 7, 8])]],
        [[TokenObservation([8, 9, 10, 11])]],
        [[TokenObservation([7])]],
    ]
    together = readout(queries)
    for query, found in zip(queries, together, strict=True):
        (alone,) = readout([query])
        assert found == pytest.approx(alone, abs=1e-5)
        assert sum(map(math.exp, found.values())) == pytest.approx(1)
    assert readout(queries) == together
    assert readout([]) == []


@pytest.mark.parametrize("kind", READOUTS)
def test_what_was_heard_twice_counts_once(lm, kind):
    readout = READOUTS[kind](lm)
    assert ask(readout, [5, 6]) == pytest.approx(readout([[[TokenObservation([5, 6])] * 2]])[0], abs=1e-5)


def test_levels_are_asked_apart_and_added_up(lm):
    contexts, among = [[[1, 2], [3, 4, 5]], [[6], [7, 8]]], [range(4, 20), range(2, 30)]
    alone = [ask(listener(lm, mine, ids), [5, 6]) for mine, ids in zip(contexts, among, strict=True)]
    caches = [deaf(ids, 2) for ids in among]
    readout = LikelihoodReadout(lm, [*map(lm.prefill, contexts)], caches, ["a", "b"], among, [1, 0.5])
    (both,) = readout([[[TokenObservation([5, 6])], [TokenObservation([5, 6])]]])
    assert both == pytest.approx(normalised({label: alone[0][label] + alone[1][label] / 2 for label in "ab"}), abs=1e-5)


def test_a_long_clip_is_as_sure_as_a_few_words(lm):
    assert temperature(torch.tensor([1.0, EFFECTIVE_TOKENS, 4 * EFFECTIVE_TOKENS])).tolist() == [1, 1, 4]
    readout = READOUTS["likelihood"](lm)
    short, long = (ask(readout, [5, 6, 7] * count) for count in (2, 8))
    assert abs(long["a"] - long["b"]) < EFFECTIVE_TOKENS * math.log(ODDS) > abs(short["a"] - short["b"])


def test_no_single_word_rules_a_label_out():
    few = torch.tensor([[-1.0, -1.0, -200.0], [-3.0, -3.0, -3.0]])
    one, other = smooth_across_labels(few).tolist()
    assert other - one < math.log(ODDS)
    assert smooth_across_labels(torch.tensor([[math.log(0.9)], [-1e4]])).exp().tolist() == pytest.approx(
        [9 / 11, 0.9 / 11]
    )
    assert smooth_across_labels(few[:, :2])[0] > smooth_across_labels(few[:, :2])[1]
    # Where the labels agree, the score is the log-probability itself.
    assert smooth_across_labels(torch.full((4, 3), -2.0)).tolist() == pytest.approx([-6.0] * 4)


def test_the_class_whose_demonstrations_repeat_the_query_is_heard():
    draw = random.Random(0)
    patterns = {"dog": [1, 2, 3, 4], "cat": [4, 3, 2, 1], "rain": [1, 3, 1, 4]}
    contexts = [[0, *pattern * draw.randint(2, 5)] for pattern in patterns.values()]
    stub = RuleLM(bigram_rule(VOCAB))
    readout = listener(stub, contexts, [1, 2, 3, 4], list(patterns))
    for label, pattern in patterns.items():
        start = draw.randrange(4)
        found = ask(readout, (pattern * 3)[start : start + 7])
        assert max(found, key=found.get) == label
        assert sum(map(math.exp, found.values())) == pytest.approx(1)


def test_only_the_ids_of_audio_count():
    # After "noisy" the LLM would rather say 9, which no audio has; among audio it knows what it has heard.
    def rule(ids):
        logits = torch.zeros(VOCAB)
        logits[3] = 2.0 if ids[0] == 1 else 1.0
        logits[9] = 50.0 if ids[0] == 1 else 0.0
        return logits

    stub = RuleLM(rule)
    for among, expected in (([2, 3, 4], "noisy"), (range(VOCAB), "clear")):
        found = ask(listener(stub, [[1], [2]], among, ["noisy", "clear"]), [3])
        assert max(found, key=found.get) == expected


def test_likelihoods_are_those_of_the_llm_that_is_asked(lm):
    """One label each: the likelihood of the query after every context, by one forward pass a row."""
    contexts, query = [[1, 2, 3], [4, 5]], [20, 30, 20, 25]
    found = ask(listener(lm, contexts, range(20, 40)), query)
    scores = []
    for context in contexts:
        logits = lm.model(torch.tensor([context + query])).logits[0, len(context) - 1 : -1, 20:40]
        scores.append(logits.log_softmax(-1).gather(1, torch.tensor(query)[:, None] - 20)[:, 0])
    cache = deaf(range(20, 40), 1)[0].score(query)
    one, other = smooth_across_labels(average_logprobs(torch.stack(scores), cache)).tolist()
    assert found["a"] - found["b"] == pytest.approx(one - other, abs=1e-4)


def test_the_cache_has_as_much_to_say_as_the_llm():
    """A stub that hears no difference leaves it to the cache; where both hear one, that counts as their mean."""
    among, clips = range(2, 8), {"a": [[2, 3]], "b": [[4, 5]]}
    stub = RuleLM(lambda ids: torch.zeros(VOCAB))
    caches = [[NgramCache(heard, among) for heard in clips.values()]]
    readout = LikelihoodReadout(stub, [stub.prefill([[0], [1]])], caches, list(clips), [among], [1])
    assert all(
        max(found, key=found.get) == label
        for label in clips
        for found in readout([[[TokenObservation(clips[label][0])]]])
    )
    llm, cache = torch.tensor([[-1.0, -3.0]]), torch.tensor([[-2.0, -2.0]])
    assert average_logprobs(llm, cache).tolist() == [[-1.5, -2.5]]


def test_a_word_that_was_near_is_given_credit(lm):
    """A frame that was taken for 9 and may as well have been 3 speaks for the label whose context foretells 3."""
    among = range(2, VOCAB)

    def rule(ids):
        logits = torch.zeros(VOCAB)
        logits[3 if ids[0] == 0 else 4] = 5.0
        return logits

    stub = RuleLM(rule)
    readout = listener(stub, [[0], [1]], among, ["three", "four"])
    assert ask(readout, [9])["three"] == pytest.approx(math.log(0.5))
    near = torch.full((1, len(among)), 1e-6)
    near[0, among.index(9)] = near[0, among.index(3)] = 0.5
    (found,) = readout([[[TokenObservation([9], near.log())]]])
    assert found["three"] > math.log(0.6)
    # One that can only have been what it was taken for counts as if nothing were near it.
    alone = torch.full((1, len(among)), -math.inf)
    alone[0, among.index(3)] = 0.0
    assert readout([[[TokenObservation([3], alone)]]])[0] == pytest.approx(ask(readout, [3]), abs=1e-6)


@pytest.mark.parametrize("scores", [{"a": -1.0}, {"a": -1e4, "b": -1e4 - 1}, {"a": 0.0, "b": -1e6, "c": -3.0}])
def test_normalised(scores):
    found = normalised(scores)
    assert sum(map(math.exp, found.values())) == pytest.approx(1)
    assert max(found, key=found.get) == "a"
    for label, logp in found.items():
        assert logp - found["a"] == pytest.approx(scores[label] - scores["a"])
