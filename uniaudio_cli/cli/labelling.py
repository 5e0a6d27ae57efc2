"""A run of labels over files, from demonstrations or by names: what both have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import complain, counted, finish, note, wants_records
from uniaudio_cli.cli.label_output import COLUMNS, LabelSummary, Write, csv_rows, json_rows, print_table, result_row
from uniaudio_cli.cli.label_sinks import Sink, check_sinks, open_sinks
from uniaudio_cli.cli.output_paths import check_label_file
from uniaudio_cli.cli.report_page import check_page, reviewed
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog, json_line
from uniaudio_cli.core.paths import is_file, show

if TYPE_CHECKING:
    from uniaudio_cli.inference.results import ErrorResult, LabelResult

    Timed = Iterable[tuple[LabelResult | ErrorResult, float]]


class LabelSession(Protocol):
    """A `Classifier` or a `ZeroShotClassifier`."""

    @property
    def labels(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Labelling(ABC):
    """Models, outputs, and how results are made."""

    models: options.ModelOptions
    run: options.RunOptions
    outputs: options.LabelOutputs

    @property
    def is_log(self) -> bool:
        """Whether rows are written to a .jsonl, which can be continued."""
        return self.outputs.output is not None and self.outputs.output.suffix.lower() == ".jsonl"

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the rows of a .jsonl depend on."""

    def columns(self) -> Sequence[str]:
        """Columns of a .csv, before the labels' scores."""
        return COLUMNS

    @abstractmethod
    def stops_early(self, found: Sequence[Path]) -> bool:
        """Check what needs no model; whether that, or a prompt shown, was all there is to do."""

    @abstractmethod
    def prepared(self) -> LabelSession:
        """The session, ready for its first clip."""

    @abstractmethod
    def results(self, session: Any, found: Sequence[Path], waiting: Sequence[Path]) -> Timed:
        """Results of the waiting files, each with its seconds."""

    def words(self, session: Any) -> Callable[[str], str]:
        """What the LLM is given of a clip, by its file, for --report; empty where it is given nothing."""
        return lambda file: ""

    def announce(self, session: Any, waiting: Sequence[Path]) -> None:  # noqa: B027 (there may be none)
        """Notes on what is about to run."""

    def open_log(self) -> JsonlLog:
        """The .jsonl of --output: one process at a time, its rows made with the same settings; failed clips dropped."""
        assert self.outputs.output is not None
        settings = {**self.settings(), "folder": str(Path.cwd())}  # that relative paths start from
        resume = self.outputs.resume
        return JsonlLog(
            self.outputs.output, settings, resume=resume, force=True, retry=lambda row: "scores" not in row, keep=False
        )


def label_files(job: Labelling, files: list[Path]) -> None:
    """A label for every file: rows to --output, JSON on stdout, or a table on a terminal."""
    quiet, outputs = job.run.quiet, job.outputs
    found = inputs.find_inputs(files, quiet)
    if outputs.resume and not job.is_log:
        raise UsageError("--resume: continues the .jsonl file of --output; name one")
    if outputs.output is not None:
        check_label_file(outputs.output, job.run.force or outputs.resume)
    check_sinks(outputs, files, job.run.force)
    check_page(outputs.report, job.run.force)
    if job.stops_early(found):
        return
    with ExitStack() as stack:
        log = None
        if outputs.resume and outputs.output is not None and is_file(outputs.output):
            log = stack.enter_context(job.open_log())
        waiting = unlabelled(found, log)
        if outputs.resume:
            note(f"{len(found) - len(waiting)} of {len(found)} clips are done", quiet)
        if not waiting:
            return
        session = job.prepared()
        if log is None and job.is_log:  # only now, so that a command that cannot work leaves no file
            log = stack.enter_context(job.open_log())
            waiting = unlabelled(waiting, log)
        job.announce(session, waiting)
        writers = row_writers(stack, outputs.output, job.run, log, session.labels, job.columns())
        sinks = open_sinks(stack, outputs, len(waiting), quiet)
        results = reviewed(stack, outputs.report, job.results(session, found, waiting), job.words(session), quiet)
        write_labels(results, len(waiting), writers, sinks, quiet)


def unlabelled(files: Sequence[Path], log: JsonlLog | None) -> list[Path]:
    """The files that have no row in the log, by whatever path it names them."""
    done = {os.path.realpath(row["file"]) for row in log.rows} if log else set()
    return [file for file in files if os.path.realpath(file) not in done]


def write_labels(results: Timed, total: int, writers: Sequence[Write], sinks: Sequence[Sink], quiet: bool) -> None:
    """Results, each with its seconds, as rows; a table where there are no writers; the summary and the exit code."""
    from uniaudio_cli.inference.results import ErrorResult

    to_terminal = not writers
    rows: list[dict[str, Any]] = []
    summary = LabelSummary()
    for result, seconds in counted(results, total, "classify", quiet):
        row = result_row(result, seconds)
        if isinstance(result, ErrorResult):
            if result.exit_code == UsageError.exit_code and not summary.labelled:
                raise UsageError(result.error)  # what is wrong is the command and not one of its clips
            complain(result.error, show(result.file))
        for sink in sinks:  # before the row, so that a run that is resumed has all clips of its rows
            sink(result)
        for write in writers:
            write(row)
        if "error" not in row:
            summary.add(row)
            if to_terminal:
                rows.append(row)
    if rows:
        print_table(rows)
    summary.print(quiet)
    for sink in sinks:
        sink.finish()
    if 0 < summary.labelled < total:
        note(f"note: {total - summary.labelled} of {total} clips failed", quiet)
    finish(summary.labelled, total)


def row_writers(
    stack: ExitStack,
    output: Path | None,
    run: options.RunOptions,
    log: JsonlLog | None,
    labels: Sequence[str],
    columns: Sequence[str] = COLUMNS,
) -> list[Write]:
    """What takes each row: the file of --output, and stdout. `columns`: of a .csv, before the labels' scores."""
    writers: list[Write] = []
    if log is not None:
        writers.append(log.write)
    elif output is not None:
        is_csv = output.suffix.lower() == ".csv"
        writers.append(stack.enter_context(csv_rows(output, labels, columns) if is_csv else json_rows(output)))
    if wants_records(output, run.as_json):
        writers.append(lambda row: print(json_line(row), flush=True))
    return writers
