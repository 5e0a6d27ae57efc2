"""Recordings in blocks: as `read_audio` has them, whatever their rate and channels, in windows that leave no gap."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.audio.stream import stream_audio, stream_pcm, windows
from uniaudio_cli.core.errors import AudioWarning, UniAudioError

RATE = 16_000


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1), (48_000, 6)])
def test_blocks_are_the_recording(tmp_path, rate, channels):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate + 17, channels))
    soundfile.write(tmp_path / "x.wav", samples, rate)
    whole = read_audio(tmp_path / "x.wav", RATE)[0].numpy()
    streamed = np.concatenate(list(stream_audio(tmp_path / "x.wav", RATE)))
    assert abs(len(streamed) - len(whole)) <= 1
    size = min(len(streamed), len(whole))
    assert np.abs(streamed[:size] - whole[:size]).max() < 1e-5
    assert max(map(len, stream_audio(tmp_path / "x.wav", RATE))) < 1 << 17


def test_channels_that_cancel(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    soundfile.write(tmp_path / "x.wav", np.stack([samples, -samples], 1), RATE)
    with pytest.warns(AudioWarning, match="cancel each other"):
        streamed = np.concatenate(list(stream_audio(tmp_path / "x.wav", RATE)))
    assert np.abs(np.abs(streamed) - np.abs(samples)).max() < 1e-4


def test_arrays_and_no_samples(tmp_path):
    (block,) = stream_audio((np.ones(10, np.float32), RATE), RATE)
    assert block.tolist() == [1.0] * 10
    soundfile.write(tmp_path / "x.wav", np.zeros(0), RATE)
    with pytest.raises(UniAudioError, match=r"x.wav: holds no samples"):
        list(stream_audio(tmp_path / "x.wav", RATE))


@pytest.mark.parametrize(
    ("length", "starts", "last"), [(10, [0, 3, 6], 4), (11, [0, 3, 6, 9], 2), (3, [0], 3), (4, [0], 4), (0, [], 0)]
)
@pytest.mark.parametrize("block", [1, 3, 100])
def test_windows_cover_all(length, starts, last, block):
    samples = np.arange(length, dtype=np.float32)
    blocks = [samples[at : at + block] for at in range(0, length, block)]
    found = list(windows(blocks, 4, 3))
    assert [start for start, _ in found] == starts
    assert all(window[0] == start for start, window in found)
    assert not found or len(found[-1][1]) == last


def test_raw_samples_are_whole_whatever_comes_at_once():
    samples = np.array([0, 1, -1, 32767, -32768], "<i2")

    class Trickle(io.BytesIO):
        def read1(self, size=-1):
            return super().read1(min(size, 3))

    found = np.concatenate(list(stream_pcm(Trickle(samples.tobytes() + b"\x01"), 1.0, RATE)))
    assert found.tolist() == (samples / 32768).tolist()
