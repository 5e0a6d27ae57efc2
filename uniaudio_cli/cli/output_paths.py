"""Where outputs go, and whether they may be written: checked before any model is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import is_folder, show

LABEL_FILES = (".jsonl", ".csv", ".json")
# Endings that name a file of another kind, so that a folder of such a name is a mistake.
OTHER_FILES = frozenset(
    {*LABEL_FILES, ".txt", ".npy", ".yaml", ".mp3", ".m4a", ".aac", ".opus", ".aif", ".aiff", ".webm"}
)
STANDARD_OUTPUT = frozenset({"-", "/dev/stdout", "/dev/fd/1"})


def is_stdout(output: Path | None) -> bool:
    """Whether `output` names standard output."""
    return str(output) in STANDARD_OUTPUT


def refuse_stdout(output: Path, flag: str = "--output") -> None:
    """Raise UsageError where `output` names standard output, which nothing is written to here."""
    if is_stdout(output):
        raise UsageError(f"{flag} {output}: names a file or a folder, not standard output")


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


def check_label_file(output: Path, force: bool, kinds: Sequence[str] = LABEL_FILES) -> None:
    """Refuse a file that no labels can be written to, as `check_targets`. `kinds`: the endings that are written."""
    if is_stdout(output):
        raise UsageError(f"--output {output}: names a file; --json prints records to stdout")
    check_targets([output], force)
    if output.suffix.lower() not in kinds:
        raise UsageError(f"{show(output)}: labels are written as {', '.join(kinds)}; end the name in one of these")


def names_file(output: Path, inputs: int, suffixes: Sequence[str] = ()) -> bool:
    """Whether `output` names one file, by its ending, and not a folder. `suffixes`: those of files; audio by default.

    Raises:
        UsageError: it names a file, and there are several inputs or files of its kind are not written; or stdout.
    """
    from uniaudio_cli.audio.io import WRITTEN

    refuse_stdout(output)
    kinds, suffix = tuple(suffixes or WRITTEN), output.suffix.lower()
    if suffix in {*OTHER_FILES, *WRITTEN} - {*kinds} and not is_folder(output):
        what = "codes are" if suffixes else "audio is"
        raise UsageError(f"{show(output)}: {what} written as {', '.join(kinds)}; end the name in one of these")
    if suffix not in kinds:
        return False
    if inputs > 1:
        raise UsageError(f"{show(output)}: is one file, and there are {inputs} inputs; name a folder")
    return True


def audio_targets(files: Sequence[Path], given: Iterable[Path], output: Path) -> dict[Path, Path]:
    """Each input's audio file: `output` itself where that names a file, else as `mirrored` has it."""
    return {files[0]: output} if names_file(output, len(files)) else mirrored(files, given, output)


def text_targets(count: int, output: Path) -> list[Path]:
    """The audio files of `count` texts: `output` itself where that names a file, else 0.wav, 1.wav, ... in it."""
    return [output] if names_file(output, count) else [output / f"{number}.wav" for number in range(count)]


def mirrored(found: Iterable[Path], given: Iterable[Path], output: Path, suffix: str | None = None) -> dict[Path, Path]:
    """Each input's file below `output`: its path below the folder that was given, else its name.

    It ends in `suffix`, or where that is None as the input does, if audio is written so, and else in .wav. What lies
    below an `output` inside a folder that was given is no input: an earlier run wrote it.

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
