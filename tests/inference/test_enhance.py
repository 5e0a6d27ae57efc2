"""The filter: noise goes, everything else stays; blocks, rates, channels, pairs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from uniaudio_cli.audio.blocks import write_blocks
from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.audio.stft import spectra_of
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration, load_demonstrations
from uniaudio_cli.inference import band_network, gains
from uniaudio_cli.inference.enhance import Enhancer
from uniaudio_cli.inference.gains import lesson, read_pair, remix

RATE = 16_000


def syllables(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A voice of sorts, float32 [T]: harmonics of a moving pitch, in bursts with pauses between."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 130 + 20 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    most = int(min(3_500, 0.45 * rate) / 150)
    voice = sum(np.sin(k * phase) / k for k in range(1, most))
    return (0.1 * voice * np.clip(2 * np.sin(2 * np.pi * 1.7 * time), 0, 1)).astype(np.float32)


def noise(samples: int, seed: int = 1) -> np.ndarray:
    return (0.03 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def snr(clean: np.ndarray, wav: np.ndarray) -> float:
    return float(10 * np.log10(np.square(clean).sum() / np.square(wav - clean).sum()))


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Fewer mixtures, pieces, steps, bins and trees than usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_network, "BATCH", 8)
        patch.setattr(gains, "MIXTURES", 4)
        patch.setattr(gains, "STEPS", 30)
        patch.setattr(gains, "ROWS", 10_000)
        patch.setattr(gains, "TREES", 40)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two pairs."""
    place = tmp_path_factory.mktemp("pairs")
    for side in ("noisy", "clean"):
        (place / side).mkdir()
    for n in range(2):
        clean = syllables(1.5, seed=n)
        soundfile.write(place / "clean" / f"{n}.wav", clean, RATE)
        soundfile.write(place / "noisy" / f"{n}.wav", clean + noise(len(clean), n + 10), RATE)
    return place


@pytest.fixture(scope="module")
def taught(folder) -> Enhancer:
    return Enhancer(load_demonstrations(folder, "pair"))


@pytest.mark.parametrize("with_pairs", [False, True])
def test_noise_goes(with_pairs, request):
    enhancer = request.getfixturevalue("taught") if with_pairs else Enhancer()
    clean = syllables(3, seed=5)
    noisy = clean + noise(len(clean))
    made = enhancer.enhance((noisy, RATE)).wav[0].numpy()
    assert snr(clean, made) > snr(clean, noisy) + (4 if with_pairs else 1.5)


def test_pairs_help(taught):
    clean = syllables(3, seed=5)
    noisy = clean + noise(len(clean))
    made = [snr(clean, each.enhance((noisy, RATE)).wav[0].numpy()) for each in (Enhancer(), taught)]
    assert made[1] > made[0]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_rate_channels_and_length_are_kept(rate, channels):
    for seconds in (0.001, 0.3, 1.234):
        clean = syllables(seconds, rate)
        wav = np.stack([clean * (n + 1) / 3 for n in range(channels)]) + noise(len(clean)) / 2
        result = Enhancer().enhance((wav, rate))
        assert result.sample_rate == rate
        assert result.wav.shape == wav.shape
        assert result.wav.dtype == torch.float32
        assert result.seconds == pytest.approx(len(clean) / rate)
        assert result.wav.isfinite().all()
        assert np.abs(result.wav.numpy()).max() <= np.abs(wav).max() * 1.1 + 1e-6


@pytest.mark.parametrize("with_pairs", [False, True])
@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_noise_goes_at_other_rates(rate, with_pairs, request):
    enhancer = request.getfixturevalue("taught") if with_pairs else Enhancer()
    clean = syllables(3, rate, seed=2)
    noisy = clean + noise(len(clean))
    assert snr(clean, enhancer.enhance((noisy, rate)).wav[0].numpy()) > snr(clean, noisy) + 1


def test_channels_keep_their_place():
    clean = syllables(1)
    wav = np.stack([clean + noise(len(clean)), np.zeros_like(clean)])
    made = Enhancer().enhance((wav, RATE)).wav
    assert made[0].abs().max() > 0
    assert made[1].abs().max() == 0


