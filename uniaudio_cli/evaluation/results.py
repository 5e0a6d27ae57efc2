"""The results of an evaluation: answers in, results.json out, in a versioned schema that other versions can read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.evaluation import metrics
from uniaudio_cli.evaluation.manifest import Document, Manifest
from uniaudio_cli.evaluation.metrics import Interval

SCHEMA_VERSION = 1


class Answer(Document):
    """One system's answer to one episode: a line of episodes.jsonl.

    `scores`: per label, likeliest first. `probabilities`: whether they are probabilities.
    """

    system: str
    shots: int
    episode: int
    file: str
    group: str
    truth: str
    answer: str
    scores: dict[str, float]
    probabilities: bool

    @property
    def correct(self) -> bool:
        return self.answer == self.truth


class Rate(Document):
    """A rate or difference with its 95 % interval. `clusters`: 0 where the interval is not bootstrapped over groups."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    @classmethod
    def of(cls, interval: Interval) -> Rate:
        return cls(**{name: getattr(interval, name) for name in cls.model_fields})

    @property
    def interval(self) -> Interval:
        return Interval(self.value, self.low, self.high, self.n, self.clusters)


class ClassCount(Document):
    """Of one label: queries with it, those answered right, and answers that name it."""

    n: int
    correct: int
    answered: int


class SystemResult(Document):
    """One system at one number of shots.

    `by_group`: the plain rate of each group, where there are too few for a bootstrap. `confusion[truth][answer]`.
    `calibration_error`: None where scores are no probabilities.
    """

    accuracy: Rate
    by_group: dict[str, tuple[int, int]]
    per_class: dict[str, ClassCount]
    confusion: dict[str, dict[str, int]]
    calibration_error: float | None


class Difference(Document):
    """How much more often `system` is right than `reference`, on the same episodes."""

    system: str
    reference: str
    accuracy: Rate


class Cell(Document):
    """All systems at one number of shots."""

    ways: int
    shots: int
    chance: float
    systems: dict[str, SystemResult]
    differences: tuple[Difference, ...]


class Results(Document):
    """Everything that results.json holds. `skipped`: rows that were not run, and why."""

    schema_version: Literal[1] = 1
    data: str
    clips: int
    labels: tuple[str, ...]
    groups: int
    episodes: int
    rule: str
    half: str
    seed: int
    manifest: str
    settings: dict[str, Any]
    versions: dict[str, str]
    models: dict[str, dict[str, str]]
    skipped: dict[str, str]
    cells: tuple[Cell, ...]

    def write(self, path: Path, force: bool = False) -> None:
        """results.json."""
        with atomic(path, force) as temporary:
            text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """The results in a results.json, or in the folder that holds one.

    Raises:
        UsageError: there are none, or of another version of the schema.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(
            f"{show(file)}: cannot be read ({problem.strerror}); give a folder of `uniaudio eval`"
        ) from problem
    except ValueError as problem:
        raise UsageError(f"{show(file)}: is not JSON") from problem
    version = rows.get("schema_version") if isinstance(rows, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(f"{show(file)}: has schema version {version}, and this program reads {SCHEMA_VERSION}")
    try:
        return Results.model_validate(rows)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{show(file)}: holds no results ({where}: {first['msg']})") from problem


def summarise(manifest: Manifest, answers: Sequence[Answer], references: Sequence[str], **facts: Any) -> Results:
    """Results of all answers; `references`: each other system is compared with those of them that ran."""
    cells = []
    for shots in manifest.shots:
        by_system: dict[str, list[Answer]] = {}
        for answer in answers:
            if answer.shots == shots:
                by_system.setdefault(answer.system, []).append(answer)
        if by_system:
            ordered = {name: sorted(each, key=lambda one: one.episode) for name, each in by_system.items()}
            cells.append(_cell(manifest, shots, ordered, references))
    return Results(
        data=manifest.data,
        clips=len(manifest.clips),
        labels=tuple(sorted({clip.label for clip in manifest.clips})),
        groups=len({clip.group for clip in manifest.clips}),
        episodes=len(manifest.episodes),
        rule=manifest.rule,
        half=manifest.half,
        seed=manifest.seed,
        manifest=manifest.hash,
        cells=tuple(cells),
        **facts,
    )


def _cell(manifest: Manifest, shots: int, systems: Mapping[str, list[Answer]], references: Sequence[str]) -> Cell:
    return Cell(
        ways=manifest.ways,
        shots=shots,
        chance=metrics.chance(manifest.ways),
        systems={name: _system(each, manifest.seed) for name, each in systems.items()},
        differences=tuple(
            Difference(system=name, reference=reference, accuracy=paired(each, systems[reference], manifest.seed))
            for reference in references
            if reference in systems
            for name, each in systems.items()
            if name != reference
        ),
    )


def _system(answers: Sequence[Answer], seed: int) -> SystemResult:
    correct, groups = [each.correct for each in answers], [each.group for each in answers]
    found = metrics.clustered_accuracy(correct, groups, seed)
    truths, given = Counter(each.truth for each in answers), Counter(each.answer for each in answers)
    right = Counter(each.truth for each in answers if each.correct)
    confusion: dict[str, dict[str, int]] = {}
    for each in answers:
        row = confusion.setdefault(each.truth, {})
        row[each.answer] = row.get(each.answer, 0) + 1
    confident = [max(each.scores.values()) for each in answers if each.probabilities]
    return SystemResult(
        accuracy=Rate.of(found),
        by_group={} if found.clusters else by_group(answers),
        per_class={
            label: ClassCount(n=truths[label], correct=right[label], answered=given[label])
            for label in sorted({*truths, *given})
        },
        confusion={truth: dict(sorted(row.items())) for truth, row in sorted(confusion.items())},
        calibration_error=metrics.calibration_error(confident, correct) if len(confident) == len(answers) else None,
    )


def by_group(answers: Sequence[Answer]) -> dict[str, tuple[int, int]]:
    """Group -> (right, all)."""
    found: dict[str, tuple[int, int]] = {}
    for each in answers:
        right, count = found.get(each.group, (0, 0))
        found[each.group] = right + each.correct, count + 1
    return dict(sorted(found.items()))


def paired(first: Sequence[Answer], second: Sequence[Answer], seed: int = 0) -> Rate:
    """The paired difference of two systems over the episodes that both answered.

    Raises:
        UsageError: there are none, or they are not of the same queries.
    """
    others = {(each.shots, each.episode): each for each in second}
    both = [(each, others[each.shots, each.episode]) for each in first if (each.shots, each.episode) in others]
    if not both or any((a.file, a.truth) != (b.file, b.truth) for a, b in both):
        raise UsageError("the answers are not to the same episodes, so they cannot be paired")
    a, b = (np.array([pair[side].correct for pair in both]) for side in (0, 1))
    return Rate.of(metrics.clustered_difference(a, b, [each.group for each, _ in both], seed))
