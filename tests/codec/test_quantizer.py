import math

import pytest
import torch
import torch.nn.functional as F

from tests.factories import seeded
from uniaudio_cli.codec.quantizer import LevelQuantizer, MultiScaleQuantizer


@pytest.fixture
def quantiser():
    quantiser = MultiScaleQuantizer((7, 50, 60), embedding_dim=6, latent_dim=16, strides=(4, 2, 1))
    seeded(quantiser)
    return quantiser


def latents(batch=2, frames=8, seed=0):
    return torch.randn(batch, 16, frames, generator=torch.Generator().manual_seed(seed))


def codes_of(quantiser, latent):
    return [level.codes for level in quantiser.encode_soft(latent)]


def plain_level(vectors):
    """A level whose codes' vectors are the rows of `vectors`."""
    table = torch.tensor(vectors)
    level = LevelQuantizer(len(table), table.shape[1], table.shape[1], stride=1)
    level.codebook.weight.data.copy_(table)
    level.cb_proj.weight.data.copy_(torch.eye(table.shape[1]))
    level.cb_proj.bias.data.zero_()
    return level


def test_the_nearest_code_is_found_by_angle_and_its_own_length_is_passed_on():
    level = plain_level([[0.1, 0.0], [3.0, 2.0]])
    # By distance, (3, 0.5) would be nearest to (3, 2); by angle it is to (0.1, 0).
    output = level(torch.tensor([[[3.0], [0.5]]]))
    assert output.codes.tolist() == [[0]]
    assert torch.equal(output.quantized, torch.tensor([[[0.1], [0.0]]]))
    assert output.similarity[0, 0, 1].item() == pytest.approx(10 / math.hypot(3, 0.5) / math.hypot(3, 2))


def test_a_level_sees_the_mean_of_its_frames(quantiser):
    level, residual = quantiser.levels()[0], latents()
    output = level(residual)
    assert torch.allclose(output.latent, residual.unflatten(2, (2, 4)).mean(3), atol=1e-6)
    assert output.codes.shape == (2, 2)
    assert output.similarity.shape == (2, 2, 7)


def test_each_level_codes_what_the_coarser_ones_left(quantiser):
    residual, expected = latents(), torch.zeros(2, 16, 8)
    for level, codes in zip(quantiser.levels(), codes_of(quantiser, latents()), strict=True):
        table = F.linear(level.codebook.weight, level.cb_proj.weight, level.cb_proj.bias)
        pooled = residual.unflatten(2, (-1, level.stride)).mean(3)
        angles = torch.einsum("bdt,kd->btk", F.normalize(pooled, dim=1), F.normalize(table, dim=1))
        assert torch.equal(codes, angles.argmax(2))
        chosen = table[codes].transpose(1, 2).repeat_interleave(level.stride, dim=2)
        residual, expected = residual - chosen, expected + chosen
    assert torch.allclose(quantiser.latent(codes_of(quantiser, latents())), expected, atol=1e-5)


def test_level_0_may_listen_to_a_latent_of_its_own(quantiser):
    latent, own = latents(), latents(seed=1)
    first, *finer = quantiser.encode_soft(latent, own)
    assert torch.equal(first.codes, codes_of(quantiser, own)[0])
    left = latent - first.quantized.repeat_interleave(4, dim=2)
    assert torch.allclose(finer[0].latent, left.unflatten(2, (-1, 2)).mean(3), atol=1e-6)
    trained = quantiser(latent, own)
    assert all(torch.equal(a.codes, b.codes) for a, b in zip(trained.levels, (first, *finer), strict=True))
    assert torch.allclose(trained.latent, quantiser.latent([level.codes for level in trained.levels]), atol=1e-5)


def test_training_and_inference_find_the_same(quantiser):
    trained = quantiser(latents())
    quantiser.project()
    codes = codes_of(quantiser, latents())
    assert [level.codes.tolist() for level in trained.levels] == [level.tolist() for level in codes]
    assert [level.shape for level in codes] == [(2, 2), (2, 4), (2, 8)]
    assert torch.allclose(trained.latent, quantiser.latent(codes), atol=1e-5)


def test_codes_survive_being_decoded_and_coded_again_level_by_level(quantiser):
    quantiser.project()
    for level in quantiser.levels():
        codes = torch.arange(len(level.projected_codebook()))[None]
        again = LevelQuantizer.forward(level, level.vectors(codes).repeat_interleave(level.stride, dim=2))
        assert torch.equal(again.codes, codes)


def test_finer_levels_may_be_left_out(quantiser):
    codes = codes_of(quantiser, latents())
    coarse = quantiser.latent(codes[:1])
    assert coarse.shape == (2, 16, 8)
    assert torch.equal(coarse, quantiser.levels()[0].vectors(codes[0]).repeat_interleave(4, dim=2))


def test_gradients_pass_straight_through_and_codebooks_stay_frozen():
    quantiser = MultiScaleQuantizer((9, 9), embedding_dim=6, latent_dim=16, strides=(1, 1))
    latent = latents().requires_grad_()
    quantised = quantiser(latent)
    weights = torch.randn(quantised.latent.shape, generator=torch.Generator().manual_seed(1))
    (quantised.latent * weights).sum().backward()
    assert torch.allclose(latent.grad, weights, atol=1e-6)
    assert not any(level.codebook.weight.requires_grad for level in quantiser.levels())
    quantised.levels[0].quantized.sum().backward()
    assert quantiser.levels()[0].cb_proj.weight.grad is not None


def test_the_table_is_enough(quantiser):
    before = codes_of(quantiser, latents())
    tables = [level.projection() for level in quantiser.levels()]
    assert all(level.projected is None for level in quantiser.levels())
    for level, table in zip(quantiser.levels(), tables, strict=True):
        level.set_projected(table)
        level.drop_codebook()
    after = codes_of(quantiser, latents())
    assert [level.tolist() for level in before] == [level.tolist() for level in after]
    assert not list(quantiser.parameters())
    assert all(level.projection() is table for level, table in zip(quantiser.levels(), tables, strict=True))


def test_the_table_is_float32_whatever_the_codebook(quantiser):
    exact = quantiser.levels()[1].projection()
    halved = quantiser.half().levels()[1]
    halved.project()
    assert halved.projected.dtype == halved.directions.dtype == torch.float32
    assert torch.allclose(halved.projected, exact, atol=0.02)


def test_projecting_again_follows_the_weights(quantiser):
    level = quantiser.levels()[1]
    level.project()
    level.cb_proj.bias.data.add_(1.0)
    before = level.projected
    level.project()
    assert torch.allclose(level.projected, before + 1.0, atol=1e-5)
