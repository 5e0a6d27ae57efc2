"""The recipe that gives a codec's finer levels new words."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import codec_in_words
from tests.small_tokenizers import STEMS, byte_bpe
from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.models.registry import resolve_codec
from uniaudio_cli.training.initialise import Lexicon
from uniaudio_cli.training.words import read_blocklist

RECIPE = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "fit_words.py"))


@pytest.mark.parametrize(
    ("word", "bad"),
    [("race", True), ("races", True), ("terrace", False), ("drug", True), ("drugged", True), ("table", False)],
)
def test_blocked_words(word, bad, tmp_path):
    path = tmp_path / "blocklist.txt"
    path.write_text("# of a test\n=race\n=races\ndrug*\n", encoding="utf-8")
    assert read_blocklist(path)(word) is bad


def test_the_shipped_blocklist():
    bad = read_blocklist(RECIPE["BLOCKLIST"])
    assert all(bad(word) for word in ("diarrhea", "rape", "blacks"))
    assert not any(bad(word) for word in ("table", "garden", "window"))


def parts(rng: np.random.Generator) -> tuple[Codec, Lexicon, list[str]]:
    """A codec of three words a level, an LLM's random embeddings and the stems that are one id each."""
    tokenizer = byte_bpe()
    lexicon = Lexicon("new", tokenizer, rng.normal(size=(tokenizer.size, 24)).astype(np.float32))
    codec = codec_in_words(*(STEMS[level::3][:3] for level in range(3)))
    return codec, lexicon, [word for word in STEMS if len(tokenizer.word_ids(word)) == 1]


def test_networks_and_level_0_stay():
    rng = np.random.default_rng(0)
    codec, lexicon, words = parts(rng)
    frames = torch.from_numpy(rng.normal(size=(6, 32, 48)).astype(np.float32))
    made = RECIPE["translate"](codec, lexicon, words, frames, [3, 4, 6])
    assert made.config.sizes == (3, 4, 6)
    assert made.config.llm == "new"
    names = [word for level in made.config.words for word in level]
    assert len(set(names)) == len(names)
    assert set(names) <= set(words)
    before, after = codec.quantizer.levels(), made.quantizer.levels()
    torch.testing.assert_close(after[0].projection(), before[0].projection(), rtol=1e-4, atol=1e-4)
    for name, weight in codec.encoder.state_dict().items():
        assert torch.equal(made.encoder.state_dict()[name], weight)
    # The tables are linear maps of the words' embeddings, and fit the frames better than zero does.
    flat = frames.transpose(1, 2).reshape(-1, 32)
    table = after[2].projection()
    error = ((flat - table[RECIPE["nearest"](table, flat)]) ** 2).sum()
    assert error < (flat**2).sum()


def test_words_are_matched_to_the_codes_as_they_are():
    codec, lexicon, words = parts(np.random.default_rng(1))
    renamed = RECIPE["rename"](codec, lexicon, words)
    assert [len(level) for level in renamed] == [3, 3, 3]
    names = [word for level in renamed for word in level]
    assert len(set(names)) == len(names)
    assert set(names) <= set(words)


def test_the_shipped_codec_has_no_blocked_word():
    words = load_codec(resolve_codec("uniaudio-small").weights).config.words
    bad = read_blocklist(RECIPE["BLOCKLIST"])
    assert not [word for level in words for word in level or () if bad(word)]
