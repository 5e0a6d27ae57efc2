"""Where outputs go, and whether they may: worked out before any model is loaded. Never knows what is written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import is_folder, show


def check_targets(targets: Iterable[Path], force: bool) -> None:
    """Refuse files that cannot be written.

    Raises:
        UsageError: one exists and `force` is not given, is a folder, or lies below a file.
        UniAudioError: its folder may not be written to.
    """
    for target in targets:
        if is_folder(target):
            raise UsageError(f"{show(target)}: is a folder; name a file")
        if os.path.lexists(target) and not force:
            raise UsageError(f"{show(target)}: already exists (pass --force to overwrite it)")
        above = next(parent for parent in target.absolute().parents if os.path.lexists(parent))
        if not is_folder(above):
            raise UsageError(f"{show(target)}: cannot be written, {show(above)} is not a folder")
        if not os.access(above, os.W_OK):
            raise UniAudioError(f"{show(target)}: cannot be written ({show(above)}: no permission)")


def check_audio(targets: Iterable[Path]) -> None:
    """Refuse names that no audio can be written to. Raises UsageError."""
    from uniaudio_cli.audio.io import WRITTEN

    for target in targets:
        if target.suffix.lower() not in WRITTEN:
            raise UsageError(f"{show(target)}: audio is written as {', '.join(WRITTEN)}; end the name in one of these")


def mirrored(found: Iterable[Path], given: Iterable[Path], output: Path, suffix: str | None = None) -> dict[Path, Path]:
    """Each input's file below `output`: its path below the folder that was given, else its name.

    It ends in `suffix`, or where that is None as the input does, if audio is written so, and else in .wav. What lies
    below an `output` inside a folder that was given is no input: it is what an earlier run wrote.

    Raises:
        UsageError: two inputs would be written to one file, or there is none.
    """
    from uniaudio_cli.audio.io import WRITTEN

    folders = [path for path in given if is_folder(path)]
    targets: dict[Path, Path] = {}
    for file in found:
        home = next((folder for folder in folders if folder in file.parents), file.parent)
        if output in file.parents and home in output.parents:
            continue
        same = file.suffix.lower()
        target = output / file.relative_to(home).with_suffix(suffix or (same if same in WRITTEN else ".wav"))
        if target in targets:
            raise UsageError(f"{show(file)} and {show(targets[target])} would both be written to {show(target)}")
        targets[target] = file
    if not targets:
        raise UsageError(f"{show(output)}: holds all that was given; name a folder apart from it")
    return {file: target for target, file in targets.items()}
