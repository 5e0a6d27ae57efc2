"""Which code of a codec goes by which unit: a codec and packed audio in, targets in the codec's own numbers out.

Clusters come in any order, and in another one whenever there is more audio. A codec that is trained on would have to
learn its words anew, were its units not numbered as it hears them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.training.batches import inputs
from uniaudio_cli.codec.training.data import Crops, PackedAudio
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import Targets
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic

BATCHES, BATCH_SIZE = 100, 16  # half an hour of crops


def renumbered(recipe: Recipe, targets: Targets, packed: PackedAudio, start: Codec, kept: Path) -> Targets:
    """`targets` with the units numbered as `start` hears them: one code a unit, so that most frames keep theirs.

    `kept` holds the numbers for the run's other processes and its resumption.

    Raises:
        UsageError: there are not as many units as codes of level 0.
    """
    if targets.units is None:
        return targets
    if start.config.sizes[0] != recipe.sizes[0]:
        raise UsageError(
            f"sizes: level 0 of the codec in init has {start.config.sizes[0]} codes, not {recipe.sizes[0]}"
        )
    if not kept.exists():
        with atomic(kept) as temporary, temporary.open("wb") as file:
            np.save(file, _numbers(recipe, targets, packed, start))
    numbers = np.append(np.load(kept), -1).astype(np.int16)  # the last is the unknown's, -1
    return replace(targets, units=numbers[targets.units])


def _numbers(recipe: Recipe, targets: Targets, packed: PackedAudio, start: Codec) -> np.ndarray:
    """int64 [units]: the code that goes by each."""
    from scipy.optimize import linear_sum_assignment

    crops = Crops(packed, "train", BATCH_SIZE, recipe.crop_frames, recipe.kind_weights, 0.0, recipe.seed)
    together = np.zeros((recipe.sizes[0], recipe.sizes[0]))
    for number in range(BATCHES):
        given = inputs(crops.batch(number), packed, targets, recipe.crop_frames, torch.device("cpu"))
        assert given.units is not None
        known = given.units >= 0
        np.add.at(together, (given.units[known].numpy(), start.encode(given.clean)[0][known].numpy()), 1)
    return linear_sum_assignment(together, maximize=True)[1]
