"""Mel spectrograms of the frozen encoders against librosa's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.factories import chirps
from uniaudio_cli.audio import features
from uniaudio_cli.audio.features import FLOOR, yamnet_log_mel
from uniaudio_cli.audio.load_librosa import load_librosa


@pytest.fixture(scope="module")
def librosa():
    """Imported by the first test that needs it: a run's collection does not wait for it."""
    return load_librosa()


@pytest.mark.parametrize("bins", [80, 128])
def test_slaney_filters_are_librosas(librosa, bins):
    expected = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=bins)
    np.testing.assert_allclose(features._slaney_filters(bins, 400, 16_000).numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("samples", [100, 16_000, 23_456])
def test_yamnets_input_is_librosas(librosa, samples):
    wav = chirps(samples, 1)[0, 0].numpy()
    bands = librosa.feature.melspectrogram(
        y=np.pad(wav, (0, max(0, 16_000 - samples))),
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=64,
        fmin=125,
        fmax=7500,
        htk=True,
        power=1,
    )
    np.testing.assert_allclose(yamnet_log_mel(wav), np.log(bands.T + FLOOR), atol=2e-4)
