from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_tokenizers import STEMS, WORDS, byte_bpe, random_codes, sentencepiece, smollm2
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.prompting.vocabulary import InvalidCodesError, Vocabulary, vocabulary_for

STRIDES = (4, 2, 1)


def config(words, sizes, strides=STRIDES) -> CodecConfig:
    return CodecConfig(
        architecture="published",
        sample_rate=16000,
        hop_length=480,
        strides=tuple(strides),
        sizes=tuple(sizes),
        embedding_dim=24,
        latent_dim=64,
        words=tuple(words),
        llm="LLaMA-2",
    )


def published() -> Vocabulary:
    """As published: words of one or two pieces, then ids as they stand."""
    return vocabulary_for(config([tuple(WORDS), None, None], [len(WORDS), 32000, 32000]), sentencepiece())


def bare_bpe() -> Vocabulary:
    tokenizer = byte_bpe()
    return vocabulary_for(config([tuple(WORDS), None, None], [len(WORDS), tokenizer.size, tokenizer.size]), tokenizer)


def in_words(tokenizer, words) -> Vocabulary:
    """As our own codecs: every level in words of its own."""
    parts = [words[0::3], words[1::3], words[2::3]]
    return vocabulary_for(config([tuple(part) for part in parts], [len(part) for part in parts]), tokenizer)


VOCABULARIES = {
    "published": published,
    "byte BPE, words and bare ids": bare_bpe,
    "byte BPE, words of one id": lambda: in_words(byte_bpe(), STEMS),
    "byte BPE, words of one to three ids": lambda: in_words(byte_bpe(), WORDS),
    "SentencePiece, words of one or two ids": lambda: in_words(sentencepiece(), WORDS),
    "SmolLM2": lambda: in_words(smollm2(), WORDS),
}


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_codes_round_trip(kind):
    vocabulary = VOCABULARIES[kind]()
    draw = random.Random(0)
    for _ in range(200):
        codes = random_codes(draw, vocabulary.sizes, STRIDES)
        levels = sorted(draw.sample(range(3), draw.randint(1, 3)))
        shown = [codes[k] for k in levels]
        ids = vocabulary.ids(shown, levels)
        assert vocabulary.codes(ids, frames=len(codes[0]) * 4, levels=levels) == shown
        if vocabulary.disjoint or len(levels) == 1:
            assert vocabulary.codes(ids, levels=levels) == shown


@pytest.fixture(scope="module", params=VOCABULARIES)
def vocabulary(request) -> Vocabulary:
    return VOCABULARIES[request.param]()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_codes_of_any_levels_round_trip_in_both_layouts(vocabulary, data):
    levels = data.draw(st.lists(st.sampled_from([0, 1, 2]), min_size=1, unique=True).map(sorted))
    frames = 4 * data.draw(st.integers(1, 6))
    codes = [
        data.draw(st.lists(st.integers(0, vocabulary.sizes[k] - 1), min_size=n, max_size=n))
        for k, n in zip(levels, vocabulary.counts(frames, levels), strict=True)
    ]
    assert vocabulary.codes(vocabulary.ids(codes, levels), frames, levels) == codes
    if vocabulary.can_interleave(levels):
        ids = vocabulary.ids(codes, levels, "interleaved")
        assert vocabulary.codes(ids, frames, levels, "interleaved") == codes
        assert vocabulary.codes(ids, levels=levels, layout="interleaved") == codes
    else:
        with pytest.raises(UsageError, match="cannot be interleaved"):
            vocabulary.ids(codes, levels, "interleaved")


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_damaged_ids_are_refused_or_are_the_ids_of_other_codes(kind):
    vocabulary = VOCABULARIES[kind]()
    draw = random.Random(1)
    for _ in range(200):
        codes = random_codes(draw, vocabulary.sizes, STRIDES)
        ids, frames = vocabulary.ids(codes), len(codes[0]) * 4
        place = draw.randrange(len(ids))
        damaged = draw.choice([ids[:place], ids[:place] + ids[place + 1 :], [*ids, ids[place]], [*ids[:place], 10**6]])
        try:
            read = vocabulary.codes(damaged, frames=frames)
        except InvalidCodesError:
            continue
        assert vocabulary.ids(read) == damaged


