"""`uniaudio classify` without demonstrations: labels by their names."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.classify import row_writers, unlabelled, write_labels
from uniaudio_cli.cli.console import note, stderr
from uniaudio_cli.cli.output_paths import check_label_file
from uniaudio_cli.cli.report_page import check_page, reviewed
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.core.paths import is_file, show

if TYPE_CHECKING:
    from uniaudio_cli.inference.names import TaggedClip, ZeroShotClassifier
    from uniaudio_cli.inference.results import ErrorResult, LabelResult
    from uniaudio_cli.prompting.task import Task


@dataclass(frozen=True)
class ZeroShotJob:
    """Labels and what stands for them, the LLM, and the output. `abstain_below`: the task's."""

    labels: tuple[str, ...]
    descriptions: dict[str, str]
    abstain_below: float
    models: options.ModelOptions
    run: options.RunOptions
    output: Path | None = None
    resume: bool = False
    report: Path | None = None

    @classmethod
    def of(
        cls,
        task: Task,
        labels: str | None,
        descriptions: Path | None,
        models: options.ModelOptions,
        run: options.RunOptions,
        output: Path | None,
        resume: bool,
        report: Path | None = None,
    ) -> ZeroShotJob:
        """The job of a command line; without --labels, the labels are those that are described.

        Raises:
            UsageError: there are no labels, or a description is of none of them.
        """
        described = inputs.read_descriptions(descriptions) if descriptions else {}
        names = inputs.split_labels(labels) or list(described)
        if not names:
            raise UsageError("classify takes --demos FOLDER of labelled clips, or --labels NAME,NAME to choose among")
        if len(names) < 2:
            raise UsageError(f"--descriptions: describes the one label {show(names[0])!r}, and a choice takes two")
        if unknown := [label for label in described if label not in names]:
            raise UsageError(f"--descriptions: {show(unknown[0])!r} is not among --labels {', '.join(names)}")
        return cls(tuple(names), described, task.abstain_below or 0.0, models, run, output, resume, report)

    @property
    def is_log(self) -> bool:
        """Whether rows are written to a .jsonl, which can be continued."""
        return self.output is not None and self.output.suffix.lower() == ".jsonl"

    def load(self) -> ZeroShotClassifier:
        """The tagger and the LLM's scores of the labels."""
        from uniaudio_cli.api import load_zero_shot

        quiet, models = self.run.quiet, self.models
        session = load_zero_shot(
            self.labels,
            self.descriptions,
            lm=models.zero_shot_lm,
            abstain_below=self.abstain_below,
            device=models.device,
            dtype=models.dtype,
            bits=models.bits,
            offline=models.offline,
            progress=lambda line: note(line, quiet),
        )
        if session.meaningless:
            names = ", ".join(show(label) for label in session.meaningless)
            note(
                f"warning: labels that name no sound are a guess ({names}): describe them with --descriptions, or show "
                f"clips of them with --demos",
                quiet,
            )
        return session

    def open_log(self) -> JsonlLog:
        """The .jsonl of --output, its rows made with the same settings; failed clips are dropped."""
        assert self.output is not None
        settings: dict[str, Any] = {
            "labels": list(self.labels),
            "descriptions": self.descriptions,
            "abstain_below": self.abstain_below,
            "lm": self.models.zero_shot_lm,
            "dtype": self.models.dtype,
            "bits": self.models.bits,
            "folder": str(Path.cwd()),
        }
        return JsonlLog(self.output, settings, resume=self.resume, force=True, retry=lambda row: "scores" not in row)


def label_by_name(job: ZeroShotJob, files: list[Path]) -> None:
    """A label for every file: rows to `job.output`, JSON on stdout, or a table on a terminal."""
    quiet = job.run.quiet
    found = inputs.find_inputs(files, quiet)
    if job.resume and not job.is_log:
        raise UsageError("--resume: continues the .jsonl file of --output; name one")
    if job.output is not None:
        check_label_file(job.output, job.run.force or job.resume)
    check_page(job.report, job.run.force)
    if job.run.show_prompt:
        print(job.load().render_prompt())
        return
    with ExitStack() as stack:
        log = None
        if job.resume and job.output is not None and is_file(job.output):
            log = stack.enter_context(job.open_log())
        waiting = unlabelled(found, log)
        if job.resume:
            note(f"{len(found) - len(waiting)} of {len(found)} clips are done", quiet)
        if not waiting:
            return
        session = job.load()
        with stderr(quiet or not stderr().is_terminal).status("scoring labels"):
            session.prepare()
        if log is None and job.is_log:
            log = stack.enter_context(job.open_log())
            waiting = unlabelled(waiting, log)
        writers = row_writers(stack, job.output, job.run, log, session.labels)
        results = reviewed(stack, job.report, _timed(session, found, waiting), lambda file: "", quiet)
        write_labels(results, len(waiting), writers, quiet)


def _timed(
    session: ZeroShotClassifier, found: Sequence[Path], waiting: Sequence[Path]
) -> Iterator[tuple[LabelResult | ErrorResult, float]]:
    """Results of the waiting clips with their seconds. All clips are tagged, as they are calibrated together."""
    tagged: list[TaggedClip | ErrorResult] = []
    seconds = []
    for file in found:
        started = time.perf_counter()
        tagged.append(session.tag(file))
        seconds.append(round(time.perf_counter() - started, 3))
    wanted = {os.path.realpath(file) for file in waiting}
    for file, result, spent in zip(found, session.label(tagged), seconds, strict=True):
        if os.path.realpath(file) in wanted:
            yield result, spent
