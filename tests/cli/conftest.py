"""The command line as a shell runs it, in the small world."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.world import Done, World, build_world

Command = Callable[..., Done]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Small models and demonstrations on disk, for the command line."""
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def uniaudio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line as a shell would, in an empty folder, with an empty cache and no network."""

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
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


@pytest.fixture
def classify(world: World, uniaudio: Command) -> Command:
    """`uniaudio classify` with the small world's task, demonstrations and models."""
    return lambda *more: uniaudio("classify", "--task", world.listen, "--demos", world.labels, *world.models, *more)


@pytest.fixture
def enhance(world: World, uniaudio: Command) -> Command:
    """`uniaudio run` of the small world's task from audio to audio; otherwise as `classify`."""
    return lambda *more: uniaudio("run", world.clean, "--demos", world.pairs, *world.models, *more)


@pytest.fixture
def tts(world: World, uniaudio: Command) -> Command:
    """As `classify`."""
    return lambda *more: uniaudio("tts", "--task", world.speak, "--demos", world.digits, *world.models, *more)
