from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.small_tokenizers import byte_bpe, byte_bpe_object, sentencepiece, sentencepiece_model, smollm2
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.llm.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer

KINDS = [byte_bpe, sentencepiece, smollm2]
TEXTS = ["Input: < river >\nOutput: dog", " two  spaces ", "###", "½ naïve 日本", "don't , stop .", ""]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_as_it_was(make, text):
    tokenizer = make()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("make", KINDS)
def test_no_special_token_is_added_or_understood(make):
    tokenizer = make()
    for text in ["river", "<|endoftext|>", "<s>", "</s>", "<|im_start|>"]:
        ids = tokenizer.encode(text)
        assert not {tokenizer.bos_id, tokenizer.eos_id} & set(ids)
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("make", KINDS)
def test_a_word_has_the_ids_it_has_in_running_text(make):
    tokenizer = make()
    for word in ["river", "stone", "riverstone"]:
        ids = list(tokenizer.word_ids(word))
        assert tokenizer.encode(f"a {word}")[-len(ids) :] == ids
        assert tokenizer.decode(ids).strip() == word


def test_tokens_are_spelt_as_the_tokenizer_does():
    assert [byte_bpe().token(id) for id in byte_bpe().word_ids("river")] == ["Ġriver"]
    assert [sentencepiece().token(id) for id in sentencepiece().word_ids("river")] == ["▁river"]


@pytest.mark.parametrize("make", KINDS)
def test_an_id_that_is_not_there_is_an_index_error(make):
    with pytest.raises(IndexError):
        make().token(10**7)


def test_sentencepiece_keeps_the_space_piece_that_front_ends_drop():
    tokenizer = sentencepiece()
    assert [tokenizer.token(id) for id in tokenizer.encode(" >\nOutput: ")] == ["▁", "▁>", "<0x0A>", "Output", ":", "▁"]
    assert (tokenizer.size, tokenizer.bos_id, tokenizer.eos_id) == (32000, 1, 2)


def test_byte_bpe_keeps_spaces_before_punctuation_when_decoding():
    # The object asks for the clean-up that would make "don't , stop ." into "don't, stop.".
    assert byte_bpe().decode(byte_bpe().encode("don't , stop .")) == "don't , stop ."


def test_which_tokenizer_a_folder_gets(tmp_path):
    both, only_model = tmp_path / "both", tmp_path / "only-model"
    byte_bpe_object().save_pretrained(both)
    only_model.mkdir()
    for folder in (both, only_model):
        shutil.copy(sentencepiece_model(), folder / "tokenizer.model")
    assert isinstance(load_tokenizer(both), HuggingFaceTokenizer)
    assert isinstance(load_tokenizer(str(only_model)), SentencePieceTokenizer)


def test_a_saved_tokenizer_is_the_same(tmp_path):
    byte_bpe_object().save_pretrained(tmp_path)
    loaded, made = load_tokenizer(tmp_path), byte_bpe()
    assert (loaded.size, loaded.bos_id, loaded.eos_id) == (made.size, made.bos_id, made.eos_id)
    assert loaded.encode("Input: < river >") == made.encode("Input: < river >")


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: (path / "tokenizer.model").write_bytes(b"not a model")]
)
def test_a_folder_without_a_tokenizer_is_a_usage_error(tmp_path: Path, make):
    make(tmp_path)
    with pytest.raises(UsageError, match="no tokenizer can be read there"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["./no-such-folder", "nobody/no-such-model"])
def test_a_name_that_is_not_here_is_not_fetched_unasked(name):
    with pytest.raises(MissingWeightsError, match="no such folder"):
        load_tokenizer(name)
