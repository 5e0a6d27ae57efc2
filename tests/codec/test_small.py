"""The small architecture's noise."""

from __future__ import annotations

import pytest
import torch

from tests.factories import SMALL_DECODER, chirps, small_codec
from uniaudio_cli.codec.model import Codec


@pytest.fixture
def noisy() -> Codec:
    return small_codec(decoder={**SMALL_DECODER, "noise": True})


def test_noise_follows_the_seed_and_leaves_the_global_state_alone(noisy):
    codes = noisy.encode(chirps(3_840))
    state = torch.get_rng_state()
    first, again, other = (noisy.decode(codes, seed) for seed in (1, 1, 2))
    silent = noisy.decode(codes, noise=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)
    assert not torch.allclose(first, silent, atol=1e-2)
    plain = small_codec()
    plain.load_state_dict(noisy.state_dict(), strict=False)
    plain.quantizer.project()
    assert torch.equal(silent, plain.decode(codes, seed=1))


def test_a_clip_sounds_the_same_in_a_batch_and_however_it_goes_on(noisy):
    codes = noisy.encode(torch.cat([chirps(7_680), chirps(7_680, seed=1)]))
    alone = noisy.decode([level[1:] for level in codes], seed=4)
    assert torch.allclose(noisy.decode(codes, seed=4)[1:], alone, atol=1e-5)
    begun = noisy.decode([level[1:, : level.shape[1] // 2] for level in codes], seed=4)
    assert torch.allclose(begun[..., :480], alone[..., :480], atol=1e-4)


def test_certain_phases_have_no_noise(noisy):
    assert noisy.decoder.unknown is not None
    noisy.decoder.unknown.weight.data.zero_()
    noisy.decoder.unknown.bias.data.fill_(-30.0)
    codes = noisy.encode(chirps(3_840))
    assert torch.allclose(noisy.decode(codes, seed=1), noisy.decode(codes, noise=False), atol=1e-5)
