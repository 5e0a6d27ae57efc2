"""What the commands of `uniaudio eval` share: a job is run with a bar, its report written, its results printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uniaudio_cli.cli import params
from uniaudio_cli.cli.console import counted, note
from uniaudio_cli.cli.output_paths import refuse_stdout
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.job import Job
    from uniaudio_cli.evaluation.results import Results
    from uniaudio_cli.prompting.task import Task


class Controls(str, Enum):
    """Which rows are run."""

    fast = "fast"
    all = "all"
    context = "context"


Peers = Annotated[
    str | None,
    typer.Option("--peers", help="Rows of public models: clap, cascade, qwen2-audio; NAME=FOLDER for weights here."),
]


@dataclass(frozen=True)
class EvalOptions:
    """What `eval` runs on the episodes, and where results go."""

    task: params.TaskName = "sound-event"
    settings: params.Settings = None
    controls: Annotated[
        Controls,
        typer.Option("--controls", help="Rows: fast, all with the LLM's controls, or context: the LLM alone."),
    ] = Controls.fast
    peers: Peers = None
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes, each with its own models; the answers are the same.")
    ] = 1
    report: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report; a stopped run continues there.")
    ] = None
    as_json: params.OneObject = False
    quiet: params.Quiet = False
    force: params.Force = False


def choose_task(evaluation: EvalOptions) -> Task:
    """The task with --set applied.

    Raises:
        UsageError: there is no such task, or it gives no labels.
    """
    from uniaudio_cli.core.schema import parse_settings
    from uniaudio_cli.prompting.task import load_task

    task = load_task(evaluation.task, parse_settings(evaluation.settings or []))
    if task.kind != "classify":
        raise UsageError(f"task {task.name}: gives no labels, so nothing is right or wrong")
    return task


def run_job(
    job: Job, evaluation: EvalOptions, models: params.ModelOptions, notes: Sequence[str] = (), **facts: Any
) -> Results:
    """Run a job, continued where its report has answers, and write the report. `facts`: other fields of `Results`."""
    from uniaudio_cli.evaluation import job as jobs
    from uniaudio_cli.evaluation import runner

    quiet, report = evaluation.quiet, evaluation.report
    if report is not None:
        refuse_stdout(report)
        runner.settle_manifest(report, job.manifest, evaluation.force)
        settings = {"manifest": job.manifest.hash, **job.facts}
    with nullcontext() if report is None else runner.open_log(report, settings, evaluation.force) as log:
        results = jobs.evaluate(
            job,
            log,
            workers=evaluation.workers,
            progress=lambda line: note(line, quiet),
            load=lambda: models.load(quiet, defer_lm=not job.task.uses_lm),
            watch=lambda answers, total: counted(answers, total, "eval", quiet),
            notes=tuple(line.removeprefix("note: ") for line in notes),
            **facts,
        )
    if report is not None:
        results.write(report / runner.RESULTS, force=True)
        write_page(results, job.folder, report, quiet)
    return results


def write_page(results: Results, folder: Path, report: Path, quiet: bool) -> None:
    """report.html, or a note on what it needs."""
    from uniaudio_cli.evaluation import runner
    from uniaudio_cli.evaluation.page import build
    from uniaudio_cli.evaluation.systems import MissingLibrary

    made = [runner.RESULTS, runner.EPISODES, runner.MANIFEST]
    try:
        build.write(results, folder, report / runner.PAGE)
        made.insert(0, runner.PAGE)
    except MissingLibrary as problem:
        note(f"note: no {runner.PAGE}: {problem}", quiet)
    note(f"{show(report)}: {', '.join(made)}", quiet)


def print_results(results: Results, evaluation: EvalOptions) -> None:
    """Results as JSON, or as tables and sentences for people."""
    from uniaudio_cli.evaluation import report, sentences

    if evaluation.as_json:
        print(json_line(results.model_dump(mode="json")))
        return
    print(report.design(results))
    for cell in results.cells:
        print_table(report.header(cell), report.rows(cell))
        if names := report.group_header(cell):
            print_table(names, report.group_rows(cell))
    print_table(("label", "precision", "recall", "n"), report.class_rows(results))
    for line in sentences.lines(results):
        print(line)
    for line in report.footnotes(results):
        note(line, evaluation.quiet)


def model_names(models: params.ModelOptions) -> Any:
    """The models as a job names them."""
    from uniaudio_cli.evaluation.job import ModelNames

    return ModelNames(**models.arguments)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout."""
    table = Table(*header)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
