"""EnCodec, DAC and Mimi beside the product's codec, as tiny random models of the same classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.conftest import uniaudio, world
from tests.evaluation.folders import clip_folder
from tests.factories import chirps
from uniaudio_cli.cli.codec_eval import print_compared
from uniaudio_cli.codec import quality
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.evaluation.codec_peers import ComparedCodec, load_compared, parse_compared

__all__ = ["uniaudio", "world"]
RATE = 16_000


def encodec():
    from transformers import EncodecConfig, EncodecModel

    return EncodecModel(EncodecConfig(
        target_bandwidths=[1.5, 3.0], sampling_rate=24_000, audio_channels=1, normalize=False, num_filters=2,
        hidden_size=8, num_residual_layers=1, num_lstm_layers=1, codebook_size=1024, codebook_dim=8,
    ))  # fmt: skip


def dac():
    from transformers import DacConfig, DacModel

    return DacModel(DacConfig(
        encoder_hidden_size=4, downsampling_ratios=[2, 4, 5, 8], decoder_hidden_size=16,
        upsampling_ratios=[8, 5, 4, 2], n_codebooks=3, codebook_size=64, codebook_dim=4, sampling_rate=16_000,
    ))  # fmt: skip


def mimi():
    from transformers import MimiConfig, MimiModel

    return MimiModel(MimiConfig(
        num_filters=4, hidden_size=16, codebook_size=64, codebook_dim=8, vector_quantization_hidden_dimension=8,
        num_quantizers=4, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        intermediate_size=32, frame_rate=12.5, upsample_groups=16,
    ))  # fmt: skip


@pytest.fixture(autouse=True)
def without_dnsmos(monkeypatch):
    """Its network takes most of the time."""
    monkeypatch.setattr(quality, "dnsmos", lambda: None)


MAKERS = {"encodec": encodec, "dac": dac, "mimi": mimi}
# Sample rate, codes a second of one codebook, the numbers of codebooks.
FACTS = {"encodec": (24_000, 75.0, (2, 4)), "dac": (16_000, 50.0, (1, 2, 3)), "mimi": (24_000, 12.5, (2, 3, 4))}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    found = {}
    for name, make in MAKERS.items():
        torch.manual_seed(0)
        found[name] = tmp_path_factory.mktemp("models") / f"tiny-{name}"
        make().save_pretrained(found[name])
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_a_codec_goes_there_and_back(folders, name):
    bits = 1_000.0
    rows = load_compared(parse_compared(f"{name}={folders[name]}"), bits, offline=True)
    rate, frames, depths = FACTS[name]
    codec = rows[0].codec
    assert (codec.sample_rate, codec.frame_rate, codec.depths) == (rate, frames, depths)
    nearest = min(depths, key=lambda depth: abs(codec.bits_per_second(depth) - bits))
    assert [row.depth for row in rows] == sorted({nearest, depths[-1]})
    wav = 0.3 * chirps(3 * RATE + 7, 1)[0]
    for row in rows:
        decoded = row.measure(wav, RATE)
        assert decoded.shape == wav.shape
        (made,) = row.measured
        assert len(made.codes) == row.depth
        assert abs(len(made.codes[0]) - 3 * frames) <= 2
        assert max(int(level.max()) for level in made.codes) < codec.size
        assert {"mel_l1", "stft", "si_sdr"} <= set(made.metrics)
        assert torch.equal(made.original, wav)
    # What is decoded is what the model itself gives.
    deepest = rows[-1]
    padded = torch.nn.functional.pad(wav, (0, -wav.shape[-1] % codec.hop_length)) if rate == RATE else None
    if padded is not None:
        with torch.inference_mode():
            expected = codec.model(padded[None]).audio_values.reshape(-1)[: wav.shape[-1]]
        assert deepest.measured[0].decoded[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_rates_and_names(folders):
    (row,) = load_compared(parse_compared(f"dac={folders['dac']}"), 1e9, offline=True)
    assert row.name == "DAC (tiny-dac), 3 codebooks"
    assert row.codec.bits_per_second(3) == pytest.approx(3 * 50 * np.log2(64))
    assert (row.rates, row.sizes) == ([50.0] * 3, (64,) * 3)
    assert ComparedCodec(row.codec, 1).name == "DAC (tiny-dac), 1 codebook"


@pytest.mark.parametrize(("text", "words"), [("opus", "there is no 'opus'; choose"), ("dac=no", "no folder with a")])
def test_mistakes_are_named(text, words):
    with pytest.raises(UsageError, match=f"--compare.*{words}"):
        parse_compared(text)


def test_missing_weights_say_the_way_out(monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(MissingWeightsError, match=r"--compare mimi: kyutai/mimi .*; mimi=FOLDER takes a copy"):
        load_compared(parse_compared("mimi"), 1_000.0, offline=True)


@pytest.mark.slow
def test_the_command_shows_them_side_by_side(uniaudio, world, folders, tmp_path_factory, capfd):
    clips = clip_folder(tmp_path_factory.mktemp("clips"), takes=1, samples=3 * RATE)
    given = ",".join(f"{name}={folder}" for name, folder in folders.items())
    flags = (clips, "--codec", world.codec, "--compare", given, "--max-segments", 2)
    done = uniaudio("codec", "eval", *flags, "--report", "page.html", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    compared = result["compared"]
    assert {name.split(" ")[0] for name in compared} == {"EnCodec", "DAC", "Mimi"}
    for each in (result, *compared.values()):
        assert each["segments"] == 2
        assert {"mel_l1", "si_sdr"} <= set(each["metrics"])
    deepest = compared["EnCodec (tiny-encodec), 4 codebooks"]
    assert (deepest["bits_per_second"], deepest["codes_per_second"]) == (3_000, 300.0)
    page = Path("page.html").read_text(encoding="utf-8")
    assert "DAC (tiny-dac), 3 codebooks" in page
    print_compared({result["codec"]: result, **compared})
    shown = capfd.readouterr().out
    assert "bits/s" in shown
    assert "Mimi" in shown
    uniaudio("codec", "eval", *flags[:3], "--compare", "opus").is_error(2, "there is no 'opus'")
