"""Demonstrations: a folder of clips, or its metadata, to paths with labels, texts or targets; seeded choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_file, show, suggest
from uniaudio_cli.data.manifest import Note, Row, no_notes, normalise_label, read_manifest
from uniaudio_cli.prompting.kinds import DemonstrationKind

T = TypeVar("T")

# Clips of a label that are looked at where the most typical are wanted.
CANDIDATES = 50


@dataclass(frozen=True)
class Demonstration:
    """One worked example: a clip and its label, the text it answers, or the clean `target` of the noisy clip.

    `voice`: who speaks, the `group` of the metadata; "" where it says nothing.
    """

    audio: Path
    label: str | None = None
    text: str | None = None
    target: Path | None = None
    voice: str = ""


def load_demonstrations(
    folder: Path, kind: DemonstrationKind, split: str | None = None, note: Note = no_notes
) -> list[Demonstration]:
    """The demonstrations in `folder` as `read_manifest` finds them, by label, then by path.

    Raises:
        UsageError: the folder, a row or a file is missing, or does not have what `kind` needs.
    """
    if is_file(folder):
        raise UsageError(f"{show(folder)}: is a file, not a folder")
    found = [_demonstration(row, kind) for row in read_manifest(folder, kind, split, note)]
    labels = {demonstration.label for demonstration in found}
    if kind == "label" and len(labels) < 2:
        raise UsageError(f"{show(folder)}: holds the one label {labels.pop()!r}, and a choice takes two or more")
    return sorted(found, key=lambda demonstration: (_group(demonstration), demonstration.audio))


def _demonstration(row: Row, kind: DemonstrationKind) -> Demonstration:
    if kind == "pair":
        return Demonstration(row.path, target=row.target)
    return Demonstration(row.path, row.label or None, row.text if kind == "text" else None, voice=row.group)


def of_voice(demonstrations: Sequence[Demonstration], voice: str) -> list[Demonstration]:
    """The demonstrations of one speaker.

    Raises:
        UsageError: there is none of that name.
    """
    found = [each for each in demonstrations if each.voice == voice]
    if not found:
        voices = sorted({each.voice for each in demonstrations} - {""})
        there = f"there are {', '.join(voices)}" if voices else "the metadata has no column 'group' that names voices"
        raise UsageError(f"no demonstration by {show(voice)!r}{suggest(voice, voices)}; {there}")
    return found


def choose(
    demonstrations: Sequence[Demonstration],
    shots: int,
    seed: int,
    labels: Collection[str] | None = None,
    ranked: Callable[[list[Demonstration], int], list[Demonstration]] | None = None,
) -> list[Demonstration]:
    """`shots` demonstrations of each label (all of a label that has fewer), of all labels or of those in `labels`.

    Texts count as labels, and pairs as one label. Seeded, in rounds of one demonstration a label, each round in an
    order of its own. What is drawn for a label depends on neither the other labels nor `shots`: one shot is the first
    of three.

    `ranked`: what puts a label's demonstrations, drawn at random and `CANDIDATES` at most, in the order that shots are
    taken in; as drawn where None.

    Raises:
        UsageError: a label that no demonstration has.
    """
    groups: dict[str, list[Demonstration]] = {}
    for demonstration in demonstrations:
        groups.setdefault(_group(demonstration), []).append(demonstration)
    if labels is not None:
        labels = [normalise_label(label, "label") for label in labels]
    for label in labels or ():
        if label not in groups:
            raise UsageError(f"no demonstration of {label!r}{suggest(label, groups)}; there are {', '.join(groups)}")
    kept = sorted(groups if labels is None else set(labels))
    drawn = {label: shuffled(groups[label], f"{seed} {label}") for label in kept}
    if ranked is not None:
        drawn = {label: ranked(drawn[label][: max(CANDIDATES, shots)], shots) for label in kept}
    drawn = {label: drawn[label][:shots] for label in kept}
    chosen: list[Demonstration] = []
    for number in range(max(map(len, drawn.values()), default=0)):
        order = shuffled(kept, f"{seed} round {number}")
        chosen += [drawn[label][number] for label in order if number < len(drawn[label])]
    return chosen


def _group(demonstration: Demonstration) -> str:
    return demonstration.text or demonstration.label or ""


def shuffled(items: Sequence[T], seed: str) -> list[T]:
    """The items in an order that depends on `seed` alone."""
    return random.Random(seed).sample(items, len(items))
