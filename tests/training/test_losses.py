"""Each loss alone: where it is zero, what increases it, and where its gradient goes."""

from __future__ import annotations

import pytest
import torch

from tests.factories import chirps
from tests.training.parts import packed, recipe, trainer
from uniaudio_cli.codec.quantizer import LevelOutput, Quantized
from uniaudio_cli.training.batches import training_batch
from uniaudio_cli.training.discriminators import (
    DiscriminatorOutput,
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from uniaudio_cli.training.losses import (
    EnvelopeLoss,
    LoudnessLoss,
    SpectralLoss,
    codebook_loss,
    commitment_loss,
    consistency_loss,
    cycle_loss,
    entropy_loss,
    semantic_loss,
    unit_loss,
)


def level(codes, size=4):
    """A level that is sure of its codes [B, T]."""
    similarity = torch.nn.functional.one_hot(codes, size).float()
    latent = torch.zeros(codes.shape[0], 3, codes.shape[1])
    return LevelOutput(codes, latent, latent + 2.0, similarity)


def test_equal_wavs_have_no_spectral_distance_and_more_noise_has_more():
    of, wav = SpectralLoss(16_000), chirps(8_000)
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    nothing, some, more = (of(wav + gain * noise, wav) for gain in (0.0, 0.01, 0.1))
    assert set(nothing) == {"mel", "stft", "subband"}
    for name in nothing:
        assert float(nothing[name]) == 0.0
        assert 0 < float(some[name]) < float(more[name])


def test_a_weak_upper_band_counts_in_subband_more_than_in_stft():
    time = torch.arange(16_000) / 16_000
    low, high = torch.sin(2 * torch.pi * 400 * time), 0.003 * torch.sin(2 * torch.pi * 7_000 * time)
    found = SpectralLoss(16_000)(low[None, None], (low + high)[None, None])
    assert float(found["subband"]) > 3 * float(found["stft"])


def test_cycle_loss_is_zero_for_equal_encodings_and_larger_for_another_code():
    known, wrong = level(torch.tensor([[0, 1]])), level(torch.tensor([[0, 2]]))
    latent = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    same, off = cycle_loss(latent, known, latent, known), cycle_loss(latent, known, latent + 0.1, known)
    assert float(same) == pytest.approx(0, abs=1e-6)
    assert float(off) == pytest.approx(0.01)
    assert float(cycle_loss(latent, known, latent, wrong)) > 1


def test_cycle_loss_has_gradients_for_the_decoder_and_none_for_the_encoder(tmp_path):
    run = trainer(recipe(tmp_path / "cache", losses={"cycle": 1.0}), packed(tmp_path), tmp_path / "run")
    given = training_batch(run.crops.batch(0), run.packed, run.targets, run.recipe.crop_frames, torch.device("cpu"))
    latent = torch.randn(1, run.module.codec.config.latent_dim, 8)
    with torch.no_grad():
        made = run.module.codec.decoder(latent)
    made.requires_grad_(True)
    latent, coarse = run.module._reencode(made)
    (coarse.similarity.square().sum() + latent.square().sum()).backward()
    assert made.grad is not None
    assert all(weight.grad is None for weight in run.module.parameters())
    found, _ = run.module(given)
    found["cycle"].backward()
    assert any(weight.grad is not None for weight in run.module.codec.decoder.parameters())


@pytest.mark.parametrize("loss", [LoudnessLoss(16_000, -23.0), EnvelopeLoss(16_000)], ids=["loudness", "envelope"])
def test_perceptual_losses_grow_with_noise_and_ignore_gain(loss):
    wav = speechlike(24_000)
    noise = 0.05 * torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    nothing, softer, some, more = (float(loss(made, wav)) for made in (wav, 0.5 * wav, wav + 0.2 * noise, wav + noise))
    assert nothing == pytest.approx(0, abs=0.02)
    assert softer < 0.3 * some
    assert some < more


@pytest.mark.parametrize("loss", [LoudnessLoss(16_000, -23.0), EnvelopeLoss(16_000)], ids=["loudness", "envelope"])
@pytest.mark.parametrize("samples", [24_000, 3_000])
def test_silence_has_a_finite_gradient_on_either_side(loss, samples):
    wav, silence = speechlike(samples), torch.zeros(1, 1, samples)
    for made, target in ((silence, wav), (wav, silence), (silence, silence)):
        made = made.clone().requires_grad_()
        value = loss(made, target)
        value.backward()
        assert value.isfinite()
        assert made.grad.isfinite().all()


def speechlike(samples):
    """A voice's harmonics, on and off four times a second; [1, 1, samples]."""
    time = torch.arange(samples) / 16_000
    voice = sum(torch.sin(2 * torch.pi * 150 * harmonic * time) / harmonic for harmonic in range(1, 20))
    return (0.05 * voice * (torch.sin(2 * torch.pi * 4 * time) > 0))[None, None]


def test_entropy_is_lowest_where_codes_are_used_alike():
    alike, one = (
        Quantized(torch.zeros(1), (level(codes),)) for codes in (torch.arange(4)[None], torch.zeros(1, 4).long())
    )
    assert float(entropy_loss(alike)) == pytest.approx(-torch.tensor(4.0).log().item(), abs=1e-4)
    assert float(entropy_loss(one)) == pytest.approx(0.0, abs=1e-4)


def test_commitment_and_codebook_pull_from_both_sides():
    given = level(torch.zeros(1, 2).long())
    latent, chosen = given.latent.requires_grad_(), given.quantized.clone().requires_grad_()
    both = Quantized(torch.zeros(1), (LevelOutput(given.codes, latent, chosen, given.similarity),))
    assert float(commitment_loss(both).detach()) == float(codebook_loss(both).detach()) == 4.0
    commitment_loss(both).backward()
    assert latent.grad is not None
    assert chosen.grad is None
    codebook_loss(both).backward()
    assert chosen.grad is not None


def test_units_count_only_where_they_are_known():
    output = level(torch.tensor([[0, 1, 2]]))
    right, wrong = torch.tensor([[0, 1, -1]]), torch.tensor([[1, 1, -1]])
    assert float(unit_loss(output, right)) < 1e-3 < float(unit_loss(output, wrong))
    assert float(unit_loss(output, torch.full((1, 3), -1))) == 0.0


def test_unknown_features_are_left_out():
    features = torch.tensor([[[1.0, 2.0], [float("nan"), float("nan")]]])
    assert float(consistency_loss(torch.tensor([[[1.0, 4.0], [9.0, 9.0]]]), features)) == 2.0
    assert float(semantic_loss(torch.tensor([[1.0, 4.0], [9.0, 9.0]]), features[0])) == 2.0
    assert float(consistency_loss(torch.ones(1, 2, 2), torch.full((1, 2, 2), float("nan")))) == 0.0


def outputs_of(value):
    return [DiscriminatorOutput(torch.full((1, 1, 2, 2), value), (torch.full((1, 3), value),))]


@pytest.mark.parametrize(("real", "made", "loss"), [(1.5, -1.5, 0.0), (0.0, 0.0, 2.0), (-1.0, 1.0, 4.0)])
def test_the_hinge(real, made, loss):
    assert float(discriminator_loss(outputs_of(real), outputs_of(made))) == loss
    assert float(adversarial_loss(outputs_of(made))) == -made


def test_features_are_compared_relative_to_the_recording():
    assert float(feature_matching_loss(outputs_of(2.0), outputs_of(2.0))) == 0.0
    assert float(feature_matching_loss(outputs_of(2.0), outputs_of(3.0))) == pytest.approx(0.5)


def test_discriminators_learn_to_tell_noise_from_chirps():
    torch.manual_seed(0)
    discriminators = Discriminators(16_000, (64, 256), (4, 4))
    optimiser = torch.optim.AdamW(discriminators.parameters(), lr=5e-3)
    real, made = chirps(8_000), torch.randn(1, 1, 8_000) * 0.1
    losses = []
    for _ in range(25):
        loss = discriminator_loss(discriminators(real), discriminators(made))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
