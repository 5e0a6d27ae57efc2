from __future__ import annotations

import random

import pytest
import torch

from tests.factories import codec_in_words, published_codec, small_codec
from tests.small_tokenizers import STEMS, WORDS, byte_bpe, sentencepiece
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.constraints import (
    GRAMMARS,
    AudioGrammar,
    AudioState,
    Grammar,
    InterleavedGrammar,
    RepeatedTrie,
    Trie,
)
from uniaudio_cli.prompting.vocabulary import Vocabulary, vocabulary_for

END = (7, 8)


def beginning_with(*stems: str) -> tuple[str, ...]:
    return tuple(word for word in WORDS if word.startswith(stems))


def with_bare_levels(make) -> Codec:
    return make(tuple(WORDS), vocab=byte_bpe().size)


# One id a word; one to four ids, most longer words beginning with a shorter one; the same, shared between the levels;
# and levels of ids as they stand, which words go on with too.
DISJOINT = {
    "one id": lambda: codec_in_words(*(tuple(STEMS[level::3]) for level in range(3))),
    "some ids": lambda: codec_in_words(
        beginning_with("river", "stone", "mirror"), beginning_with("cloud", "paper"), beginning_with("garden", "window")
    ),
}
CODECS = {
    **DISJOINT,
    "some shared ids": lambda: codec_in_words(*(tuple(WORDS[level::3]) for level in range(3))),
    "bare ids": lambda: with_bare_levels(small_codec),
    "published": lambda: with_bare_levels(published_codec),
}


@pytest.fixture(scope="module", params=CODECS)
def parts(request) -> tuple[Codec, Vocabulary]:
    codec = CODECS[request.param]()
    return codec, vocabulary_for(codec.config, byte_bpe())


def audio_grammar(
    vocabulary: Vocabulary, least: int, most: int, levels=(0, 1, 2), end=END, layout="flattened"
) -> AudioGrammar:
    codes = [vocabulary.code_ids(level) for level in levels]
    return GRAMMARS[layout](codes, [vocabulary.strides[level] for level in levels], least, most, end)


def walk(grammar: Grammar, draw: random.Random) -> list[int]:
    """Ids chosen at random; half the time among those that a code does not end with, where there are any."""
    state, ids = grammar.start(), []
    while allowed := grammar.allowed(state):
        assert allowed == tuple(sorted(set(allowed)))
        if isinstance(state, AudioState) and draw.random() < 0.5:
            allowed = [id for id in allowed if grammar.advance(state, id).inside] or allowed  # type: ignore[assignment, attr-defined]
        ids.append(draw.choice(allowed))
        state = grammar.advance(state, ids[-1])
    return ids


def accepts(grammar: Grammar, ids) -> bool:
    state = grammar.start()
    for id in ids:
        if id not in grammar.allowed(state):
            return False
        state = grammar.advance(state, id)
    return not grammar.allowed(state)


def random_rows(draw: random.Random, vocabulary: Vocabulary, count: int, levels) -> list[list[int]]:
    coarse = vocabulary.strides[levels[0]]
    return [
        [draw.randrange(vocabulary.sizes[k]) for _ in range(count * coarse // vocabulary.strides[k])] for k in levels
    ]


@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 1), (0, 2), (0,), (1, 2), (2,)])
def test_what_a_fixed_length_lets_through_is_audio(parts, levels):
    codec, vocabulary = parts
    draw = random.Random(0)
    for turn in range(40):
        count = draw.choice([2, 4, 6])
        ids = walk(audio_grammar(vocabulary, count, count, levels), draw)
        assert tuple(ids[-2:]) == END
        frames = count * vocabulary.strides[levels[0]]
        codes = vocabulary.codes(ids[:-2], frames=frames, levels=levels)
        assert [len(row) for row in codes] == vocabulary.counts(frames, levels)
        if levels == (0, 1, 2):
            assert [len(row) for row in codes] == [count, 2 * count, 4 * count]
        if levels == tuple(range(len(levels))) and turn < 5:
            wav = codec.decode([torch.tensor([row]) for row in codes], seed=0)
            assert wav.shape == (1, 1, frames * codec.hop_length)
            assert wav.isfinite().all()


@pytest.mark.parametrize("kind", DISJOINT)
@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 2), (0,), (2,)])
def test_what_a_free_length_lets_through_says_its_own_length(kind, levels):
    codec = DISJOINT[kind]()
    vocabulary = vocabulary_for(codec.config, byte_bpe())
    assert vocabulary.disjoint
    draw, found = random.Random(1), set()
    for _ in range(150):
        ids = walk(audio_grammar(vocabulary, 2, 5, levels), draw)
        assert tuple(ids[-2:]) == END
        codes = vocabulary.codes(ids[:-2], levels=levels)
        assert [len(row) for row in codes] == vocabulary.counts(len(codes[0]) * vocabulary.strides[levels[0]], levels)
        found.add(len(codes[0]))
    assert found == {2, 3, 4, 5}


