"""What ships beside YAMNet."""

from __future__ import annotations

from uniaudio_cli.codec.frozen.tags import background
from uniaudio_cli.codec.frozen.yamnet import BACKGROUND


def test_the_background_is_shipped():
    found = background()
    assert (BACKGROUND.is_file(), found.shape) == (True, (521,))
    assert 0.5 < found.sum() < 1