@pytest.mark.parametrize("with_pairs", [False, True])
@pytest.mark.parametrize("sizes", [[16_000], [1], [100, 7_000, 3], [511, 513]])
def test_a_stream_in_blocks_equals_the_whole(sizes, with_pairs, request):
    enhancer = request.getfixturevalue("taught") if with_pairs else Enhancer()
    wav = np.stack([syllables(2.3) + noise(int(2.3 * RATE)), noise(int(2.3 * RATE), 4)])
    wav = wav[:, :4_000] if sizes == [1] else wav
    stream, made, at, turn = enhancer.stream(RATE, 2), [], 0, 0
    while at < wav.shape[1]:
        size = sizes[turn % len(sizes)]
        made.append(stream.push(wav[:, at : at + size]))
        at, turn = at + size, turn + 1
    made.append(stream.finish())
    whole = enhancer.enhance((wav, RATE)).wav.numpy()
    np.testing.assert_allclose(np.concatenate(made, axis=1), whole, atol=1e-5)


def test_a_stream_is_32_ms_late():
    stream = Enhancer().stream(RATE)
    given = made = 0
    for _ in range(20):
        given += 160
        made += stream.push(noise(160)[None]).shape[1]
        assert given - made <= 0.032 * RATE


def test_memory_does_not_grow_with_length(tmp_path):
    blocks = 40

    def source():
        for n in range(blocks):
            yield syllables(1, 8_000, n)[None] + noise(8_000, n)[None]

    stream, held = Enhancer().stream(8_000), []

    def through():
        for block in source():
            yield stream.push(block)
            state = stream._filter
            held.append(state.waiting.size + state.overlap.size)
        yield stream.finish()

    assert write_blocks(tmp_path / "long.wav", through(), 8_000, 1, False) == blocks * 8_000
    assert max(held) < 2_000
    assert soundfile.info(tmp_path / "long.wav").frames == blocks * 8_000


@pytest.mark.parametrize("samples", [1, 100, 40_000])
def test_silence_stays_silent(samples):
    assert torch.equal(Enhancer().enhance((np.zeros((2, samples), np.float32), RATE)).wav, torch.zeros(2, samples))


def test_silence_within_sound_stays_silent():
    wav = syllables(3) + noise(3 * RATE)
    wav[RATE : 2 * RATE] = 0
    made = Enhancer().enhance((wav, RATE)).wav[0]
    assert made[RATE + 512 : 2 * RATE - 512].abs().max() == 0


