"""The gains of bands: what the network is given, what it is to give, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uniaudio_cli.audio.gain_features import GainFeatures
from uniaudio_cli.inference.band_network import MEANS, BandGains, band_inputs, band_targets, spread, teach

FRAMES = 120


def powers(seed: int, bins: int = 257) -> np.ndarray:
    return np.random.default_rng(seed).exponential(1e-4, (FRAMES, bins))


def test_bands_cover_the_spectrum():
    assert MEANS.shape == (257, 24)
    np.testing.assert_allclose(MEANS.sum(axis=0), 1)
    assert (MEANS[3:252].sum(axis=1) > 0).all()
    np.testing.assert_allclose(spread(np.ones((2, 24), np.float32)), np.ones((2, 257)), rtol=1e-6)
    rising = spread(np.arange(24, dtype=np.float32)[None])[0]
    assert (np.diff(rising) >= 0).all()
    assert rising[[0, -1]].tolist() == [0, 23]


@pytest.mark.parametrize("bins", [1, 129, 257])
def test_inputs_of_any_bandwidth(bins):
    found = band_inputs(GainFeatures()(powers(0, bins)))
    assert found.shape == (FRAMES, 72)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_inputs_do_not_depend_on_the_level():
    one, other = (band_inputs(GainFeatures()(powers(0) * gain)) for gain in (1.0, 100.0))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_targets():
    clean = powers(1)
    roots, weights = band_targets(clean * 4, clean)
    np.testing.assert_allclose(roots, np.sqrt(0.5), rtol=1e-5)
    assert (weights > 0).all()
    for noisy, wanted in ((clean, 1), (clean / 2, 1), (clean + 1e6, 0)):
        np.testing.assert_allclose(band_targets(noisy, clean)[0], wanted, atol=1e-2)
    assert np.isfinite(band_targets(clean * 0, clean * 0)).all()


@pytest.mark.slow
def test_a_network_learns_and_is_the_same_again():
    inputs = np.random.default_rng(0).standard_normal((400, 72)).astype(np.float32)
    roots = (inputs[:, :24] > 0).astype(np.float32)
    state = torch.get_rng_state()
    networks = [teach(inputs, roots, np.ones_like(roots), 80, 0) for _ in range(2)]
    assert torch.equal(state, torch.get_rng_state())
    made = [network.roots(inputs) for network in networks]
    np.testing.assert_array_equal(*made)
    assert np.square(made[0] - roots).mean() < 0.15  # 0.25 by chance


def test_frames_may_come_in_any_blocks():
    inputs = np.random.default_rng(0).standard_normal((50, 72)).astype(np.float32)
    networks = [teach(inputs, inputs[:, :24].clip(0, 1), np.ones((50, 24), np.float32), 2, seed) for seed in (0, 1)]
    whole, bands = BandGains(networks)(inputs), BandGains(networks)
    parts = np.concatenate([bands(inputs[start:end]) for start, end in ((0, 1), (1, 1), (1, 30), (30, 50))])
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_allclose(whole, np.mean([each.roots(inputs) for each in networks], axis=0), atol=1e-5)