def test_a_word_that_begins_another_at_the_end_of_its_level():
    # "river" before the id of "stone", as "riverstone" has it: only the number of frames says which of the two it is.
    vocabulary = published()
    river, riverstone = WORDS.index("river"), WORDS.index("riverstone")
    _, stone = vocabulary.code_ids(0)[riverstone]
    for codes in ([[river], [stone, 5], [7, 7, 7, 7]], [[riverstone], [5, 5], [7, 7, 7, 7]]):
        assert vocabulary.codes(vocabulary.ids(codes), frames=4) == codes
    assert vocabulary.ids([[river], [stone, 5], [7, 7, 7, 7]])[:2] == vocabulary.ids([[riverstone]], [0])


def test_only_disjoint_levels_are_read_without_frames():
    assert in_words(byte_bpe(), STEMS).disjoint
    assert not published().disjoint
    vocabulary = published()
    with pytest.raises(InvalidCodesError, match="share ids"):
        vocabulary.codes(vocabulary.ids([[1], [2, 3], [4, 5, 6, 7]]))


def test_words_and_order():
    vocabulary = in_words(byte_bpe(), STEMS)
    assert vocabulary.words([[0], [0, 1]], [0, 1]) == [["river"], ["stone", "garden"]]
    assert vocabulary.word(2, 0) == "cloud"
    assert vocabulary.tokenizer.decode(vocabulary.ids([[0], [0, 1]], [0, 1])) == " river stone garden"
    assert vocabulary.counts(8) == [2, 4, 8]
    assert vocabulary.counts(8, [0, 2]) == [2, 8]


def test_a_bare_level_is_read_in_the_spelling_of_the_llm():
    assert published().words([[7782]], [1]) == [["▁river"]]
    assert published().code_ids(1)[7782] == (7782,)


def test_tensors_and_arrays_are_codes_and_ids_too():
    vocabulary = in_words(byte_bpe(), STEMS)
    plain = vocabulary.ids([[1], [2, 3]], [0, 1])
    assert vocabulary.ids([torch.tensor([1]), np.array([2, 3])], [0, 1]) == plain
    assert vocabulary.codes(torch.tensor(plain), frames=4, levels=(0, 1)) == [[1], [2, 3]]


@pytest.mark.parametrize(
    ("codes", "levels", "message"),
    [
        ([[0]], None, "1 rows of codes"),
        ([[0], [0]], [0, 1], "do not fit the strides"),
        ([[]], [0], "do not fit the strides"),
        ([[99]], [0], "codes 0 to 4, not 99"),
        ([[-1]], [0], "not -1"),
    ],
)
def test_codes_outside_the_vocabulary(codes, levels, message):
    with pytest.raises(InvalidCodesError, match=message) as caught:
        in_words(byte_bpe(), STEMS).ids(codes, levels)
    assert isinstance(caught.value, UniAudioError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("levels", [[], [3], [-2], [0, -1], [1, 0], [0, 0]])
def test_levels_outside_the_vocabulary(levels):
    with pytest.raises(UsageError, match="levels"):
        in_words(byte_bpe(), STEMS).ids([[0]] * len(levels), levels)


@pytest.mark.parametrize(
    ("ids", "frames", "message"),
    [
        ([], None, "do not fit"),
        ([], 4, "0 ids are too few"),
        ([0], None, "id 0 .* is not of levels 0, 1"),
        ([0, 0, 0], 4, "begins no word of level 0"),
        ([10**6] * 3, 4, "id 1000000 at position 1 of 3"),
        ("river stone", None, "do not fit the strides"),
        ("stone river", None, "is not of levels"),
        ("river stone garden mirror", 4, "one too many"),
        ("river stone", 4, "2 ids are too few: level"),
        ("river stone garden", 5, "5 frames"),
        ("river stone garden", 0, "0 frames"),
    ],
)
def test_ids_that_are_not_audio(ids, frames, message):
    vocabulary = in_words(byte_bpe(), STEMS)
    if isinstance(ids, str):
        ids = vocabulary.tokenizer.encode(" " + ids)
    with pytest.raises(InvalidCodesError, match=message):
        vocabulary.codes(ids, frames, [0, 1])


class Lettered:
    """A tokenizer whose ids are the codes of letters; "?" cannot be written."""

    bos_id = eos_id = None
    size = 200

    def encode(self, text):
        return [0 if letter == "?" else ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(chr(id) if id else "<unk>" for id in ids)

    def token(self, id):
        return chr(id)

    def word_ids(self, word):
        return tuple(self.encode(word.lower() if word == "Loud" else word))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (["b?"], "cannot write 'b\\?'"),
        (["Loud"], "cannot write 'Loud'"),
        ([""], "cannot write ''"),
        (["do", "door", "or"], "'door' cannot be told apart from 'do' and another word"),
        (["do", "dor", "dog", "gr"], "'dog' cannot be told apart from 'do'"),
    ],
)
def test_words_that_cannot_be_read_back(levels, message):
    with pytest.raises(UsageError, match=message):
        Vocabulary([levels], [len(levels)], [1], Lettered())


