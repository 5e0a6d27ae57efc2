from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.codec.architectures.make_golden import CODECS, SEED, golden
from tests.factories import chirps, published_codec, seeded
from uniaudio_cli.codec.architectures.published import LocalAttention, PublishedDecoder, PublishedEncoder, Snake
from uniaudio_cli.codec.checkpoint import load_codec


@pytest.fixture(scope="module")
def codec():
    return published_codec()


@pytest.fixture(scope="module")
def reference(test_data):
    """The published implementation's own checkpoint, and what it made of two clips."""
    folder = test_data / "golden" / "llm_codec_tiny"
    with np.load(folder / "expected.npz") as arrays:
        expected = {name: torch.from_numpy(arrays[name]) for name in arrays}
    clips = [soundfile.read(folder / f"clip{clip}.wav", dtype="float32")[0] for clip in (0, 1)]
    return load_codec(folder / "checkpoint.pth"), [torch.from_numpy(clip)[None, None] for clip in clips], expected


@pytest.mark.parametrize("clip", [0, 1])
def test_as_the_published_implementation(reference, clip):
    codec, clips, expected = reference
    with torch.inference_mode():
        latent = codec.encoder(codec.padded(clips[clip]))
    codes = codec.encode(clips[clip])
    assert torch.allclose(latent, expected[f"z{clip}"], atol=1e-5)
    assert all(torch.equal(level, expected[f"codes{clip}_{k}"]) for k, level in enumerate(codes))
    silent, noisy = codec.decode(codes, noise=False), codec.decode(codes, seed=1234)
    assert (silent - expected[f"wav_noise_off{clip}"]).abs().max() < 1e-4
    assert (noisy - expected[f"wav_seed1234_{clip}"]).abs().max() < 1e-4


def test_a_batch_of_two_as_the_published_implementation(reference):
    codec, clips, expected = reference
    length = max(clip.shape[-1] for clip in clips)
    padded = [torch.nn.functional.pad(clip, (0, length - clip.shape[-1])) for clip in clips]
    both = codec.encode(torch.cat(padded))
    single = [codec.encode(clip) for clip in padded]
    assert all(torch.equal(level, torch.cat(pair)) for level, *pair in zip(both, *single, strict=True))
    wav = codec.decode(both, seed=1234)
    assert (wav[1:] - expected["wav_seed1234_1"]).abs().max() < 1e-4
    assert (wav[:1] - codec.decode(single[0], seed=1234)).abs().max() < 1e-5


@pytest.mark.parametrize("name", CODECS)
def test_as_it_was(name):
    with np.load(Path(__file__).parent / f"golden_{name}.npz") as arrays:
        expected = {key: arrays[key] for key in arrays}
    found = golden(CODECS[name](), torch.from_numpy(expected["wav"]))
    assert found.keys() == expected.keys()
    for key, array in found.items():
        assert array.dtype == expected[key].dtype
        np.testing.assert_allclose(array, expected[key], atol=0 if key.startswith("codes") else 1e-4, err_msg=key)


def test_shapes(codec):
    """16,000 samples are padded to 19,200, and levels have 10, 20 and 40 codes."""
    codes = codec.encode(chirps(16_000))
    assert [tuple(level.shape) for level in codes] == [(1, 10), (1, 20), (1, 40)]
    assert codec.decode(codes).shape == (1, 1, 19_200)
    assert codec.frames(16_000) == 40


def test_a_clip_sounds_the_same_alone_and_in_a_batch(codec):
    wav = torch.cat([chirps(7_680, seed) for seed in (0, 1, 2)])
    codes = codec.encode(wav)
    assert all(torch.equal(level[1:2], alone) for level, alone in zip(codes, codec.encode(wav[1:2]), strict=True))
    together = codec.decode(codes, SEED)
    for clip in range(3):
        alone = codec.decode([level[clip : clip + 1] for level in codes], SEED)
        assert torch.allclose(together[clip : clip + 1], alone, atol=1e-5)


def test_noise_follows_the_seed_and_leaves_the_global_state_alone(codec):
    codes = codec.encode(chirps(3_840))
    state = torch.get_rng_state()
    first, again, other = (codec.decode(codes, seed) for seed in (1, 1, 2))
    silent = codec.decode(codes, noise=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)
    assert not torch.allclose(first, silent, atol=1e-2)
    assert torch.equal(silent, codec.decode(codes, seed=5, noise=False))


def test_every_clip_has_a_generator_of_its_own(codec):
    latent = torch.randn(1, 128, 8, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1)
    with torch.inference_mode():
        wav = codec.decoder(latent, [torch.Generator().manual_seed(seed) for seed in (1, 2)])
        alone = codec.decoder(latent[:1], [torch.Generator().manual_seed(2)])
    assert torch.allclose(wav[1:], alone, atol=1e-5)
    assert not torch.allclose(wav[:1], wav[1:], atol=1e-2)


def test_attention_stays_within_its_window():
    attention = LocalAttention(128, window=8)
    seeded(attention)
    x = torch.randn(1, 128, 24, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, :, 9] += 1.0
    moved = (attention(x) - attention(changed)).abs().amax(dim=(0, 1)) > 1e-7
    assert moved.tolist() == [False] * 8 + [True] * 8 + [False] * 8


def test_attention_knows_the_order_of_frames():
    attention = LocalAttention(64, window=4)
    seeded(attention)
    x = torch.randn(1, 64, 4, generator=torch.Generator().manual_seed(0))
    swapped = x[:, :, [1, 0, 2, 3]]
    assert not torch.allclose(attention(x)[:, :, 2], attention(swapped)[:, :, 2], atol=1e-4)


@pytest.mark.parametrize(("channels", "frames", "message"), [(96, 8, "multiple of 64"), (64, 12, "12 frames")])
def test_attention_says_what_does_not_fit(channels, frames, message):
    with pytest.raises(ValueError, match=message):
        LocalAttention(channels, window=8)(torch.zeros(1, channels, frames))


def test_snake():
    """x + sin^2(alpha x) / alpha."""
    snake = Snake(2)
    snake.alpha.data = torch.tensor([[[1.0], [2.0]]])
    out = snake(torch.tensor([[[0.5], [0.5]]])).flatten()
    assert out.tolist() == pytest.approx([0.5 + np.sin(0.5) ** 2, 0.5 + np.sin(1.0) ** 2 / 2], abs=1e-6)


@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("window", [4, None])
def test_other_shapes_of_the_family(depthwise, noise, window):
    encoder = PublishedEncoder(64, 16, (3, 4), depthwise, window)
    decoder = PublishedDecoder(64, 64, (4, 3), noise, depthwise, window)
    latent = encoder(torch.randn(2, 1, 96, generator=torch.Generator().manual_seed(0)))
    assert latent.shape == (2, 64, 8)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    wav = decoder(latent, generators)
    assert wav.shape == (2, 1, 96)
    assert torch.allclose(wav, decoder(latent), atol=1e-6) is not noise
    assert wav.abs().max() < 1
