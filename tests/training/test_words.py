"""Words for the levels, and the codec a training begins with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.factories import chirps
from tests.training.parts import LEVELS, PUBLISHED, STEMS, lexicon, recipe
from uniaudio_cli.codec.checkpoint import load_codec, save_codec
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.training import words
from uniaudio_cli.training.initialise import initial_codec, new_codec, trainable_copy
from uniaudio_cli.training.words import (
    choose_words,
    codebooks,
    farthest_points,
    read_vocabulary,
    write_vocabulary,
)


@pytest.fixture(autouse=True)
def no_glue(monkeypatch):
    monkeypatch.setattr(words, "GLUE_WORDS", 0)


def test_levels_are_disjoint_words_of_one_id():
    known = lexicon()
    levels = choose_words(known.tokenizer, known.embeddings, (3, 4, 4))
    every = [word for level in levels for word in level]
    assert [len(level) for level in levels] == [3, 4, 4]
    assert len(set(every)) == len(every)
    assert all(len(known.tokenizer.word_ids(word)) == 1 for word in every)
    assert levels == choose_words(known.tokenizer, known.embeddings, (3, 4, 4))
    assert levels != choose_words(known.tokenizer, known.embeddings, (3, 4, 4), seed=1)


def test_only_allowed_words_are_taken_and_longer_ones_where_pieces_may_be_two():
    known = lexicon()
    allowed = [*STEMS[:4], "riverst", "zzz"]
    (level,) = choose_words(known.tokenizer, known.embeddings, (4,), allowed)
    assert set(level) == set(STEMS[:4])
    with pytest.raises(UniAudioError, match="4 whole words"):
        choose_words(known.tokenizer, known.embeddings, (5,), allowed)
    pieces = len(known.tokenizer.word_ids("riverst"))
    (level,) = choose_words(known.tokenizer, known.embeddings, (5,), allowed, pieces=pieces)
    assert "riverst" in level
    (book,) = codebooks((("riverst",),), known.tokenizer, known.embeddings)
    ids = list(known.tokenizer.word_ids("riverst"))
    assert np.allclose(book[0], words.standardised(known.embeddings)[ids].mean(axis=0), atol=1e-2)


def test_a_level_as_large_as_the_vocabulary_takes_its_ids():
    known = lexicon()
    levels = choose_words(known.tokenizer, known.embeddings, (3, known.tokenizer.size))
    assert levels[1] is None
    assert codebooks(levels, known.tokenizer, known.embeddings)[1].shape == known.embeddings.shape


def test_spread_takes_far_points_first():
    points = np.array([[1.0, 0], [0.99, 0.1], [0, 1], [-1, 0]])
    assert set(farthest_points(points, 3, np.random.default_rng(0)).tolist()) in ({0, 2, 3}, {1, 2, 3})


def test_vocabulary_files_go_round(tmp_path):
    write_vocabulary(tmp_path / "v.json", "a-tiny-llm", (STEMS[:2], None))
    assert read_vocabulary(tmp_path / "v.json") == (STEMS[:2], None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"levels": []}', '{"levels": [[1]]}', '{"levels": 3}'])
def test_a_file_without_levels_is_refused(tmp_path, text):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(UsageError, match=r"v\.json"):
        read_vocabulary(tmp_path / "v.json")


def test_a_codec_made_for_inference_goes_on_training_as_it_was(tmp_path):
    known, settings = lexicon(), recipe(tmp_path)
    first = new_codec(settings, LEVELS, known)
    save_codec(first, tmp_path / "first.safetensors", inference=True)
    start = load_codec(tmp_path / "first.safetensors")
    again = initial_codec(settings.replace(init=str(tmp_path / "first.safetensors")), known)
    assert all(p.requires_grad for p in again.quantizer.levels()[0].cb_proj.parameters())
    for a, b, c in zip(first.quantizer.levels(), start.quantizer.levels(), again.quantizer.levels(), strict=True):
        assert torch.allclose(b.projected_codebook(), c.projected_codebook(), atol=1e-5)
        assert torch.equal(a.codebook.weight, c.codebook.weight)
    wav = chirps(16_000)
    assert all(torch.equal(a, b) for a, b in zip(start.encode(wav), again.eval().encode(wav), strict=True))


def test_level_0_gets_an_encoder_that_begins_as_a_copy(tmp_path):
    known, settings = lexicon(), recipe(tmp_path)
    start = new_codec(settings, LEVELS, known).eval()
    again = trainable_copy(start, known, coarse=True)
    assert again.config.coarse_encoder == start.config.encoder
    wav = chirps(16_000)
    assert all(torch.equal(a, b) for a, b in zip(start.encode(wav), again.eval().encode(wav), strict=True))
    own = {name: value + 1 for name, value in again.coarse_encoder.state_dict().items()}
    again.coarse_encoder.load_state_dict(own)
    kept = trainable_copy(again, known, coarse=True).coarse_encoder.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in kept.items())
    with pytest.raises(UsageError, match="not for codecs of the published architecture"):
        trainable_copy(new_codec(recipe(tmp_path, codec=PUBLISHED), LEVELS, known), known, coarse=True)


@pytest.mark.parametrize("trainable", ["coarse", "fine", "codes"])
def test_coarse_and_fine_training_need_an_encoder_of_level_0(tmp_path, trainable):
    write_vocabulary(tmp_path / "v.json", "a-tiny-llm", LEVELS)
    losses = {"units": 1.0} if trainable == "coarse" else {"mel": 1.0}
    settings = recipe(tmp_path, vocabulary=tmp_path / "v.json", trainable=trainable, losses=losses, speech_teacher="w")
    with pytest.raises(UsageError, match=f"trainable: {trainable} is for a codec whose level 0"):
        initial_codec(settings, lexicon())


def test_a_codec_of_another_llm_is_refused(tmp_path):
    known = lexicon()
    other = replace(known, embeddings=known.embeddings[:, :8])
    with pytest.raises(UsageError, match="made for a-tiny-llm"):
        trainable_copy(new_codec(recipe(tmp_path), LEVELS, known), other)
    fewer = replace(known, embeddings=known.embeddings[:50])
    with pytest.raises(UsageError, match="does not have"):
        trainable_copy(new_codec(recipe(tmp_path), LEVELS, known), fewer)


def test_a_vocabulary_of_other_sizes_is_refused(tmp_path):
    write_vocabulary(tmp_path / "v.json", "a-tiny-llm", LEVELS[:2])
    with pytest.raises(UsageError, match=r"\[3, 4\].*\[3, 4, 4\]"):
        initial_codec(recipe(tmp_path, vocabulary=tmp_path / "v.json"), lexicon())
