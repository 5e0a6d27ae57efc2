"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.kits import write_clips

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of shared golden files and clips ($UNIAUDIO_TEST_DATA); without it, the test is skipped."""
    folder = os.environ.get("UNIAUDIO_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the folder $UNIAUDIO_TEST_DATA")
    return Path(folder)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """The clips that `write_clips` writes; no test changes them."""
    return write_clips(tmp_path_factory.mktemp("clips"))