def test_clean_speech_is_nearly_unchanged():
    clean = np.concatenate([np.zeros(RATE // 3, np.float32), syllables(3, seed=3)])
    clean += noise(len(clean)) / 3_000
    made = Enhancer().enhance((clean, RATE)).wav[0].numpy()
    assert snr(clean, made) > 20


@pytest.mark.parametrize("gain", [0.01, 0.3, 2.0])
def test_the_level_does_not_matter(gain):
    wav = syllables(2) + noise(2 * RATE)
    loud, other = (Enhancer().enhance((wav * np.float32(each), RATE)).wav for each in (1.0, gain))
    torch.testing.assert_close(other / gain, loud, atol=2e-3, rtol=0)


def test_strength():
    wav = syllables(2) + noise(2 * RATE)
    made = [Enhancer().enhance((wav, RATE), strength).wav[0].numpy() for strength in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(made[0], wav, atol=1e-5)
    power = [float(np.square(each).sum()) for each in made]
    assert power[0] > power[1] > power[2]
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="strength must be from 0 to 1"):
            Enhancer().enhance((wav, RATE), strength)
        with pytest.raises(UsageError, match="strength must be from 0 to 1"):
            Enhancer().stream(RATE, 1, strength)


def test_inputs_of_every_kind(tmp_path):
    wav = np.round((syllables(0.5) + noise(RATE // 2)) * 32_767) / 32_767
    path = tmp_path / "a.wav"
    soundfile.write(path, wav, RATE)
    results = [Enhancer()(each) for each in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()))]
    assert results[0].file == str(path)
    for result in [*results, Enhancer()((soundfile.read(path, dtype="float32")[0], RATE))]:
        torch.testing.assert_close(result.wav, results[0].wav, atol=1e-6, rtol=0)


def test_bad_inputs(tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    for bad in (tmp_path / "bad.wav", tmp_path / "empty.wav", tmp_path / "gone.wav", b"", (np.zeros(0), RATE)):
        with pytest.raises(UniAudioError):
            Enhancer().enhance(bad)


@pytest.mark.slow
def test_the_same_pairs_give_the_same_model(folder):
    pairs = load_demonstrations(folder, "pair")
    wav = syllables(1) + noise(RATE)
    made = [Enhancer(pairs).enhance((wav, RATE)).wav for _ in range(2)]
    assert torch.equal(*made)
    assert not torch.equal(made[0], Enhancer().enhance((wav, RATE)).wav)


def test_a_pair_is_cut_to_its_shorter_side(folder, tmp_path):
    soundfile.write(tmp_path / "short.wav", syllables(0.5), RATE)
    pair = read_pair(Demonstration(folder / "noisy" / "0.wav", target=tmp_path / "short.wav"))
    assert [len(side) for side in pair] == [RATE // 2] * 2
    with pytest.raises(UsageError, match="has no clean side"):
        read_pair(Demonstration(folder / "noisy" / "0.wav"))


def test_mixtures_have_the_pairs_clean_sides(folder):
    pairs = [read_pair(each) for each in load_demonstrations(folder, "pair")]
    mixed = remix(pairs, np.random.default_rng(0))
    assert len(mixed) == 2 + 4
    assert all(np.array_equal(clean, pairs[source][1]) for (_, clean), source in mixed)
    assert [source for _, source in mixed].count(0) == 3
    found = lesson(*mixed[2][0], 3_000, np.random.default_rng(0))
    assert found.features.shape == (3_000, 18)
    assert found.inputs.shape[1:] == (72,)
    assert found.roots.shape == found.band_weights.shape == (len(found.inputs), 24)
    assert all(np.isfinite(each).all() for each in found)
    for wanted in (found.gains, found.roots):
        assert wanted.min() >= 0
        assert wanted.max() <= 1
    assert found.band_weights.min() > 0


def test_loud_bins_are_drawn_more_often(folder):
    noisy, clean = read_pair(load_demonstrations(folder, "pair")[0])
    found = lesson(noisy, clean, 20_000, np.random.default_rng(0))
    power = np.square(np.abs(spectra_of(noisy, RATE)))
    assert power[found.frames, found.bins].mean() > 1.5 * power.mean()


def test_silent_pairs_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(gains, "STEPS", 3)
    monkeypatch.setattr(gains, "TREES", 3)
    for name, side in (("noisy", noise(RATE)), ("clean", np.zeros(RATE, np.float32))):
        soundfile.write(tmp_path / f"{name}.wav", side, RATE)
    silent = Demonstration(tmp_path / "clean.wav", target=tmp_path / "clean.wav")
    noise_alone = Demonstration(tmp_path / "noisy.wav", target=tmp_path / "clean.wav")
    wav = syllables(1) + noise(RATE)
    for pairs in ([silent], [noise_alone], [silent, noise_alone]):
        assert Enhancer(pairs).enhance((wav, RATE)).wav.isfinite().all()


@pytest.mark.slow
def test_real_pairs_help_real_speech(test_data, monkeypatch):
    for name, value in (("MIXTURES", 36), ("STEPS", 150), ("ROWS", 60_000)):
        monkeypatch.setattr(gains, name, value)
    pystoi = pytest.importorskip("pystoi")
    pairs = load_demonstrations(test_data / "data" / "voicebank-demand", "pair")
    enhancer = Enhancer(pairs[:4])
    better = []
    for pair in pairs[4:7]:
        assert pair.target is not None
        noisy, clean = (read_audio(each, RATE)[0].numpy() for each in (pair.audio, pair.target))
        made = enhancer.enhance(pair.audio).wav[0].numpy()
        better.append(pystoi.stoi(clean, made, RATE) - pystoi.stoi(clean, noisy, RATE))
        assert snr(clean, made) > snr(clean, noisy)
    assert np.mean(better) > -0.005
