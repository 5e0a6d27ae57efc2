"""Judges, most of which need no weights, and what they make of transcripts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import chirps
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.codec.quality import speech_metrics
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.evaluation.judges import (
    LEAD,
    NearestClip,
    NearestEmbedding,
    NearestTexture,
    Tagged,
    WhisperJudge,
    dnsmos,
    frechet_distance,
    kl_divergence,
    label_said,
)
from uniaudio_cli.models.registry import resolve_judge

RATE = 16_000
# DNSMOS doubles a shorter clip until it has 9.01 s and scores every 9.01 s of that: of these samples, or four times
# as many, once.
SHORT = 9_200


def test_the_nearest_clip_is_the_one_it_comes_from():
    clips = {str(seed): [chirps(RATE // 2, seed)[0]] for seed in range(4)}
    judge = NearestClip(clips, RATE)
    for label, (wav,) in clips.items():
        faint = 0.3 * torch.nn.functional.pad(wav, (2_000, 500)) + 1e-4 * torch.randn(1, RATE // 2 + 2_500)
        assert judge(faint) == label


@pytest.mark.parametrize(
    ("transcript", "label"),
    [
        (" Seven.", "seven"),
        (" 7", "seven"),
        (" 77", "seven"),
        ("To, to, to", "two"),
        (" FOR...", "four"),
        (" seven, seven, sev", "seven"),
        (" two, four, two", None),
        (" seven, eight", None),
        (" 74", None),
        (" Nein", None),
        (" the seven", None),
        (" ", None),
        ("...", None),
    ],
)
def test_what_a_transcript_says(transcript, label):
    assert label_said(transcript, ("two", "four", "seven")) == label


def test_a_digit_that_is_no_label_is_none():
    assert label_said("three", ("two", "four")) is None


@pytest.mark.slow
def test_whisper_labels_example_digits_and_takes_any_input():
    """Only where its weights are: nothing is fetched for a test."""
    pytest.importorskip("faster_whisper")
    folder = Path(__file__).parents[2] / "examples" / "audio" / "digits"
    labels = sorted(each.name for each in folder.iterdir())
    try:
        judge = WhisperJudge(resolve_judge("whisper-tiny.en", offline=True), labels)
    except MissingWeightsError:
        pytest.skip("no weights of Whisper tiny.en")
    for label in labels:
        wav = read_wav(folder / label / "us-m3-1.flac", RATE)
        assert (judge(wav), judge.free(wav)) == (label, label)
    noise = 0.1 * torch.randn(1, 4 * RATE, generator=torch.Generator().manual_seed(0))
    for wav in (noise, torch.zeros(1, 1), torch.ones(1, 3 * RATE - LEAD + 1)):
        assert judge(wav) in labels
        assert judge.free(wav) in (*labels, None)


def test_a_wav_is_most_like_itself():
    wav = chirps(4 * SHORT, 1)[0]
    noisy = wav + 0.1 * torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    same, other = speech_metrics(wav, wav, RATE), speech_metrics(wav, noisy, RATE)
    assert same["si_sdr"] > 60 > other["si_sdr"]
    assert same["stoi"] == pytest.approx(1, abs=1e-3)
    assert all(same[name] >= other[name] for name in other)


def test_dnsmos_takes_any_length_and_level_at_its_rate():
    pytest.importorskip("speechmos")
    for wav in (chirps(SHORT, 1)[0], 3 * chirps(SHORT, 1)[0]):
        assert 0.5 < dnsmos(wav, RATE) < 5
    with pytest.raises(UsageError, match="16,000 Hz, not 8,000"):
        dnsmos(wav, 8_000)


def test_the_nearest_texture_separates_pulses_from_steady_noise():
    def noise(seed: int, pulses: bool) -> torch.Tensor:
        wav = 0.1 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(seed))
        return wav * (torch.arange(32_000) % 1_600 < 800) if pulses else wav

    known = {"rain": [noise(seed, False) for seed in (1, 2)], "clapping": [noise(seed, True) for seed in (3, 4)]}
    judge = NearestTexture(known, RATE)
    assert [judge(noise(9, pulses)) for pulses in (False, True)] == ["rain", "clapping"]
    assert judge(0.5 * noise(9, True)) == "clapping"


def test_frechet_distance_of_gaussians():
    values = np.random.default_rng(0).standard_normal((4_000, 2))

    def set_of(rows):
        return [Tagged(part, np.full(3, 1 / 3)) for part in np.split(rows, 10)]

    assert frechet_distance(set_of(values), set_of(values)) == pytest.approx(0, abs=1e-9)
    # (distance of means)^2 + tr(A + B - 2 sqrt(A B)): 25 and (3 - 1)^2 in each dimension.
    assert frechet_distance(set_of(values), set_of(3 * values + 5)) == pytest.approx(2 * (25 + 4), rel=0.05)


def test_kl_divergence_of_posteriors():
    tagged = [Tagged(np.zeros((1, 2)), np.array(p)) for p in ([0.5, 0.5], [0.25, 0.75])]
    assert kl_divergence(tagged[:1], tagged[0]) == pytest.approx(0, abs=1e-9)
    assert kl_divergence(tagged[:1], tagged[1]) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-6)


def test_the_nearest_embedding_ignores_what_all_references_share():
    def tagged(*values):
        return Tagged(np.array([[100.0, *values]]), np.ones(1))

    judge = NearestEmbedding({"rain": [tagged(1.0, 0.0)], "dog": [tagged(0.0, 1.0)]})
    assert judge(tagged(0.2, 0.6)) == "dog"