@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 2), (0,), (1,)])
def test_every_audio_can_be_written(parts, levels):
    _, vocabulary = parts
    draw = random.Random(2)
    for _ in range(40):
        count = draw.randint(1, 4)
        codes = random_rows(draw, vocabulary, count, levels)
        ids = [*vocabulary.ids(codes, levels), *END]
        assert accepts(audio_grammar(vocabulary, count, count, levels), ids)
        assert not accepts(audio_grammar(vocabulary, count, count, levels), ids[:-1])
        assert not accepts(audio_grammar(vocabulary, count + 1, count + 1, levels), ids)
        if vocabulary.disjoint:
            assert accepts(audio_grammar(vocabulary, 1, 9, levels), ids)
            assert not accepts(audio_grammar(vocabulary, count + 1, 9, levels), ids)


FRAMES = {kind: make for kind, make in CODECS.items() if kind in ("one id", "some ids")}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("levels", [(0, 1, 2), (0, 2), (1, 2), (0,), (2,)])
def test_frame_order_lets_through_audio_and_all_of_it(kind, levels):
    codec = FRAMES[kind]()
    vocabulary = vocabulary_for(codec.config, byte_bpe())
    draw, found = random.Random(4), set()
    for _ in range(100):
        ids = walk(audio_grammar(vocabulary, 2, 4, levels, layout="interleaved"), draw)
        assert tuple(ids[-2:]) == END
        codes = vocabulary.codes(ids[:-2], levels=levels, layout="interleaved")
        assert [len(row) for row in codes] == vocabulary.counts(len(codes[0]) * vocabulary.strides[levels[0]], levels)
        assert vocabulary.ids(codes, levels, layout="interleaved") == ids[:-2]
        found.add(len(codes[0]))
        written = [*vocabulary.ids(random_rows(draw, vocabulary, 3, levels), levels, "interleaved"), *END]
        for least, most, fine in ((3, 3, True), (1, 9, True), (2, 2, False), (4, 4, False)):
            assert accepts(audio_grammar(vocabulary, least, most, levels, layout="interleaved"), written) is fine
    assert found == {2, 3, 4}


def test_frame_order_is_a_code_and_those_of_its_frames():
    levels = [[(RIVER,), (STONE,)], [(CLOUD,)], [(BED,)]]
    grammar = InterleavedGrammar(levels, [4, 2, 1], 2, 2, [9])
    group = [CLOUD, CLOUD, BED, BED, BED, BED]
    assert accepts(grammar, [RIVER, *group, STONE, *group, 9])
    assert not accepts(grammar, [RIVER, STONE, *group, *group, 9])
    state, ends = grammar.start(), []
    for place, id in enumerate([RIVER, *group, STONE, *group], 1):
        state = grammar.advance(state, id)
        ends += [place] if state.between_groups else []
    assert ends == [7]


@pytest.mark.parametrize(
    ("levels", "end", "message"),
    [
        ([[(1,)], [(2,)]], [], "needs an end marker"),
        ([[(1,)], [(2,)]], [1], "begin as the end marker does"),
        ([[(1,)], [(2,), (2, 9)]], [9], "begin as the end marker does"),
    ],
)
def test_frame_order_that_does_not_say_where_it_ends(levels, end, message):
    with pytest.raises(UsageError, match=message):
        InterleavedGrammar(levels, [2, 1], 1, 2, end)
    InterleavedGrammar(levels, [2, 1], 2, 2, end)


RIVER, STONE, CLOUD, BED = 1, 2, 3, 4


def test_a_word_that_begins_another_is_told_from_it_by_what_follows():
    levels = [[(RIVER,), (RIVER, STONE), (CLOUD,)]]
    grammar = AudioGrammar(levels, [1], 2, 2, [9])
    assert grammar.allowed(grammar.advance(grammar.start(), RIVER)) == (RIVER, STONE, CLOUD)
    for written in ([RIVER, RIVER], [RIVER, STONE, RIVER], [CLOUD, RIVER, STONE], [RIVER, STONE, RIVER, STONE]):
        assert accepts(grammar, [*written, 9])
    for written in ([RIVER, STONE], [STONE, RIVER], [RIVER, STONE, STONE], [CLOUD] * 3):
        assert not accepts(grammar, [*written, 9])


def test_a_word_that_goes_on_across_a_level_is_the_longer_one():
    # "river", then the bare id of "stone": both are in the ids, and "riverstone" is what they are read as.
    levels = [[(RIVER,), (RIVER, STONE)], [(RIVER,), (STONE,), (CLOUD,)]]
    grammar = AudioGrammar(levels, [2, 1], 1, 1, [9])
    assert accepts(grammar, [RIVER, CLOUD, STONE, 9])
    assert accepts(grammar, [RIVER, STONE, STONE, CLOUD, 9])
    assert not accepts(grammar, [RIVER, STONE, STONE, 9])


