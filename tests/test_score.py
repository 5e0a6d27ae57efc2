from __future__ import annotations

import math
import random

import pytest
import torch

from tests.small_lms import RuleLM, bigram_rule, tiny_llama
from tests.small_tokenizers import byte_bpe
from uniaudio_cli.lm import LanguageModel
from uniaudio_cli.score import LabelReadout, LikelihoodReadout, normalised

LABELS = ["up", "upper", "upper left", "down", "dog barking", "dog"]
VOCAB = 12


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel(tiny_llama(byte_bpe().size, context=128), "tiny")


def answers(labels=LABELS) -> dict[str, list[int]]:
    return {label: byte_bpe().encode(f" {label}\n") for label in labels}


def test_labels_have_the_probabilities_of_their_whole_ids(lm):
    context, query = [1, 2, 3, 4], [9, 8, 7]
    found = LabelReadout(lm, lm.prefill([context]), answers())(query)
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
    every, some = (LabelReadout(lm, prefix, answers(kept))([5, 6]) for kept in (LABELS, labels))
    assert sum(map(math.exp, some.values())) == pytest.approx(1)
    assert some == pytest.approx(normalised({label: every[label] for label in labels}), abs=1e-4)


def test_the_end_marker_decides_between_a_label_and_one_it_begins():
    up, per, end = 1, 2, 3

    def rule(likely_after_up: int):
        follows = {up: likely_after_up, per: end}
        return lambda ids: torch.tensor([9.0 * (id == follows.get(ids[-1], up)) for id in range(VOCAB)])

    for likely, expected in ((end, "up"), (per, "upper")):
        stub = RuleLM(rule(likely))
        found = LabelReadout(stub, stub.prefill([[0]]), {"up": [up, end], "upper": [up, per, end]})([9])
        assert max(found, key=found.get) == expected


def test_queries_do_not_touch_each_other(lm):
    readout = LabelReadout(lm, lm.prefill([[1, 2, 3]]), answers())
    first = readout([5, 6])
    readout([8, 9, 10, 11])
    assert readout([5, 6]) == first
    listener = LikelihoodReadout(lm, lm.prefill([[1, 2], [3, 4, 5]]), ["a", "b"], range(4, 20))
    heard = listener([5, 6])
    listener([8, 9, 10, 11])
    assert listener([5, 6]) == heard
    assert sum(map(math.exp, heard.values())) == pytest.approx(1)


def test_the_class_whose_demonstrations_repeat_the_query_is_heard():
    draw = random.Random(0)
    patterns = {"dog": [1, 2, 3, 4], "cat": [4, 3, 2, 1], "rain": [1, 3, 1, 4]}
    contexts = [[0, *pattern * draw.randint(2, 5)] for pattern in patterns.values()]
    stub = RuleLM(bigram_rule(VOCAB))
    readout = LikelihoodReadout(stub, stub.prefill(contexts), list(patterns), audio_ids=[1, 2, 3, 4])
    for label, pattern in patterns.items():
        start = draw.randrange(4)
        found = readout((pattern * 3)[start : start + 7])
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
    contexts = stub.prefill([[1], [2]])
    among = LikelihoodReadout(stub, contexts, ["noisy", "clear"], [2, 3, 4])([3])
    assert max(among, key=among.get) == "noisy"
    overall = LikelihoodReadout(stub, contexts, ["noisy", "clear"], range(VOCAB))([3])
    assert max(overall, key=overall.get) == "clear"


def test_the_two_ways_agree_with_the_llm_that_is_asked(lm):
    """One label each: the likelihood of the query after every context, by one forward pass a row."""
    contexts, query, among = [[1, 2, 3], [4, 5]], [20, 30, 20, 25], range(20, 40)
    found = LikelihoodReadout(lm, lm.prefill(contexts), ["a", "b"], among)(query)
    scores = []
    for context in contexts:
        logits = lm.model(torch.tensor([context + query])).logits[0, len(context) - 1 : -1, 20:40]
        scores.append(float(logits.log_softmax(-1).gather(1, torch.tensor(query)[:, None] - 20).sum()))
    assert found["a"] - found["b"] == pytest.approx(scores[0] - scores[1], abs=1e-4)


@pytest.mark.parametrize("scores", [{"a": -1.0}, {"a": -1e4, "b": -1e4 - 1}, {"a": 0.0, "b": -1e6, "c": -3.0}])
def test_normalised(scores):
    found = normalised(scores)
    assert sum(map(math.exp, found.values())) == pytest.approx(1)
    assert max(found, key=found.get) == "a"
    for label, logp in found.items():
        assert logp - found["a"] == pytest.approx(scores[label] - scores["a"])
