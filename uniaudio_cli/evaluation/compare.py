"""Two evaluations of the same episodes, compared in pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.evaluation.manifest import Document, read_manifest
from uniaudio_cli.evaluation.results import Answer, Rate, read_results
from uniaudio_cli.evaluation.runner import EPISODES, MANIFEST
from uniaudio_cli.evaluation.summary import paired


class Compared(Document):
    """One system at one number of shots in both runs. `gain`: of the second run over the first, paired."""

    system: str
    shots: int
    first: Rate
    second: Rate
    gain: Rate


class Comparison(Document):
    """Two runs. `changed`: settings, versions and models that differ, as (first, second)."""

    schema_version: Literal[1] = 1
    manifest: str
    first: str
    second: str
    changed: dict[str, tuple[Any, Any]]
    rows: tuple[Compared, ...]


def compare(first: Path, second: Path) -> Comparison:
    """Pair the answers of two report folders, by system, shots and episode.

    Raises:
        UsageError: one is no report folder, they are of other episodes, or they have no system in common.
    """
    hashes = [read_manifest(folder / MANIFEST).hash for folder in (first, second)]
    if hashes[0] != hashes[1]:
        raise UsageError(
            f"{show(first)} and {show(second)} hold other episodes; run the second with "
            f"`uniaudio eval replay {show(first / MANIFEST)} FOLDER`"
        )
    results = [read_results(folder) for folder in (first, second)]
    answers = [read_answers(folder) for folder in (first, second)]
    rows = []
    for one in results[0].cells:
        two = next((cell for cell in results[1].cells if cell.shots == one.shots), None)
        for name in one.systems if two else ():
            assert two is not None
            if name not in two.systems:
                continue
            ours, theirs = (
                [each for each in some if (each.system, each.shots) == (name, one.shots)] for some in answers
            )
            rows.append(
                Compared(
                    system=name,
                    shots=one.shots,
                    first=one.systems[name].accuracy,
                    second=two.systems[name].accuracy,
                    gain=paired(theirs, ours, results[0].seed),
                )
            )
    if not rows:
        raise UsageError(f"{show(first)} and {show(second)} have no system in common")
    return Comparison(
        manifest=hashes[0],
        first=first.name,
        second=second.name,
        changed=_changed(*(each.model_dump(mode="json") for each in results)),
        rows=tuple(rows),
    )


def read_answers(folder: Path) -> list[Answer]:
    """The answers in a report folder's episodes.jsonl.

    Raises:
        UsageError: it cannot be read, or a line is no answer.
    """
    path = folder / EPISODES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise UsageError(f"{show(path)}: cannot be read ({problem.strerror})") from problem
    found = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if "system" in row:  # the first line names the settings
                found.append(Answer.model_validate(row))
        except (ValueError, ValidationError) as problem:
            raise UsageError(f"{show(path)}:{number}: is no answer of an evaluation") from problem
    return found


def rows(comparison: Comparison) -> Sequence[tuple[str, ...]]:
    """Cells of a table: system, shots, first, second, gain."""
    return [
        (
            each.system,
            str(each.shots),
            f"{100 * each.first.value:.1f} %",
            f"{100 * each.second.value:.1f} %",
            each.gain.interval.signed,
        )
        for each in comparison.rows
    ]


def _changed(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs besides the numbers, by dotted key."""
    found = {}
    for section in ("settings", "versions", "models"):
        for key in {**first[section], **second[section]}:
            pair = first[section].get(key), second[section].get(key)
            if pair[0] != pair[1]:
                found[f"{section}.{key}"] = pair
    return found
