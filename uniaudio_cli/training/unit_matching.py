"""Unit matching: teacher units renumbered to the level-0 codes of the codec that training continues from.

K-means numbers its clusters arbitrarily. Without matching, continued training would have to learn every level-0 code
anew. The matching is the one-to-one assignment that most frames agree with (the Hungarian method).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic
from uniaudio_cli.training.batches import training_batch
from uniaudio_cli.training.data import Crops, PackedAudio
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.teachers import Targets

BATCHES, BATCH_SIZE = 100, 16  # crops that are counted: about half an hour


def match_units(recipe: Recipe, targets: Targets, packed: PackedAudio, start: Codec, matching: Path) -> Targets:
    """`targets` with every unit renumbered to a level-0 code of `start`, one to one.

    `matching`: the .npy file that keeps the assignment for the run's other processes and for its resumption.

    Raises:
        UsageError: the numbers of units and of level-0 codes differ.
    """
    if targets.units is None:
        return targets
    if start.config.sizes[0] != recipe.sizes[0]:
        raise UsageError(
            f"sizes: level 0 of the codec in init has {start.config.sizes[0]} codes, not {recipe.sizes[0]}"
        )
    if not matching.exists():
        with atomic(matching) as temporary, temporary.open("wb") as file:
            np.save(file, _matching(recipe, targets, packed, start))
    numbers = np.append(np.load(matching), -1).astype(np.int16)  # -1, unknown, stays -1
    return replace(targets, units=numbers[targets.units])


def _matching(recipe: Recipe, targets: Targets, packed: PackedAudio, start: Codec) -> np.ndarray:
    """The code of each unit, int64 [units]."""
    from scipy.optimize import linear_sum_assignment

    crops = Crops(packed, "train", BATCH_SIZE, recipe.crop_frames, recipe.kind_weights, 0.0, recipe.seed)
    counts = np.zeros((recipe.sizes[0], recipe.sizes[0]))
    for number in range(BATCHES):
        given = training_batch(crops.batch(number), packed, targets, recipe.crop_frames, torch.device("cpu"))
        assert given.units is not None
        known = given.units >= 0
        np.add.at(counts, (given.units[known].numpy(), start.encode(given.clean)[0][known].numpy()), 1)
    return linear_sum_assignment(counts, maximize=True)[1]
