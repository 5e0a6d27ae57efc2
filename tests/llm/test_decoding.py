from __future__ import annotations

import random
from functools import cache

import pytest
import torch

from tests.factories import codec_in_words, small_codec
from tests.small_lms import RuleLM, noise_rule, tiny_llama
from tests.small_tokenizers import WORDS, byte_bpe
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.constraints import GRAMMARS, AudioGrammar, Trie
from uniaudio_cli.llm.decoding import generate, generate_scored
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.llm.ngram import NgramCache
from uniaudio_cli.prompting.vocabulary import Vocabulary, vocabulary_for

STRIDES = (4, 2, 1)
END = (7,)
STARTS = (("river", "stone"), ("cloud", "paper"), ("garden", "window"))


@cache
def parts(kind: str) -> tuple[Codec, Vocabulary]:
    """Level 0 in words and the others in bare ids; or all in words of one to four ids that say their own level."""
    if kind == "bare":
        codec = small_codec(tuple(WORDS), vocab=byte_bpe().size)
    else:
        codec = codec_in_words(*([word for word in WORDS if word.startswith(starts)] for starts in STARTS))
    return codec, vocabulary_for(codec.config, byte_bpe())


def audio_grammar(
    kind: str, least: int, most: int, levels: int = 3, end: tuple[int, ...] = END, layout: str = "flattened"
) -> AudioGrammar:
    codes = [parts(kind)[1].code_ids(level) for level in range(levels)]
    return GRAMMARS[layout](codes, STRIDES[:levels], least, most, end)


def labels() -> Trie:
    return Trie([byte_bpe().encode(word + "\n") for word in WORDS])


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel(tiny_llama(byte_bpe().size, context=256), "tiny")


def naive(lm: LanguageModel, context, grammar) -> list[int]:
    """The likeliest allowed id, one at a time, the whole row read anew for each."""
    state, written = grammar.start(), []  # type: ignore[var-annotated]
    while allowed := grammar.allowed(state):
        logits = lm.model(torch.tensor([[*context, *written]])).logits[0, -1]
        masked = torch.full_like(logits, float("-inf"))
        masked[list(allowed)] = logits[list(allowed)]
        written.append(int(masked.argmax()))
        state = grammar.advance(state, written[-1])
    return written


@pytest.mark.parametrize(
    ("make", "different"),
    [
        (lambda: audio_grammar("bare", 3, 3), 4),
        (lambda: audio_grammar("spelt", 1, 5), 4),
        (lambda: audio_grammar("spelt", 2, 9, levels=1, end=(7, 8)), 4),
        (labels, 2),
        (lambda: Trie([[5, 6, 7]]), 1),
        (lambda: Trie([[5, 6, 1, 2], [5, 6, 3]]), 2),
    ],
    ids=["fixed length", "free length", "one level", "labels", "one label", "forced, then a choice"],
)
def test_greedy_is_what_a_naive_loop_writes(lm, make, different):
    grammar, draw, written = make(), random.Random(0), set()
    for length in (1, 2, 9, 30):
        context = [draw.randrange(byte_bpe().size) for _ in range(length)]
        prefix = lm.prefill([context])
        (found,) = generate(lm, prefix, grammar)
        assert found == naive(lm, context, grammar)
        assert [found] == generate(lm, prefix, grammar, seed=1)
        written.add(tuple(found))
    assert len(written) >= different


def test_sampling_is_seeded(lm):
    grammar = audio_grammar("bare", 2, 2)
    prefix = lm.prefill([[1, 2, 3]])
    before = torch.random.get_rng_state()
    found = [generate(lm, prefix, grammar, temperature=1.0, seed=seed)[0] for seed in (0, 1, 2, 0)]
    assert found[0] == found[3]
    assert len(set(map(tuple, found))) == 3
    assert torch.equal(torch.random.get_rng_state(), before)
    assert generate(lm, prefix, grammar, temperature=1e-4, seed=0) == generate(lm, prefix, grammar)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("make", [lambda: audio_grammar("bare", 3, 3), lambda: audio_grammar("spelt", 1, 5), labels])
def test_rows_written_together_are_those_written_alone(lm, make, temperature):
    grammar = make()
    contexts = [[1, 2, 3, 4], [9, 8, 7, 6], [5, 5, 5, 5]]
    together = generate(lm, lm.prefill(contexts), grammar, temperature)
    assert together == [generate(lm, lm.prefill([context]), grammar, temperature)[0] for context in contexts]
    begun = lm.prefill([[1, 2]])
    assert generate(lm, lm.continue_with(begun, [[3, 4], [6], [7, 8, 9]]), grammar, temperature) == [
        generate(lm, lm.prefill([row]), grammar, temperature)[0] for row in ([1, 2, 3, 4], [1, 2, 6], [1, 2, 7, 8, 9])
    ]


