"""The runner: a manifest and systems in, answers out, logged one by one; a stopped run goes on."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.core.paths import show
from uniaudio_cli.data.episodes import Episode
from uniaudio_cli.evaluation.manifest import Manifest, read_manifest
from uniaudio_cli.evaluation.metrics import best
from uniaudio_cli.evaluation.results import Answer
from uniaudio_cli.evaluation.systems import COUNTS, NEAREST, PRODUCT, OpenSetSystem, System

MANIFEST, EPISODES, RESULTS, PAGE = "manifest.json", "episodes.jsonl", "results.json", "report.html"
# Whom the other rows are compared with, where they ran.
REFERENCES = (PRODUCT, COUNTS, NEAREST)
PACKAGES = ("uniaudio", "torch", "transformers", "numpy", "scipy", "scikit-learn", "onnxruntime", "ctranslate2")
# Digits of a score that are kept.
DIGITS = 6


@dataclass(frozen=True)
class Todo:
    """One episode at one number of shots, and the systems that have not answered it."""

    shots: int
    episode: int
    systems: tuple[str, ...]


class Crew(Protocol):
    """Systems that answer episodes, in this process or in others.

    `names`: of the systems, in the table's order. `seconds`: spent so far, by system.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def identities(self) -> Mapping[str, Mapping[str, str]]: ...

    @property
    def skipped(self) -> Mapping[str, str]: ...

    @property
    def seconds(self) -> Mapping[str, float]: ...

    def answers(self, todo: Sequence[Todo]) -> Iterator[Answer]:
        """The answers, in the order of `todo`."""
        ...

    def words(self, files: Sequence[str]) -> dict[str, str]:
        """What the LLM is given of clips, by their files in the manifest."""
        ...


class Here:
    """Systems that answer in this process. `words_of`: what the LLM is given of a clip."""

    def __init__(
        self,
        manifest: Manifest,
        folder: Path,
        systems: Sequence[System],
        skipped: Mapping[str, str] | None = None,
        words_of: Callable[[Path], str] = lambda path: "",
    ) -> None:
        self.manifest, self.folder, self.words_of = manifest, folder, words_of
        self.systems = {system.name: system for system in systems}
        self.names = list(self.systems)
        self.skipped = dict(skipped or {})
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._episodes: dict[int, list[Episode]] = {}

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        return {name: dict(system.identity) for name, system in self.systems.items()}

    def answers(self, todo: Iterable[Todo]) -> Iterator[Answer]:
        for each in todo:
            if each.shots not in self._episodes:
                self._episodes[each.shots] = list(self.manifest.episodes_in(self.folder, each.shots))
            episode = self._episodes[each.shots][each.episode]
            for name in each.systems:
                started = time.perf_counter()
                system = self.systems[name]
                scores, near = system.predict(episode), None
                if name == PRODUCT and isinstance(system, OpenSetSystem):
                    near = system.similarities(episode)
                self.seconds[name] += time.perf_counter() - started
                yield _answer(self.manifest, system, each.shots, each.episode, scores, near)

    def words(self, files: Sequence[str]) -> dict[str, str]:
        return {file: self.words_of(self.folder / file) for file in files}


Watch = Callable[[Iterator[Answer], int], Iterator[Answer]]


def unwatched(answers: Iterator[Answer], total: int) -> Iterator[Answer]:
    """The answers as they are."""
    return answers


def run(manifest: Manifest, crew: Crew, log: JsonlLog, watch: Watch = unwatched) -> list[Answer]:
    """Every system's answer to every episode, those of `log` taken from there.

    Args:
        watch: passes new answers through, told how many there will be.

    Raises:
        UniAudioError: a clip cannot be read, or an episode does not fit the LLM's context.
    """
    order = {name: place for place, name in enumerate(crew.names)}
    kept = [Answer.model_validate(row) for row in log.rows if row.get("system") in order]
    known = {(each.system, each.shots, each.episode) for each in kept}
    # Episode by episode, so that a stopped run has all rows of what it has.
    todo = []
    for shots in manifest.shots:
        for number in range(len(manifest.episodes)):
            if missing := tuple(name for name in crew.names if (name, shots, number) not in known):
                todo.append(Todo(shots, number, missing))
    for answer in watch(crew.answers(todo), sum(len(each.systems) for each in todo)):
        log.write(answer.model_dump(mode="json", exclude_none=True))
        kept.append(answer)
    return sorted(kept, key=lambda each: (each.shots, order[each.system], each.episode))


def _answer(
    manifest: Manifest,
    system: System,
    shots: int,
    number: int,
    scores: Mapping[str, float],
    near: tuple[float, float] | None,
) -> Answer:
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
        similarities=near and (round(near[0], DIGITS), round(near[1], DIGITS)),
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
