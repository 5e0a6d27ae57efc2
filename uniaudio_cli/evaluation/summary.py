"""Answers to results: rates with intervals, confusion, calibration, paired differences, and a review of every clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation import metrics, open_set
from uniaudio_cli.evaluation.confidence import (
    TARGETS,
    abstention,
    covered_at,
    likely_wrong_labels,
    reliability,
)
from uniaudio_cli.evaluation.manifest import Manifest
from uniaudio_cli.evaluation.results import (
    Advice,
    Answer,
    Cell,
    ClassCount,
    ClipReview,
    Difference,
    Rate,
    Results,
    SystemResult,
)
from uniaudio_cli.evaluation.systems import PRODUCT

# Points of the abstention curve that are kept.
CURVE = 100
# The share of right answers from which a label needs no advice.
GOOD = 0.95
# Labels that get advice, and clips that each is advised to show.
ADVISED, SHOWN = 5, 3


def _no_words(file: str) -> str:
    return ""


def summarise(
    manifest: Manifest,
    answers: Sequence[Answer],
    references: Sequence[str],
    words: Callable[[str], str] = _no_words,
    **facts: Any,
) -> Results:
    """Results of all answers.

    Args:
        references: each other system is compared with those of them that ran. words: what the LLM is given of a clip,
            by its file in the manifest. facts: the other fields of `Results`.
    """
    cells = []
    for shots in manifest.shots:
        by_system: dict[str, list[Answer]] = {}
        for answer in answers:
            if answer.shots == shots:
                by_system.setdefault(answer.system, []).append(answer)
        if by_system:
            ordered = {name: sorted(each, key=lambda one: one.episode) for name, each in by_system.items()}
            cells.append(_cell(manifest, shots, ordered, references))
    reviews = review(manifest, answers, words)
    deepest = [each for each in answers if (each.system, each.shots) == (PRODUCT, max(manifest.shots))]
    ours = cells[-1].systems.get(PRODUCT) if cells else None
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
        folds=manifest.folds,
        rounds=manifest.rounds,
        reviews=tuple(reviews),
        advice=tuple(advise(reviews, ours) if ours else ()),
        open_set=open_set.measure(deepest, manifest.seed),
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
    probable = len(confident) == len(answers)
    curve = abstention(confident, correct) if probable else []
    covered = {f"{target:g}": covered_at(curve, target) for target in TARGETS}
    return SystemResult(
        accuracy=Rate.of(found),
        by_group={} if found.clusters else by_group(answers),
        per_class={
            label: ClassCount.of(truths[label], right[label], given[label]) for label in sorted({*truths, *given})
        },
        confusion={truth: dict(sorted(row.items())) for truth, row in sorted(confusion.items())},
        calibration_error=metrics.calibration_error(confident, correct) if probable else None,
        reliability=tuple(reliability(confident, correct) if probable else ()),
        abstention=tuple(curve[:: 1 + len(curve) // CURVE]),
        covered={target: point for target, point in covered.items() if point is not None},
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


def review(manifest: Manifest, answers: Sequence[Answer], words: Callable[[str], str] = _no_words) -> list[ClipReview]:
    """Every clip that the product answered at the most shots, the most doubtful first.

    Labels that look wrong are marked where scores are probabilities over all labels.
    """
    deepest = max((each.shots for each in answers), default=0)
    ours = [each for each in answers if (each.system, each.shots) == (PRODUCT, deepest)]
    by_file: dict[str, list[Answer]] = {}
    for each in sorted(ours, key=lambda one: one.episode):
        by_file.setdefault(each.file, []).append(each)
    means = {file: _mean_scores(some) for file, some in by_file.items()}
    labels = len({clip.label for clip in manifest.clips})
    better: dict[int, str] = {}
    if all(each.probabilities for each in ours) and manifest.ways == labels:
        better = likely_wrong_labels([some[0].truth for some in by_file.values()], list(means.values()))
    found = []
    for place, (file, some) in enumerate(by_file.items()):
        scores, right = means[file], sum(each.correct for each in some)
        first, *rest = scores.values()
        found.append(
            ClipReview(
                file=file,
                group=some[0].group,
                truth=some[0].truth,
                answer=next(iter(scores)),
                right=right,
                asked=len(some),
                scores={label: round(score, 6) for label, score in scores.items()},
                doubt=round(1 - (first - max(rest, default=0.0)), 6),
                fits_better=better.get(place),
                words=words(file),
            )
        )
    return sorted(found, key=lambda each: (-each.doubt, each.file))


def advise(reviews: Sequence[ClipReview], system: SystemResult) -> list[Advice]:
    """The labels that are answered right least often, worst first, and clips of each to demonstrate; none above `GOOD`.

    Clips that are answered wrong although their label looks right show what the demonstrations lack.
    """
    found = []
    for label, count in system.per_class.items():
        if not count.n or count.correct >= GOOD * count.n:
            continue
        wrong = {other: n for other, n in system.confusion[label].items() if other != label}
        other = max(wrong, key=lambda each: wrong[each])
        lacking = [each for each in reviews if each.truth == label and each.right < each.asked and not each.fits_better]
        found.append(
            Advice(
                label=label,
                recall=count.correct / count.n,
                n=count.n,
                taken_for=other,
                share=wrong[other] / count.n,
                show=tuple(each.file for each in sorted(lacking, key=_share)[:SHOWN]),
            )
        )
    return sorted(found, key=lambda each: (each.recall, each.label))[:ADVISED]


def _share(clip: ClipReview) -> float:
    return clip.right / clip.asked


def _mean_scores(answers: Sequence[Answer]) -> dict[str, float]:
    """The mean score of each label over the episodes that have it, highest first."""
    found: dict[str, list[float]] = {}
    for each in answers:
        for label, score in each.scores.items():
            found.setdefault(label, []).append(score)
    means = {label: float(np.mean(some)) for label, some in found.items()}
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
