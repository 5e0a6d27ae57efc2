"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.kits import write_clips

from tests.cli_world import World, build_world

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of shared golden files and clips ($UNIAUDIO_TEST_DATA); without it, the test is skipped."""
    folder = os.environ.get("UNIAUDIO_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the folder $UNIAUDIO_TEST_DATA")
    return Path(folder)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Small models and demonstrations on disk, for the command line."""
    return build_world(tmp_path_factory.mktemp("world"))


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def uniaudio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs the command line as a shell would, in an empty folder, with an empty cache and no network."""

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setenv("UNIAUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Done:
        from uniaudio_cli.cli.main import main

        monkeypatch.setattr(sys, "argv", ["uniaudio", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return Done(int(left.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """The clips that `write_clips` writes; no test changes them."""
    return write_clips(tmp_path_factory.mktemp("clips"))
