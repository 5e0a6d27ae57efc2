"""Units in a codec's own numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.parts import LEVELS, lexicon, packed, recipe
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.training import unit_matching
from uniaudio_cli.training.initialise import new_codec
from uniaudio_cli.training.teachers import Targets
from uniaudio_cli.training.unit_matching import match_units


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A recipe, packed clips and a codec, few crops of which are counted."""
    monkeypatch.setattr(unit_matching, "BATCHES", 8)
    torch.manual_seed(3)
    settings = recipe(tmp_path / "cache")
    return settings, packed(tmp_path), new_codec(settings, LEVELS, lexicon())


def heard(codec, clips):
    """The codec's own level 0 over all clips, and one frame that no one knows."""
    units = [codec.encode(torch.from_numpy(clips.clip(n))[None, None])[0][0].numpy() for n in range(len(clips.starts))]
    units = np.concatenate(units).astype(np.int16)
    units[-1] = -1
    return Targets(np.zeros((2 * len(units), 2), dtype=np.float16), units)


def test_units_in_another_order_get_the_numbers_of_the_codec_s_codes(tmp_path, world):
    settings, clips, codec = world
    known = heard(codec, clips)
    assert len(set(known.units.tolist()) - {-1}) > 1
    other = np.array([2, 0, 1, -1], dtype=np.int16)  # the last stays unknown
    mixed = replace(known, units=other[known.units])
    found = match_units(settings, mixed, clips, codec, tmp_path / "units.npy")
    assert found.units[-1] == -1
    assert (found.units == known.units).mean() > 0.9  # a crop's edges are heard a little differently
    assert sorted(np.load(tmp_path / "units.npy").tolist()) == [0, 1, 2]


def test_a_resumed_run_keeps_its_numbers_whatever_the_codec(tmp_path, world):
    settings, clips, codec = world
    np.save(tmp_path / "units.npy", np.array([1, 2, 0]))
    known = heard(codec, clips)
    found = match_units(settings, known, clips, codec, tmp_path / "units.npy")
    assert found.units.tolist() == np.array([1, 2, 0, -1])[known.units].tolist()


def test_another_size_of_level_0_is_refused_and_no_teacher_needs_no_numbers(tmp_path, world):
    settings, clips, codec = world
    assert match_units(settings, Targets(), clips, codec, tmp_path / "units.npy") == Targets()
    with pytest.raises(UsageError, match="level 0 of the codec in init has 3 codes, not 4"):
        match_units(settings.replace(sizes=(4, 4, 4)), heard(codec, clips), clips, codec, tmp_path / "units.npy")
    assert not (tmp_path / "units.npy").exists()
