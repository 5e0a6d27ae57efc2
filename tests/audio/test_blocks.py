"""Recordings read and written in blocks."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from uniaudio_cli.audio.blocks import encoded_blocks, open_blocks, stream_blocks, write_blocks
from uniaudio_cli.core.errors import AudioWarning, UniAudioError, UsageError

RATE = 8_000


def samples(channels: int = 2, seconds: float = 2.5) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal((channels, int(seconds * RATE)))).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_blocks_add_up_to_the_recording(tmp_path, channels):
    wav = samples(channels)
    soundfile.write(tmp_path / "a.wav", wav.T, RATE, subtype="FLOAT")
    for source in (tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes(), (wav, RATE)):
        with open_blocks(source) as recording:
            assert (recording.rate, recording.channels) == (RATE, channels)
            blocks = list(recording.blocks)
        assert max(map(len, blocks)) <= RATE
        np.testing.assert_array_equal(np.concatenate(blocks).T, wav)


def test_recordings_that_cannot_be_read(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    for name, message in (("empty", "holds no samples"), ("nan", "NaN"), ("gone", "no such file")):
        with pytest.raises(UniAudioError, match=message), open_blocks(tmp_path / f"{name}.wav") as recording:
            list(recording.blocks)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_blocks_are_written_as_one_file(tmp_path, suffix):
    wav, path = samples(), tmp_path / f"a{suffix}"
    assert write_blocks(path, np.array_split(wav, 7, axis=1), RATE, 2, False) == wav.shape[1]
    read, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    assert read.shape == wav.T.shape
    if suffix != ".ogg":
        np.testing.assert_allclose(read.T, wav, atol=1e-4)
    with pytest.raises(UsageError, match="already exists"):
        write_blocks(path, [wav], RATE, 2, False)
    write_blocks(path, [wav], RATE, 2, True)


def test_what_is_past_full_scale_is_kept(tmp_path):
    wav = 20 * samples()
    with pytest.warns(AudioWarning, match="32-bit floats"):
        write_blocks(tmp_path / "a.wav", [wav], RATE, 2, False)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0].T, wav)
    with pytest.warns(AudioWarning, match="turned down"):
        write_blocks(tmp_path / "a.flac", [wav], RATE, 2, False)
    read = soundfile.read(tmp_path / "a.flac", dtype="float32")[0].T
    np.testing.assert_allclose(read, wav / np.abs(wav).max(), atol=1e-4)


def test_files_that_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match="audio is written as"):
        write_blocks(tmp_path / "a.mp3", [samples()], RATE, 2, False)
    with pytest.raises(UniAudioError, match="NaN or infinite"):
        write_blocks(tmp_path / "a.wav", [np.full((1, 10), np.nan, np.float32)], RATE, 1, False)
    assert not list(tmp_path.iterdir())


def test_blocks_in_a_stream():
    wav, file = samples(), io.BytesIO()
    assert stream_blocks(file, np.array_split(wav, 3, axis=1), RATE, 2) == wav.shape[1]
    read, rate = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(read.T, wav, atol=1e-4)


@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("cuts", [1, 7])
def test_blocks_as_the_bytes_of_a_file(kind, channels, cuts):
    wav = samples(channels)
    blocks = [*np.array_split(wav, cuts, axis=1), np.zeros((channels, 0), np.float32)]
    pieces = list(encoded_blocks(blocks, RATE, channels, kind, wav.shape[1]))
    data = b"".join(pieces)
    about = soundfile.info(io.BytesIO(data))
    assert (about.frames, about.samplerate, about.format) == (wav.shape[1], RATE, kind.upper())
    read = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    np.testing.assert_allclose(read.reshape(-1, channels).T, wav, atol=1e-4)
    if kind == "wav":
        stream_blocks(whole := io.BytesIO(), blocks, RATE, channels)
        assert whole.getvalue() == data


def test_flac_has_no_such_rate():
    with pytest.raises(UniAudioError, match="cannot be written as flac"):
        list(encoded_blocks([samples()], 100_001, 2, "flac", 1))


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_bytes_past_full_scale_are_clipped(kind):
    data = b"".join(encoded_blocks([np.full((1, 100), 3.0, np.float32)], RATE, 1, kind, 100))
    np.testing.assert_allclose(soundfile.read(io.BytesIO(data))[0], 1, atol=1e-4)
