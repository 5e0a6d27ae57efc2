"""The posterior of a clip out of its patches' probabilities, with a made network."""

import numpy as np
import pytest

from uniaudio_cli.codec.frozen.yamnet import BACKGROUND, HOP, PATCH, YAMNet, background
from uniaudio_cli.core.errors import MissingWeightsError


class TwoPatches(YAMNet):
    """Three classes, the last silence; the first patch is half silent, the second is not."""

    class_names = ("Dog", "Rain", "Silence")

    def frames(self, wav):
        return np.arange(PATCH + HOP)

    def __call__(self, patch):
        return np.zeros(1), np.array([0.5, 0.0, 0.5] if patch[0] == 0 else [0.0, 1.0, 0.0])


def test_silent_patches_count_less(tmp_path):
    # Weights .5 and 1 of 1.5: (.5 * .5) / 1.5 and 1 / 1.5.
    assert TwoPatches(tmp_path).posterior(np.zeros(1)) == pytest.approx([1 / 6, 2 / 3, 0], abs=1e-6)


def test_a_folder_without_class_map_is_named(tmp_path):
    with pytest.raises(MissingWeightsError, match=r"yamnet_class_map\.csv"):
        _ = YAMNet(tmp_path).class_names


def test_the_background_is_shipped():
    found = background()
    assert (BACKGROUND.is_file(), found.shape) == (True, (521,))
    assert 0.5 < found.sum() < 1
