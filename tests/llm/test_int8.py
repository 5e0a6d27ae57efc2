"""The copy for writing: equal where nothing is rounded, close where weights have 8 bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.small_lms import tiny_llama
from uniaudio_cli.llm.constraints import Trie
from uniaudio_cli.llm.decoding import generate
from uniaudio_cli.llm.int8 import ROOM, ChosenRows, Linear8, decoding_model, preallocated
from uniaudio_cli.llm.model import LanguageModel

VOCAB = 300


@pytest.fixture
def model():
    return tiny_llama(VOCAB)


@pytest.mark.parametrize("bias", [True, False])
def test_chosen_rows_are_those_of_the_whole_head(bias):
    head = nn.Linear(16, VOCAB, bias=bias)
    chosen, x = ChosenRows(head), torch.randn(2, 3, 16)
    assert torch.equal(chosen(x), head(x))
    for count in (1, 2, 50, 50, VOCAB, *range(3, 40)):
        ids = tuple(range(0, VOCAB, VOCAB // count))
        chosen.ids.set(ids)
        torch.testing.assert_close(chosen(x), head(x)[..., list(ids)], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 32), (5, 32), (2, 3, 32)])
def test_weights_of_8_bits_are_close(bias, shape):
    linear, x = nn.Linear(32, 64, bias=bias), torch.randn(shape)
    made = Linear8(linear)(x)
    assert made.shape == (*shape[:-1], 64)
    assert made.dtype == torch.float32
    expected = linear(x).detach()
    assert float((made.detach() - expected).norm() / expected.norm()) < 0.02


def test_a_row_of_zeros_stays_one():
    linear = nn.Linear(32, 64, bias=False)
    linear.weight.data[3] = 0
    assert not Linear8(linear)(torch.randn(1, 32))[0, 3]


def test_the_copy_writes_as_the_model_does_and_leaves_it_alone(model):
    before = {name: each.clone() for name, each in model.state_dict().items()}
    ids = torch.randint(VOCAB, (2, 20))
    asked = tuple(range(0, VOCAB, 7))
    expected = model(ids).logits[:, -1, list(asked)]
    exact, rounded = (decoding_model(model, bits).logits(ids, asked) for bits in (None, 8))
    torch.testing.assert_close(exact, expected, atol=1e-5, rtol=1e-5)
    assert not torch.equal(rounded, exact)
    assert torch.nn.functional.cosine_similarity(rounded, expected).min() > 0.99
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert type(model.lm_head) is nn.Linear


def test_the_copy_shares_the_weights_it_does_not_round(model):
    ours = {each.data_ptr() for each in decoding_model(model, None).model.parameters()}
    assert ours == {each.data_ptr() for each in model.parameters()}


def test_a_bfloat16_model_is_written_with_in_float32(model):
    model = model.bfloat16()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    lm, contexts = LanguageModel(model, "half", decode_bits=8), [[1, 2, 3, 4], [5, 6, 7, 8]]
    writer, asked = lm.decoder(lm.prefill(contexts)), tuple(range(0, VOCAB, 3))
    found = writer.logits([[9], [10]], {0: asked, 1: asked})
    assert {each.dtype for each in lm.decoding_model.model.parameters()} == {torch.float32}
    assert writer.cache.layers[0].keys.dtype == torch.float32
    rows = torch.tensor([[1, 2, 3, 4, 9], [5, 6, 7, 8, 10]])
    expected = model.float()(rows).logits[:, -1, list(asked)]
    assert torch.nn.functional.cosine_similarity(torch.stack([found[0], found[1]]), expected).min() > 0.99
    assert all(torch.equal(each, before[name].float()) for name, each in model.state_dict().items())


def test_a_model_that_is_not_plain_has_no_copy(model):
    model.hf_quantizer = object()
    assert decoding_model(model, 8) is None
    lm, grammar = LanguageModel(model, "odd", decode_bits=8), Trie([[5, 6], [7, 8]])
    assert lm.decoding_model is None
    assert generate(lm, lm.prefill([[1, 2]]), grammar) in ([[5, 6]], [[7, 8]])


def test_a_cache_grows_in_place_and_leaves_the_one_it_came_from(model):
    lm = LanguageModel(model, "tiny")
    prefix = lm.prefill([[1, 2, 3], [4, 5, 6]])
    keys = prefix.cache.layers[0].keys.clone()
    writer, ids = lm.decoder(prefix), (0, 1, 2)
    rows: list[list[int]] = [[1, 2, 3], [4, 5, 6]]
    for step in range(ROOM + 20):
        unread = [[step % VOCAB], [(step * 7) % VOCAB]]
        found = writer.logits(unread, {0: ids, 1: ids})
        rows = [[*row, *more] for row, more in zip(rows, unread, strict=True)]
        if step in (0, 1, ROOM - 1, ROOM, ROOM + 1, ROOM + 19):
            expected = model(torch.tensor(rows)).logits[:, -1, :3]
            torch.testing.assert_close(torch.stack([found[0], found[1]]), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(prefix.cache.layers[0].keys, keys)


def test_layers_of_other_kinds_stay():
    class Cache:
        layers = ("sliding",)

    assert preallocated(Cache(), torch.float32).layers == ["sliding"]
