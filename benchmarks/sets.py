"""Sets of labelled clips that several benchmarks draw episodes from."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from uniaudio_cli.episodes import Rule


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


def known(parser: argparse.ArgumentParser, names: list[str], data: Path) -> list[str]:
    """The sets that a command names, all whose clips are in `data` where it names none; what is no set ends it."""
    if unknown := set(names) - set(SETS):
        parser.error(f"unknown set {min(unknown)}: choose from {', '.join(SETS)}")
    found = names or [name for name, clips in SETS.items() if (data / clips.folder).is_dir()]
    if not found:
        folders = sorted({f"{clips.folder}/" for clips in SETS.values()})
        parser.error(f"{data}: holds none of {', '.join(folders)}; give another --data")
    return found
