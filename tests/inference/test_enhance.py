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
from uniaudio_cli.inference.pipeline import Session
from uniaudio_cli.prompting.task import Clip


class Echo(Session):
    """A session whose model gives back what it hears."""

    def _transform_windows(self, pieces):
        self.__dict__["pieces"] = pieces
        return [piece.clone() for piece in pieces], []


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 7, 100, 1920])
@pytest.mark.parametrize("share", [0, 0.5, 1, 1.01, 1.25, 1.76, 2, 3.5, 7])
def test_windows_add_up_to_the_whole(window, share):
    samples = max(1, round(share * window))
    for length in {samples, samples + 1, max(1, samples - 1)}:
        wav = torch.rand(1, length, generator=torch.Generator().manual_seed(length)) + 0.5
        task = clean_task(clip=Clip(window / RATE))
        echo = Echo(make_kit(), task, (), 0)
        made = echo.transform(wav).wav
        torch.testing.assert_close(made, wav, atol=1e-5, rtol=0)
        heard = [piece.shape[-1] for piece in echo.__dict__["pieces"]]
        assert heard == [min(window, length)] * len(heard)
        assert len(heard) == (1 if length <= window else len(heard))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 2, 479, CLIP - 1, CLIP, CLIP + 1, 33 * CLIP // 10])
def test_audio_comes_out_as_long_as_it_goes_in(clips, kind, samples):
    session = make_kit(kind).session(clean_task(), pairs(clips))
    wav = chirps(samples, 30)[0] + 0.01
    before = wav.clone()
    reply = session.transform(wav)
    assert reply.wav.shape == (1, samples)
    assert reply.wav.dtype == torch.float32
    assert reply.wav.isfinite().all()
    assert reply.wav.abs().max() > 0
    assert torch.equal(wav, before)
    coarse = len(reply.codes[0])
    assert [len(row) for row in reply.codes] == [coarse, 2 * coarse, 4 * coarse]


def test_what_is_mixed_in(clips):
    session = make_kit().session(clean_task(), pairs(clips))
    wav = chirps(2 * CLIP, 30)[0]
    made = session.transform(wav).wav
    for mix in (0.0, 0.25, 1.0):
        expected = (1 - mix) * made + mix * wav
        torch.testing.assert_close(session.transform(wav, mix).wav, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("samples", [1, 100, CLIP, 3 * CLIP])
def test_silence_stays_silent(clips, samples):
    session = make_kit().session(clean_task(), pairs(clips))
    assert torch.equal(session.transform(torch.zeros(1, samples)).wav, torch.zeros(1, samples))


def test_silence_within_sound_stays_silent(clips):
    wav = chirps(5 * CLIP, 3)[0]
    wav[:, CLIP : 3 * CLIP] = 0
    made = make_kit().session(clean_task(), pairs(clips)).transform(wav).wav
    # The third window hears nothing but silence, and the middle half of it is in no other.
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
    wav, target = make(), session.kit.codec.config.level_db
    reply = session.transform(wav)
    decoded = session.kit.decode(reply.codes, seed=0)[:, :CLIP]
    gain = 1.0 if target is None else float(normalise_level(wav, target, RATE).abs().max() / wav.abs().max())
    torch.testing.assert_close(reply.wav, decoded / gain, atol=1e-6, rtol=1e-4)


def test_what_is_half_as_loud_comes_out_half_as_loud(clips):
    session = make_kit().session(clean_task(), pairs(clips))
    for wav in (chirps(2 * CLIP, 32)[0], clicks(2 * CLIP)):
        loud, faint = session.transform(wav).wav, session.transform(wav / 2).wav
        assert level_db(faint, RATE) == pytest.approx(level_db(loud, RATE) - 20 * math.log10(2), abs=0.01)


def test_a_file_in_and_its_samples_out(clips):
    session = make_kit().session(clean_task(repeats=2), pairs(clips))
    reply = session(clips / "long.wav")
    assert torch.equal(reply.wav, session.transform(read_wav(clips / "long.wav", RATE)).wav)
    assert session(clips / "short.wav").wav.shape == (1, 100)


def test_a_pair_of_two_lengths_is_heard_as_one_of_the_noisy_one(clips):
    for noisy, clean in (("short", "0"), ("0", "short")):
        task = clean_task(clip=Clip(SECONDS, pad=False))
        pair = Demonstration(clips / f"{noisy}.wav", target=clips / f"{clean}.wav")
        ((example, _),) = make_kit().session(task, [pair]).examples
        assert list(map(len, example.input.codes)) == list(map(len, example.output.codes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [(2,), (1, 2)])
def test_kept_levels_are_those_of_the_input(clips, kind, kept):
    kit = make_kit(kind)
    session = kit.session(clean_task(kept=kept), pairs(clips))
    wavs = [chirps(CLIP, seed)[0] for seed in range(40, 49)]  # more than are written together
    heard = [kit.hear(wav) for wav in wavs]
    made = session.answer_audio([each.shown((0, 1, 2)) for each in heard], CLIP)
    for codes, each in zip(made, heard, strict=True):
        assert list(map(len, codes)) == list(map(len, each.codes))
        assert [codes[level] for level in kept] == [each.codes[level] for level in kept]
    assert [codes[0] for codes in made] != [each.codes[0] for each in heard]
    alone = session.transform(wavs[-1])
    assert alone.codes == made[-1]
