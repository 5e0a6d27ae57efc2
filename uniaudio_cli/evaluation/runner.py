"""The runner: a manifest and systems in, answers logged one by one and results out; a stopped run goes on."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.core.paths import show
from uniaudio_cli.evaluation.manifest import Manifest, read_manifest
from uniaudio_cli.evaluation.metrics import best
from uniaudio_cli.evaluation.results import Answer, Results, summarise
from uniaudio_cli.evaluation.systems import COUNTS, NEAREST, PRODUCT, Controls, Row, Setup, System, build_systems

MANIFEST, EPISODES, RESULTS = "manifest.json", "episodes.jsonl", "results.json"
# Whom the other rows are compared with, where they ran.
REFERENCES = (PRODUCT, COUNTS, NEAREST)
PACKAGES = ("uniaudio", "torch", "transformers", "numpy", "scipy", "scikit-learn", "onnxruntime", "ctranslate2")
# Digits of a score that are kept.
DIGITS = 6


Watch = Callable[[Iterator[Answer], int], Iterator[Answer]]


def _unwatched(answers: Iterator[Answer], total: int) -> Iterator[Answer]:
    return answers


def run(
    manifest: Manifest, folder: Path, systems: Sequence[System], log: JsonlLog, watch: Watch = _unwatched
) -> list[Answer]:
    """Every system's answer to every episode, those of `log` taken from there.

    Args:
        folder: where the manifest's clips lie. watch: passes new answers through, told how many there will be.

    Raises:
        UniAudioError: a clip cannot be read, or an episode does not fit the LLM's context.
    """
    order = {system.name: place for place, system in enumerate(systems)}
    kept = [each for each in map(Answer.model_validate, log.rows) if each.system in order]
    known = {_key(each) for each in kept}
    total = len(order) * len(manifest.shots) * len(manifest.episodes)
    for answer in watch(_answers(manifest, folder, systems, known), total - len(known)):
        log.write(answer.model_dump(mode="json"))
        kept.append(answer)
    return sorted(kept, key=lambda each: (each.shots, order[each.system], each.episode))


def _answers(
    manifest: Manifest, folder: Path, systems: Sequence[System], known: set[tuple[str, int, int]]
) -> Iterator[Answer]:
    """The answers that are not known, episode by episode, so that a stopped run has all rows of what it has."""
    for shots in manifest.shots:
        for number, episode in enumerate(manifest.episodes_in(folder, shots)):
            for system in systems:
                if (system.name, shots, number) not in known:
                    yield _answer(manifest, system, shots, number, system.predict(episode))


def _key(answer: Answer) -> tuple[str, int, int]:
    return answer.system, answer.shots, answer.episode


def _answer(manifest: Manifest, system: System, shots: int, number: int, scores: Mapping[str, float]) -> Answer:
    clip = manifest.clips[manifest.episodes[number].query]
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    return Answer(
        system=system.name,
        shots=shots,
        episode=number,
        file=clip.file,
        group=clip.group,
        truth=clip.label,
        answer=best(scores, f"{manifest.seed} {number}"),
        scores={label: float(f"{score:.{DIGITS}g}") for label, score in ranked},
        probabilities=system.probabilities,
    )


def evaluate(
    manifest: Manifest,
    folder: Path,
    setup: Setup,
    controls: Controls = "fast",
    *,
    rows: Sequence[Row] | None = None,
    log: JsonlLog | None = None,
    settings: Mapping[str, Any] | None = None,
    watch: Watch = _unwatched,
) -> Results:
    """Build the systems, run them and summarise.

    `rows`: as `build_systems`. `settings`: what else results.json records.

    Raises:
        UniAudioError: models cannot be loaded, or what `run` raises.
    """
    systems, skipped = build_systems(setup, controls, rows)
    answers = run(manifest, folder, systems, log if log is not None else JsonlLog(None), watch)
    return summarise(
        manifest,
        answers,
        REFERENCES,
        settings=dict(settings or {}),
        versions=versions(),
        models={system.name: dict(system.identity) for system in systems},
        skipped=skipped,
    )


def settle_manifest(report: Path | None, manifest: Manifest, force: bool = False) -> None:
    """Write the manifest of a report's folder, or check that the one there is the same.

    Raises:
        UsageError: the folder holds another evaluation.
    """
    if report is None:
        return
    path = report / MANIFEST
    if path.exists() and not force:
        if read_manifest(path).hash != manifest.hash:
            raise UsageError(
                f"{show(report)}: holds an evaluation of other episodes; name another folder or pass --force"
            )
        return
    manifest.write(path, force)


def open_log(report: Path, settings: Mapping[str, Any], force: bool = False) -> JsonlLog:
    """The log of a report's folder, with the answers of an earlier run unless `force`; see `JsonlLog`."""
    return JsonlLog(report / EPISODES, settings, resume=not force, force=force)


def versions() -> dict[str, str]:
    """Python and the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
