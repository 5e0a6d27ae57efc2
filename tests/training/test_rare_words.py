"""The recipe that drops words which are hardly ever frequency."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.factories import chirps
from tests.training.parts import LEVELS, lexicon, packed, recipe
from uniaudio_cli.codec.checkpoint import load_codec, save_codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.training.data import PackedAudio
from uniaudio_cli.training.initialise import new_codec

RARE = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "rare_words.py"))
shares, without = RARE["shares"], RARE["without"]


@pytest.fixture
def world(tmp_path):
    """A recipe, packed clips and a codec ready for inference."""
    torch.manual_seed(3)
    settings = recipe(tmp_path / "cache")
    path = save_codec(new_codec(settings, LEVELS, lexicon()), tmp_path / "codec.safetensors")
    return settings, packed(tmp_path), load_codec(path)


def test_shares_are_those_of_the_training_clips_own_frames(world):
    settings, clips, codec = world
    frequency = shares(codec, clips, settings.replace(crop_frames=40), batches=6)
    assert frequency.shape == (3,)
    assert frequency.sum() == pytest.approx(1)
    # Crops are longer than any clip, so each is encoded whole, as often as it is long.
    members = np.flatnonzero(clips.splits == "train")
    counts = np.zeros(3)
    for clip in members:
        codes = codec.encode(torch.from_numpy(clips.clip(clip))[None, None])[0][0].numpy()
        counts += clips.lengths[clip] * np.bincount(codes, minlength=3)
    assert frequency == pytest.approx(counts / counts.sum(), abs=0.15)


def test_only_frames_of_dropped_words_change(world):
    _, _, codec = world
    wav = chirps(48_000, seed=5)
    before = codec.encode(wav)
    dropped = np.arange(3) == int(before[0][0, 0])
    fewer = without(codec, dropped)
    assert fewer.config.words[0] == tuple(word for word, gone in zip(LEVELS[0], dropped, strict=True) if not gone)
    assert fewer.config.sizes == (2, 4, 4)
    after = fewer.encode(wav)[0][0].tolist()
    found = [fewer.config.words[0][code] for code in after]
    for word, code in zip(found, before[0][0].tolist(), strict=True):
        assert word == LEVELS[0][code] or dropped[code]
    assert torch.equal(without(codec, np.zeros(3, dtype=bool)).decode(before), codec.decode(before))


def test_a_level_without_words_is_refused(world):
    _, _, codec = world
    codec.config = codec.config.replace(words=(None, *codec.config.words[1:]))
    with pytest.raises(UsageError, match="no words of its own"):
        without(codec, np.zeros(3, dtype=bool))


def test_as_a_command(world, tmp_path, monkeypatch, capsys):
    _, clips, codec = world
    assert isinstance(clips, PackedAudio)
    text = {"name": "tiny", "lm": "tiny", "sizes": [3, 4, 4], "cache": str(tmp_path / "cache"), "losses": {}}
    given = tmp_path / "recipe.yaml"
    given.write_text(yaml.safe_dump({**text, "codec": {"sample_rate": 16_000, "strides": [4, 2, 1]}}))
    frequency = shares(codec, clips, recipe(tmp_path / "cache"), 4)
    out = tmp_path / "fewer.safetensors"
    below = float(np.sort(frequency)[0]) + 1e-3  # the rarest goes
    command = ["rare_words", str(given), str(tmp_path / "codec.safetensors"), "-o", str(out), "--batches", "4"]
    monkeypatch.setattr(sys, "argv", [*command, "--below", str(below)])
    assert RARE["main"]() == 0
    assert "level 0: 2 of 3 words kept" in capsys.readouterr().out
    assert load_codec(out).config.sizes == (2, 4, 4)
    assert RARE["main"]() == 2  # it is there already
    monkeypatch.setattr(sys, "argv", [*command[:2], str(tmp_path / "no.safetensors"), *command[3:]])
    assert RARE["main"]() == 4
    assert capsys.readouterr().err.count("error: ") == 2
