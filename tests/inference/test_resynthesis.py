"""Audio to audio: windows, lengths, levels, silence."""

from __future__ import annotations

import math

import pytest
import torch

from tests.factories import chirps
from tests.kits import CLIP, KINDS, RATE, SECONDS, clean_task, make_kit, pairs
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.transforms import level_db, normalise_level
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.resynthesis import Resynthesizer
from uniaudio_cli.prompting.task import Clip


class Identity(Resynthesizer):
    """An enhancer whose generation returns its input; keeps the windows it was given."""

    def _enhance_windows(self, windows):
        self.windows = windows
        return [window.clone() for window in windows], []


@pytest.mark.parametrize("window", [800, 801, 1920])
@pytest.mark.parametrize("share", [0, 0.5, 1, 1.01, 1.25, 1.76, 2, 3.5, 7])
def test_windows_add_up_to_the_whole(clips, window, share):
    samples = max(1, round(share * window))
    for length in {samples, samples + 1, max(1, samples - 1)}:
        wav = torch.rand(1, length, generator=torch.Generator().manual_seed(length)) + 0.5
        task = clean_task(clip=Clip(seconds=window / RATE))
        identity = Identity(make_kit().models, task, pairs(clips))
        made, _ = identity.enhance_wav(wav)
        torch.testing.assert_close(made, wav, atol=1e-5, rtol=0)
        lengths = [each.shape[-1] for each in identity.windows]
        assert lengths == [min(window, length)] * len(lengths)
        assert len(lengths) == 1 or length > window


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 2, 479, CLIP - 1, CLIP, CLIP + 1, 33 * CLIP // 10])
def test_audio_comes_out_as_long_as_it_goes_in(clips, kind, samples):
    session = make_kit(kind).session(clean_task(), pairs(clips))
    wav = chirps(samples, 30)[0] + 0.01
    before = wav.clone()
    made, codes = session.enhance_wav(wav)
    assert made.shape == (1, samples)
    assert made.dtype == torch.float32
    assert made.isfinite().all()
    assert samples == 1 or made.abs().max() > 0  # one sample is an offset and nothing else
    assert torch.equal(wav, before)
    coarse = len(codes[0])
    assert [len(row) for row in codes] == [coarse, 2 * coarse, 4 * coarse]


def test_strength_is_the_share_of_what_is_generated(clips):
    session = make_kit().session(clean_task(), pairs(clips))
    wav = chirps(2 * CLIP, 30)[0]
    made = session.enhance_wav(wav)[0]
    for strength in (0.0, 0.25, 1.0):
        expected = strength * made + (1 - strength) * wav
        torch.testing.assert_close(session.enhance_wav(wav, strength)[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("samples", [1, 100, CLIP, 3 * CLIP])
def test_silence_stays_silent(clips, samples):
    session = make_kit().session(clean_task(), pairs(clips))
    assert torch.equal(session.enhance_wav(torch.zeros(1, samples))[0], torch.zeros(1, samples))


def test_silence_within_sound_stays_silent(clips):
    wav = chirps(5 * CLIP, 3)[0]
    wav[:, CLIP : 3 * CLIP] = 0
    made = make_kit().session(clean_task(), pairs(clips)).enhance_wav(wav)[0]
    # The third window holds nothing but silence, and the middle half of it is in no other.
    assert torch.equal(made[:, 7 * CLIP // 4 : 9 * CLIP // 4], torch.zeros(1, CLIP // 2))
    assert made[:, :CLIP].abs().max() > 0
    assert made[:, 3 * CLIP :].abs().max() > 0


def clicks(samples: int) -> torch.Tensor:
    """A faint tone with a click that keeps it from being turned up all the way."""
    wav = 0.01 * torch.sin(torch.arange(samples) / 5)[None]
    wav[:, samples // 2] = 0.5
    return wav


@pytest.mark.parametrize("make", [lambda: chirps(CLIP, 31)[0], lambda: clicks(CLIP)], ids=["sound", "click"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_level_comes_back(clips, kind, make):
    session = make_kit(kind).session(clean_task(), pairs(clips))
    wav, target = make(), session.models.codec.config.level_db
    made, codes = session.enhance_wav(wav)
    decoded = session.encoder.decode(codes, seed=0)[:, :CLIP]
    gain = 1.0 if target is None else float(normalise_level(wav, target, RATE).abs().max() / wav.abs().max())
    torch.testing.assert_close(made, decoded / gain, atol=1e-6, rtol=1e-4)


def test_what_is_half_as_loud_comes_out_half_as_loud(clips):
    session = make_kit().session(clean_task(), pairs(clips))
    for wav in (chirps(2 * CLIP, 32)[0], clicks(2 * CLIP)):
        loud, faint = session.enhance_wav(wav)[0], session.enhance_wav(wav / 2)[0]
        assert level_db(faint, RATE) == pytest.approx(level_db(loud, RATE) - 20 * math.log10(2), abs=0.01)


def test_a_file_in_and_its_samples_out(clips):
    session = make_kit().session(clean_task(repeats=2), pairs(clips))
    result = session(clips / "long.wav")
    assert torch.equal(result.wav, session.enhance_wav(read_wav(clips / "long.wav", RATE))[0])
    assert session(clips / "short.wav").wav.shape == (1, 400)


def test_a_pair_has_the_length_of_its_noisy_side(clips):
    for noisy, clean in (("short", "0"), ("0", "short")):
        task = clean_task(clip=Clip(seconds=SECONDS, pad=False))
        pair = Demonstration(clips / f"{noisy}.wav", target=clips / f"{clean}.wav")
        (encoded,) = make_kit().session(task, [pair]).examples
        assert list(map(len, encoded.example.input.codes)) == list(map(len, encoded.example.output.codes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [(2,), (1, 2)])
def test_passthrough_levels_are_those_of_the_input(clips, kind, kept):
    kit = make_kit(kind)
    session = kit.session(clean_task(passthrough_levels=kept), pairs(clips))
    wavs = [chirps(CLIP, seed)[0] for seed in range(40, 49)]  # more than one batch
    encoded = [kit.encoder.encode(wav) for wav in wavs]
    made = session.generator.generate([each.as_audio((0, 1, 2)) for each in encoded], CLIP)
    for codes, each in zip(made, encoded, strict=True):
        assert list(map(len, codes)) == list(map(len, each.codes))
        assert [codes[level] for level in kept] == [each.codes[level] for level in kept]
    assert [codes[0] for codes in made] != [each.codes[0] for each in encoded]
    assert session.enhance_wav(wavs[-1])[1] == made[-1]