def test_the_least_likely_ids_are_not_drawn():
    stub = RuleLM(lambda ids: torch.tensor([0.5, 0.3, 0.15, 0.05]).log())
    prefix, grammar = stub.prefill([[0]]), Trie([[0], [1], [2], [3]])
    for top_p, kept in ((0.4, {0}), (0.5, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        drawn = {generate(stub, prefix, grammar, 1.0, seed, top_p)[0][0] for seed in range(300)}
        assert drawn == kept


def test_a_temperature_shapes_the_probabilities():
    stub = RuleLM(lambda ids: torch.tensor([0.0, 1.0, 2.0, 50.0]))
    prefix, grammar = stub.prefill([[0]]), Trie([[0], [1], [2]])
    for temperature in (0.5, 2.0):
        drawn = [generate(stub, prefix, grammar, temperature, seed)[0][0] for seed in range(2000)]
        expected = (torch.tensor([0.0, 1.0, 2.0]) / temperature).softmax(0)
        shares = torch.bincount(torch.tensor(drawn), minlength=3) / len(drawn)
        torch.testing.assert_close(shares, expected, atol=0.04, rtol=0)


def test_forced_ids_need_no_forward_pass():
    stub = RuleLM(lambda ids: torch.arange(10.0))
    grammar = Trie([[1, 2, 3, 4, 6, 9], [1, 2, 3, 5, 6, 9]])
    assert generate(stub, stub.prefill([[0]]), grammar) == [[1, 2, 3, 5, 6, 9]]
    assert stub.contexts == [(0,), (0, 1, 2, 3)]


def test_a_full_context_ends_in_an_error(lm):
    grammar = audio_grammar("bare", 4, 4)
    with pytest.raises(UsageError, match="more than the 256 ids"):
        generate(lm, lm.prefill([[1] * 250]), grammar)


def test_a_cache_has_as_much_of_a_say_as_the_llm():
    """What is written is the likeliest by the mean of both, whoever of the two is surer."""
    grammar, cache = Trie([[a, b] for a in range(3) for b in range(3)]), NgramCache([[1, 2]], range(3))
    for sure, written in ((0.0, [1, 2]), (1.0, [1, 2]), (9.0, [0, 0])):
        stub = RuleLM(lambda ids, sure=sure: torch.tensor([sure, 0.0, 0.0]))
        assert generate(stub, stub.prefill([[0]]), grammar, ngram=cache) == [written]
    stub = RuleLM(lambda ids: torch.tensor([0.0, 2.0, 1.0]))
    drawn = [tuple(generate(stub, stub.prefill([[0]]), grammar, 1.0, seed, ngram=cache)[0]) for seed in range(2000)]
    mean = (torch.tensor([0.0, 2.0, 1.0]).double().log_softmax(0) + cache.next([], (0, 1, 2))) / 2
    shares = torch.bincount(torch.tensor([first for first, _ in drawn]), minlength=3) / len(drawn)
    torch.testing.assert_close(shares.double(), mean.softmax(0), atol=0.04, rtol=0)


@pytest.mark.parametrize("layout", ["flattened", "interleaved"])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("kind", ["bare", "spelt"])
def test_whatever_the_logits_it_is_audio(kind, temperature, layout):
    """450 generations in all; benchmarks/random_logits.py makes 10,000."""
    codec, vocabulary = parts(kind)
    if (kind, layout) == ("bare", "interleaved"):
        pytest.skip("the words go on with bare ids, so these levels cannot be written frame by frame")
    stub = RuleLM(noise_rule(byte_bpe().size))
    prefix, draw, lengths = stub.prefill([[0]]), random.Random(1), set()
    for seed in range(50):
        count = draw.randint(1, 3)
        least, most = (count, count) if kind == "bare" else (1, count)
        grammar, among = (
            audio_grammar(kind, least, most, layout=layout),
            sorted({*vocabulary.audio_ids((0, 1, 2)), *END}),
        )
        cache = NgramCache([draw.sample(among, 9)], among) if seed % 2 else None
        (ids,) = generate(stub, prefix, grammar, temperature, seed, 0.9, cache)
        assert ids[-1:] == [*END]
        codes = vocabulary.codes(ids[:-1], frames=4 * count if kind == "bare" else None, layout=layout)
        wav = codec.decode([torch.tensor([row]) for row in codes])
        assert wav.shape == (1, 1, 4 * len(codes[0]) * codec.hop_length)
        assert wav.isfinite().all()
        lengths.add(len(codes[0]))
    assert lengths == {1, 2, 3}


def test_a_scored_answer_is_the_greedy_one_with_its_probability_among_all_ids(lm):
    for context in ([3, 4, 5], [9, 8]):
        prefix = lm.prefill([context])
        ids, total = generate_scored(lm, prefix, labels())
        assert [ids] == generate(lm, prefix, labels())
        assert total == pytest.approx(float(lm.score(prefix, [ids])[0][0].sum()), abs=1e-3)
        assert lm.prefill([context]).mask.shape == prefix.mask.shape
