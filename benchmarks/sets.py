"""Sets of labelled clips that several benchmarks draw episodes from."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from uniaudio_cli.data.episodes import Rule


@dataclass(frozen=True)
class Clips:
    """Labelled clips and what is asked of them."""

    folder: str
    task: str
    rule: Rule


SETS = {
    "digits-same": Clips("fsdd", "spoken-digit", "same"),
    "digits-other": Clips("fsdd", "spoken-digit", "other"),
    "sounds": Clips("esc10", "sound-event", "other"),
    "moods": Clips("moods", "emotion", "other"),
}


def settle(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Give `data` and `sets` what they are by default: the tests' data, and the sets whose clips are there.

    What is no set ends the command.
    """
    arguments.data = arguments.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data"
    if unknown := set(arguments.sets) - set(SETS):
        parser.error(f"unknown set {min(unknown)}: choose from {', '.join(SETS)}")
    arguments.sets = arguments.sets or [name for name in SETS if (arguments.data / SETS[name].folder).is_dir()]
    if not arguments.sets:
        folders = sorted({f"{clips.folder}/" for clips in SETS.values()})
        parser.error(f"{arguments.data}: holds none of {', '.join(folders)}; give another --data")
