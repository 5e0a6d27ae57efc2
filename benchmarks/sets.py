"""Sets of labelled clips that several benchmarks draw episodes from."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

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
}


def known(parser: argparse.ArgumentParser, names: list[str]) -> list[str]:
    """The sets that a command names, all where it names none; what is no set ends it."""
    if unknown := set(names) - set(SETS):
        parser.error(f"unknown set {min(unknown)}: choose from {', '.join(SETS)}")
    return names or list(SETS)
