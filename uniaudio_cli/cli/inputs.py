"""What a command is given: audio files, texts, a task with its changes, and demonstrations. Loads no model."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from uniaudio_cli.cli.console import note
from uniaudio_cli.cli.params import DemoOptions, DemoSettings
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import is_file, show

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.prompting.task import Task


def find_inputs(given: Iterable[Path], quiet: bool) -> list[Path]:
    """The audio files that `given` stands for, each once, "-" for stdin; missing ones among others come back too.

    One note where files in folders are passed over.

    Raises:
        UsageError: there is none.
    """
    from uniaudio_cli.audio.discovery import discover

    found = discover([Path("/dev/stdin") if str(path) == "-" else path for path in given])
    refuse_missing(found.files)
    if summary := found.summary():
        note(f"note: {summary}", quiet)
    return found.files


def refuse_missing(files: Sequence[Path]) -> None:
    """Raise UsageError where none of `files` is there; one among others is reported when its turn comes."""
    if not any(os.path.lexists(path) for path in files):
        raise UsageError(f"{show(files[0])}: no such file")


def choose_task(name: str, demo: DemoSettings, **flags: object) -> Task:
    """The task with the command's flags in place of its own values; --set comes last.

    Raises:
        UsageError: there is no such task, or a value does not fit.
    """
    from uniaudio_cli.core.schema import parse_settings
    from uniaudio_cli.prompting.task import load_task

    changes: dict[str, object] = {key: value for key, value in flags.items() if value is not None}
    if demo.levels is not None:
        parts = [part.strip() for part in demo.levels.split(",")]
        changes["levels"] = [int(part) if part.isascii() and part.isdecimal() else part for part in parts]
    elif changes.get("readout") == "label":
        changes["levels"] = [0]  # the published prompt; the tasks' other levels are for the other readouts
    elif changes.get("readout") == "likelihood":
        changes["levels"] = [0, 1]
    if changes.get("readout", "similarity") != "similarity":
        changes["label_names"] = False
    return load_task(name).replace(**{**changes, **parse_settings(demo.settings or ())})


def require_kind(task: Task, kind: str, command: str) -> None:
    """Refuse a task of another kind than the command's."""
    if task.kind != kind:
        raise UsageError(
            f"task {task.name} turns {task.input} into {task.output}: `uniaudio {command}` cannot do that, "
            f"`uniaudio run {task.name}` can"
        )


def refuse_flags(flags: Mapping[str, object], why: str) -> None:
    """Raise a UsageError about the first of `flags` that is given, which is one that is not None."""
    for flag, value in flags.items():
        if value is not None:
            raise UsageError(f"{flag}: {why}")


def split_labels(labels: str | None) -> list[str] | None:
    """The labels of --labels; two or more, or there is nothing to choose."""
    if labels is None:
        return None
    found = list(dict.fromkeys(label.strip() for label in labels.split(",") if label.strip()))
    if len(found) < 2:
        raise UsageError(f"--labels {show(labels)!r}: a choice takes two or more labels, separated by commas")
    return found


def read_descriptions(path: Path) -> dict[str, str]:
    """Label -> sentence: a .yaml or .json mapping, or a .csv of two columns, with or without a header line.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    import csv

    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            rows = [row for row in csv.reader(text.splitlines()) if row]
            if rows and [cell.strip().lower() for cell in rows[0]] == ["label", "description"]:
                rows = rows[1:]
            found = dict(rows)
        else:
            found = yaml.safe_load(text)
    except OSError as problem:
        raise UsageError(f"--descriptions {show(path)}: cannot be read ({problem.strerror})") from problem
    except (ValueError, TypeError, yaml.YAMLError) as problem:
        raise UsageError(f"--descriptions {show(path)}: holds no label and sentence a line") from problem
    if not isinstance(found, dict) or not found or not all(isinstance(each, str) for each in found.values()):
        raise UsageError(f"--descriptions {show(path)}: holds no label and sentence a line")
    return {str(label).strip(): " ".join(sentence.split()) for label, sentence in found.items()}


def find_demonstrations(
    task: Task, demo: DemoOptions, quiet: bool, labels: list[str] | None = None
) -> list[Demonstration]:
    """All demonstrations of the folder; `labels` are checked against theirs."""
    from uniaudio_cli.data.demonstrations import choose, load_demonstrations

    found = load_demonstrations(demo.demos, task.demonstration_kind, note=lambda line: note(line, quiet))
    choose(found, demo.shots or task.shots, demo.seed, labels)
    return found


def announce_demonstrations(
    found: Sequence[Demonstration], used: Sequence[Demonstration], task: Task, quiet: bool
) -> None:
    """One note where more clips or labels are there than are used."""
    if quiet or len(used) >= len(found):
        return
    there, shown = (Counter(each.text or each.label for each in some) for some in (found, used))
    kind = task.demonstration_kind
    noun = "pairs" if kind == "pair" else f"clips a {kind}"
    counts = sorted(there[group] for group in shown)
    many = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    groups = f", {len(shown)} of {len(there)} {kind}s" if len(shown) < len(there) else ""
    part = "loudest" if task.clip.crop == "loudest" else "first"
    note(
        f"note: demonstrations: {max(shown.values())} of {many} {noun}{groups}, "
        f"the {part} {task.clip.seconds:g} s of each"
    )


def announce_overlap(files: Sequence[Path], used: Sequence[Demonstration], quiet: bool) -> None:
    """One note where inputs are among the demonstrations, by content."""
    if quiet:
        return
    sizes = {_size(each.audio) for each in used}
    hashes = {content_hash(each.audio) for each in used}
    same = [file for file in files if _size(file) in sizes and content_hash(file) in hashes]
    if same:
        note(
            f"note: {len(same)} of {len(files)} inputs are demonstrations too ({show(same[0])}); "
            f"the results for them say little"
        )


def announce_conversion(files: Iterable[Path], rate: int, quiet: bool, written: bool = False) -> None:
    """One note where files are not mono at the codec's rate, whichever and however many they are."""
    from uniaudio_cli.audio.io import layout

    for file in () if quiet else filter(is_file, files):
        # What cannot be read is reported when its turn comes.
        with suppress(UniAudioError):
            theirs, channels = layout(file)
            if (theirs, channels) != (rate, 1):
                made = ", and so are the results" if written else ""
                found = f"{theirs} Hz, {channels} channel{'s' * (channels > 1)}"
                note(f"note: clips are resampled to {rate} Hz and mixed down to mono{made} ({show(file)} has {found})")
                return


def content_hash(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def read_texts(given: Sequence[str]) -> list[str]:
    """The texts given, or with "-" the lines of stdin; white space of any kind and length becomes one space.

    Raises:
        UsageError: one is empty or not UTF-8, or stdin holds none.
    """
    return [one_line(text) for text in (_stdin_lines() if list(given) == ["-"] else given)]


def _stdin_lines() -> list[str]:
    """The lines of stdin that hold more than blanks."""
    text = "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError("stdin holds no text to answer")
    return lines


def one_line(text: str) -> str:
    """White space of any kind and length as one space. Raises UsageError where there is nothing else, or no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"'{show(text)}' is not UTF-8 text") from None
    if not text.strip():
        raise UsageError("there is nothing to answer: the text is empty")
    return " ".join(text.split())
