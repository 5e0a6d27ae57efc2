"""A job: a manifest, a task and models by name, in a form that goes to worker processes; and how it is run."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.evaluation import runner
from uniaudio_cli.evaluation.controls import CONTROLS
from uniaudio_cli.evaluation.manifest import Manifest
from uniaudio_cli.evaluation.peers import Peer, peer_rows
from uniaudio_cli.evaluation.results import Cost, Results
from uniaudio_cli.evaluation.summary import summarise
from uniaudio_cli.evaluation.systems import Controls, Row, Setup, build_systems
from uniaudio_cli.evaluation.words import clip_words
from uniaudio_cli.models.choice import ModelChoice
from uniaudio_cli.prompting.task import Task

if TYPE_CHECKING:
    from uniaudio_cli.api import Kit

COST = "cost"  # key of a row of episodes.jsonl
Progress = Callable[[str], None]


def _silent(line: str) -> None:
    pass


@dataclass(frozen=True)
class ModelNames(ModelChoice):
    """The models of a job."""

    def load(self, task: Task, progress: Progress = _silent) -> Kit:
        """The models; the LLM only where the task uses one."""
        from uniaudio_cli.api import load

        return load(**self.arguments, defer_lm=not task.uses_lm, progress=progress)


@dataclass(frozen=True)
class Job:
    """What is evaluated. `folder`: where the manifest's clips lie. `rows_added`: names of `controls.CONTROLS`.

    `peers`: public models whose rows are added.
    """

    manifest: Manifest
    folder: Path
    task: Task
    names: ModelNames = field(default_factory=ModelNames)
    controls: Controls = "fast"
    rows_added: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()

    @property
    def by_name(self) -> bool:
        """Whether labels come from their names, without demonstrations."""
        return self.manifest.shots == (0,)

    @property
    def rows(self) -> Sequence[Row] | None:
        """The rows to build; None for those of few-shot labels."""
        from uniaudio_cli.evaluation import zero_shot

        return zero_shot.ROWS if self.by_name else None

    def setup(self, progress: Progress = _silent, load: Callable[[], Kit] | None = None) -> Setup:
        """What systems are built from. `load`: in the place of `ModelNames.load`.

        Raises:
            UniAudioError: the LLM or the tagger of labels by name is missing.
        """
        from uniaudio_cli.evaluation import zero_shot

        setup = Setup(
            load or (lambda: self.names.load(self.task, progress)),
            self.task,
            self.manifest.items(self.folder),
            self.manifest.seed,
            self.names.offline,
            progress,
        )
        if self.by_name:
            setup.shared[zero_shot.SHARED] = zero_shot.name_tags(setup, self.names)
        return setup

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What results.json says of the models, and what a run must have in common to be continued."""
        from uniaudio_cli.models.registry import resolve_codec, resolve_model

        names = self.names
        if self.by_name:
            return {"readout": "names", "lm": names.zero_shot_lm, "dtype": names.dtype, "bits": names.bits}
        preset = resolve_model(names.model)
        codec = resolve_codec(names.codec or preset.codec, names.offline)
        return {
            "model": names.model,
            "lm": names.lm or preset.lm,
            "codec": Path(names.codec).name if names.codec else preset.codec,
            "codec_sha256": codec.identity.removeprefix("sha256:"),
            "dtype": names.dtype,
            "bits": names.bits,
            "task": self.task.model_dump(mode="json"),
        }

    def crew(self, progress: Progress = _silent, load: Callable[[], Kit] | None = None) -> runner.Here:
        """The systems, in this process; arguments and errors as `setup`, and those of a peer's missing weights."""
        setup = self.setup(progress, load)
        # Peers first: weights that are not here are said before anything is loaded.
        added = [row.build(setup) for row in peer_rows(self.peers, self.names, self.by_name)]
        systems, skipped = build_systems(setup, self.controls, self.rows)
        systems += [*(CONTROLS[name].build(setup) for name in self.rows_added), *added]
        return runner.Here(self.manifest, self.folder, systems, skipped, lambda path: clip_words(setup, path))


def evaluate(
    job: Job,
    log: JsonlLog | None = None,
    *,
    workers: int = 1,
    progress: Progress = _silent,
    load: Callable[[], Kit] | None = None,
    watch: runner.Watch = runner.unwatched,
    **facts: Any,
) -> Results:
    """Answer what the log does not have yet, and summarise everything. `facts`: other fields of `Results`.

    Args:
        workers: processes, each with its own models; the answers are those of one process.
        progress, load: as `Job.setup`. watch: as `runner.run`.

    Raises:
        UniAudioError: models cannot be loaded, or what `runner.run` raises.
    """
    from uniaudio_cli.evaluation.workers import Workers

    log = log if log is not None else JsonlLog(None)
    started, used, kept = time.perf_counter(), time.process_time(), sum("system" in row for row in log.rows)
    with ExitStack() as stack:
        crew: runner.Crew = stack.enter_context(Workers(job, workers)) if workers > 1 else job.crew(progress, load)
        answers = runner.run(job.manifest, crew, log, watch)
        words = crew.words(sorted({job.manifest.clips[each.query].file for each in job.manifest.episodes}))
        identities = {name: dict(each) for name, each in crew.identities.items()}
    if new := sum("system" in row for row in log.rows) - kept:
        cost = Cost(
            answers=new,
            seconds=round(time.perf_counter() - started, 2),
            cpu_seconds=round(time.process_time() - used + getattr(crew, "cpu_seconds", 0.0), 2),
            peak_megabytes=round(_peak_megabytes()),
            workers=workers,
            cores=os.cpu_count() or 0,
            by_system={name: round(seconds, 3) for name, seconds in crew.seconds.items()},
        )
        log.write({COST: cost.model_dump(mode="json")})
    return summarise(
        job.manifest,
        answers,
        runner.REFERENCES,
        words=lambda file: words[file],
        settings=job.facts,
        versions=runner.versions(),
        models=identities,
        skipped=dict(crew.skipped),
        cost=total_cost(log),
        **facts,
    )


def total_cost(log: JsonlLog) -> Cost:
    """The cost of all runs that a log was written in; one that was killed leaves none."""
    costs = [Cost.model_validate(row[COST]) for row in log.rows if COST in row]
    if not costs:
        return Cost()
    by_system: Counter[str] = Counter()
    for each in costs:
        by_system.update(each.by_system)
    return Cost(
        answers=sum(each.answers for each in costs),
        seconds=round(sum(each.seconds for each in costs), 2),
        cpu_seconds=round(sum(each.cpu_seconds for each in costs), 2),
        peak_megabytes=max(each.peak_megabytes for each in costs),
        workers=max(each.workers for each in costs),
        cores=costs[-1].cores,
        by_system=dict(by_system),
    )


def _peak_megabytes() -> float:
    """The most memory that this process, or one of its workers, has held; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