def test_a_word_whose_middle_is_no_word():
    grammar = AudioGrammar([[(RIVER, STONE, BED), (RIVER,), (CLOUD,)]], [1], 2, 2, [9])
    state = grammar.advance(grammar.advance(grammar.start(), RIVER), STONE)
    assert grammar.allowed(state) == (BED,)
    assert accepts(grammar, [RIVER, STONE, BED, RIVER, 9])
    assert accepts(grammar, [RIVER, RIVER, STONE, BED, 9])


def test_without_an_end_marker_it_stops_after_the_last_code():
    levels = [[(RIVER,), (CLOUD, BED)], [(STONE,), (STONE, BED)]]
    grammar = AudioGrammar(levels, [2, 1], 1, 1, [])
    assert accepts(grammar, [CLOUD, BED, STONE, STONE, BED])
    # Nothing tells the last word from the one it begins, so it has to be the longer one.
    assert not accepts(grammar, [RIVER, STONE, STONE])


def test_words_listed_twice():
    grammar = AudioGrammar([[(CLOUD,), (CLOUD,)]], [1], 1, 1, [])
    assert grammar.allowed(grammar.start()) == (CLOUD,)
    assert accepts(grammar, [CLOUD])


@pytest.mark.parametrize(("least", "most"), [(0, 0), (0, 3), (-1, 3), (3, 2)])
def test_lengths_that_no_audio_has(least, most):
    with pytest.raises(UsageError, match=f"at least one frame and at most {most}, not {least}"):
        AudioGrammar([[(RIVER,)]], [1], least, most, END)


@pytest.mark.parametrize(
    ("levels", "end", "message"),
    [
        ([[(RIVER,), (STONE,)], [(STONE,)]], END, "levels share ids: the answer's length must be fixed"),
        ([[(RIVER,), (STONE,)]], [STONE], "levels share ids: the answer's length must be fixed"),
        ([[(RIVER,), (STONE,)]], [], "needs an end marker"),
        ([[(RIVER,), (RIVER, STONE)], [(STONE,)]], END, "levels share ids: the answer's length must be fixed"),
    ],
)
def test_levels_that_do_not_say_where_they_end(levels, end, message):
    with pytest.raises(UsageError, match=message):
        AudioGrammar(levels, [2, 1][: len(levels)], 1, 2, end)
    AudioGrammar(levels, [2, 1][: len(levels)], 2, 2, end)


@pytest.mark.parametrize("make", [byte_bpe, sentencepiece])
def test_a_trie_spells_its_labels_and_no_others(make):
    labels = ["up", "upper", "upper left", "down", "dog", "dog barking", "dog"]
    encode = make().encode
    end = encode("\n")
    spelt = {(*encode(label), *end): label for label in labels}
    trie, draw = Trie(list(spelt)), random.Random(3)
    assert {spelt[tuple(walk(trie, draw))] for _ in range(200)} == set(labels)
    for ids in spelt:
        assert accepts(trie, ids)
        assert not accepts(trie, ids[:-1])
        assert not accepts(trie, ids[: -len(end)])


def test_a_trie_of_nothing_is_finished():
    assert Trie([]).allowed(()) == ()
    assert walk(Trie([()]), random.Random(0)) == []


def test_a_level_of_a_whole_vocabulary():
    """As published. Quadratic in the number of codes, this would take a quarter of a minute."""
    level = [(id,) for id in range(32_000)]
    grammar = AudioGrammar([level, level], [2, 1], 1, 1, END)
    assert grammar.allowed(grammar.start()) == tuple(range(32_000))
    assert accepts(grammar, [31_999, 0, 5, *END])


SEQUENCES = ((1, 2), (1, 2, 3), (4,))


@pytest.mark.parametrize(
    ("ids", "allowed"),
    [
        ((), (1, 4)),
        ((1,), (2,)),
        ((1, 2), (0, 1, 3, 4)),
        ((1, 2, 3), (0, 1, 4)),
        ((4,), (0, 1, 4)),
        ((4, 1, 2), (0, 3)),
        ((4, 4), (0,)),
        ((4, 0), ()),
        ((1, 2, 4, 0), ()),
    ],
)
def test_sequences_in_a_row(ids, allowed):
    grammar = RepeatedTrie(SEQUENCES, end=0, most=2)
    state = grammar.start()
    for id in ids:
        assert id in grammar.allowed(state)
        state = grammar.advance(state, id)
    assert grammar.allowed(state) == allowed


@pytest.mark.parametrize("sequences", [(), ((),), ((1, 2), (3, 0))])
def test_sequences_that_have_no_end_are_refused(sequences):
    with pytest.raises(UsageError, match="texts of one id or more"):
        RepeatedTrie(sequences, end=0, most=2)