def test_two_words_with_the_same_ids():
    class Merging(Lettered):
        def word_ids(self, word):
            return (1,)

        def decode(self, ids):
            return self.spellings.pop(0)

    tokenizer = Merging()
    tokenizer.spellings = ["see", "sea"]
    with pytest.raises(UsageError, match="'see' and 'sea' have the same ids"):
        Vocabulary([["see", "sea"]], [2], [1], tokenizer)


def test_the_end_of_a_level_must_be_found():
    # "do" then "rx", or "dor" then "x..."; fine where the later level has one id per code, as the total then says it.
    with pytest.raises(UsageError, match="'r' both ends a longer word"):
        Vocabulary([["do", "dor"], ["rx", "y"]], [2, 2], [2, 1], Lettered())
    vocabulary = Vocabulary([["do", "dor"], ["r", "y"]], [2, 2], [2, 1], Lettered())
    assert not vocabulary.disjoint
    for codes in ([[0], [0, 1]], [[1], [1, 1]]):
        assert vocabulary.codes(vocabulary.ids(codes), frames=2) == codes


def test_a_word_listed_twice_is_read_as_the_first():
    vocabulary = Vocabulary([["cat", "dog", "cat"]], [3], [1], Lettered())
    assert vocabulary.codes(vocabulary.ids([[2, 1]])) == [[0, 1]]


def test_soft_logprobs_are_of_ids():
    """Each code's probability goes to its id; a word listed twice gets the sum."""
    words = in_words(byte_bpe(), STEMS)
    chances = torch.rand(5, words.sizes[1]).log_softmax(1)
    found = words.soft_logprobs(1, chances)
    assert found.exp().sum(1).tolist() == pytest.approx([1] * 5)
    order = words.audio_ids((1,))
    for code, (id,) in enumerate(words.code_ids(1)):
        assert torch.allclose(found[:, order.index(id)], chances[:, code], atol=1e-5)
    twice = Vocabulary([[STEMS[0], STEMS[1], STEMS[0]]], [3], [1], byte_bpe())
    (row,) = twice.soft_logprobs(0, torch.tensor([[0.5, 0.2, 0.3]]).log()).exp().tolist()
    assert sorted(row) == pytest.approx([0.2, 0.8])


def test_words_of_several_ids_have_no_soft_logprobs():
    vocabulary = published()
    assert vocabulary.soft_logprobs(0, torch.zeros(1, len(WORDS))) is None


def test_ids_of_another_llm():
    words = [tuple(WORDS), None, None]
    with pytest.raises(UsageError, match=r"level 1's codes are ids .*LLaMA-2.* 320 of them, and this LLM has 32000"):
        vocabulary_for(config(words, [len(WORDS), 320, 320]), sentencepiece())
    # The words themselves are text to any LLM.
    vocabulary = vocabulary_for(config(words, [len(WORDS), 320, 320]), sentencepiece(), levels=[0])
    assert vocabulary.levels == (0,)
    assert vocabulary.codes(vocabulary.ids([[3, 30]])) == [[3, 30]]
    with pytest.raises(UsageError, match="levels \\[1\\]: choose from \\[0\\]"):
        vocabulary.ids([[1]], [1])


def test_words_and_sizes_must_agree():
    with pytest.raises(UsageError, match="level 0 has 3 codes and 2 words"):
        Vocabulary([("river", "stone")], [3], [1], byte_bpe())
