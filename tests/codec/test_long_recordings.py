"""Long recordings in pieces: the codes of the whole, and the level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.factories import chirps
from tests.kits import KINDS, RATE, codec_of
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.codec import clip_codes, long_recordings
from uniaudio_cli.codec.long_recordings import measure


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [3.0, 7.03, 12.5])
def test_pieces_have_the_codes_of_the_whole(kind, seconds, tmp_path, monkeypatch):
    codec = codec_of(kind)
    monkeypatch.setattr(clip_codes, "LONG_SECONDS", 2)
    monkeypatch.setattr(long_recordings, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(long_recordings, "CONTEXT_SECONDS", 1.5)
    wav = chirps(int(seconds * RATE), 3)[0] + 0.1
    write_wav(tmp_path / "long.wav", wav, RATE)
    whole = clip_codes.encode_wav(codec, clip_codes_read(tmp_path / "long.wav"))
    pieces = clip_codes.encode_file(codec, tmp_path / "long.wav")
    assert pieces.samples == whole.samples
    assert pieces.gain == pytest.approx(whole.gain, rel=1e-4)
    for found, expected in zip(pieces.codes, whole.codes, strict=True):
        assert found.shape == expected.shape
        assert float((found == expected).float().mean()) > 0.999  # a code may change where two are equally near


def clip_codes_read(path):
    from uniaudio_cli.audio.io import read_wav

    return read_wav(path, RATE)


@pytest.mark.parametrize("target", [None, -23.0])
@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.1, 0.6])
def test_the_level_is_that_of_the_whole(target, offset, scale):
    wav = scale * chirps(5 * RATE + 77, 1)[0] + (offset if scale else 0)
    level = measure(np.array_split(wav[0].numpy(), 7), RATE, target)
    expected = wav if target is None else normalise_level(wav, target, RATE)
    assert level.samples == wav.shape[-1]
    assert torch.allclose(level.gain * (wav - level.offset), expected, rtol=1e-4, atol=1e-6)
    assert (level.peak_gain is None) == (scale == 0)
