"""`uniaudio classify`: audio files in, a label and a score per label out."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import complain, counted, finish, note, wants_records
from uniaudio_cli.cli.label_output import LabelSummary, Write, csv_rows, json_rows, print_table, result_row
from uniaudio_cli.cli.output_paths import check_label_file
from uniaudio_cli.cli.report_page import check_page, reviewed, words_of
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog, json_line
from uniaudio_cli.core.paths import is_file, show

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.inference.classify import Classifier
    from uniaudio_cli.inference.results import ErrorResult, LabelResult
    from uniaudio_cli.prompting.task import Task


@options.expand
def classify(
    files: options.Files,
    *,
    demos: options.OptionalDemos = None,
    task: options.TaskName = "sound-event",
    settings: options.DemoSettings,
    output: options.LabelOutput = None,
    report: options.LabelReport = None,
    run: options.RunOptions,
    resume: options.Resume = False,
    labels: options.NamedLabels = None,
    descriptions: options.Descriptions = None,
    select: options.Select = None,
    readout: options.Readout = None,
    dry_run: options.DryRun = False,
    models: options.ModelOptions,
) -> None:
    """Label audio clips: from a few labelled ones (--demos), or by the names of labels alone (--labels)."""
    chosen = inputs.choose_task(task, settings, selection=select, readout=readout)
    inputs.require_kind(chosen, "classify", "classify")
    if demos is None:
        from uniaudio_cli.cli.zero_shot import ZeroShotJob, label_by_name

        needs_demos = {
            "--shots": settings.shots,
            "--levels": settings.levels,
            "--select": select,
            "--readout": readout,
            "--dry-run": dry_run or None,
        }
        given = [flag for flag, value in needs_demos.items() if value is not None]
        if given:
            raise UsageError(f"{given[0]}: says how demonstrations are used; name their folder with --demos")
        label_by_name(ZeroShotJob.of(chosen, labels, descriptions, models, run, output, resume, report), files)
        return
    if descriptions is not None:
        raise UsageError("--descriptions: stand for labels without demonstrations; leave out --demos")
    demo = options.DemoOptions(demos=demos, **asdict(settings))
    classify_files(LabelJob(chosen, demo, models, run, labels, output, resume, dry_run, report), files)


@dataclass(frozen=True)
class LabelJob:
    """A classification task with its demonstrations, models and output. `labels`: as typed, with commas."""

    task: Task
    demo: options.DemoOptions
    models: options.ModelOptions
    run: options.RunOptions
    labels: str | None = None
    output: Path | None = None
    resume: bool = False
    dry_run: bool = False
    report: Path | None = None

    @property
    def is_log(self) -> bool:
        """Whether rows are written to a .jsonl, which can be continued."""
        return self.output is not None and self.output.suffix.lower() == ".jsonl"

    def load(self, found: Sequence[Demonstration]) -> Classifier:
        """The models and the demonstrations' codes."""
        kit = self.models.load(self.run.quiet, defer_lm=not self.task.uses_lm)
        names, shots = inputs.split_labels(self.labels), self.demo.shots or self.task.shots
        return kit.classifier(found, self.task, shots=shots, labels=names, seed=self.demo.seed)

    def open_log(self, found: Sequence[Demonstration]) -> JsonlLog:
        """The .jsonl of --output: one process at a time, its rows made with the same settings; failed clips dropped."""
        assert self.output is not None
        settings = {
            **self.task.model_dump(mode="json", exclude={"name", "description"}),
            "shots": self.demo.shots or self.task.shots,
            "seed": self.demo.seed,
            "labels": inputs.split_labels(self.labels),
            "demonstrations": demonstrations_hash(found),
            **{key: value for key, value in asdict(self.models).items() if key not in ("device", "offline")},
            "folder": str(Path.cwd()),  # that relative paths start from
        }
        return JsonlLog(self.output, settings, resume=self.resume, force=True, retry=lambda row: "scores" not in row)


def demonstrations_hash(found: Sequence[Demonstration]) -> str:
    """SHA-256 of the demonstrations' labels and files."""
    clips = sorted(f"{each.label} {inputs.content_hash(each.audio)}" for each in found)
    return hashlib.sha256("\n".join(clips).encode("utf-8", "surrogateescape")).hexdigest()


def classify_files(job: LabelJob, files: list[Path]) -> None:
    """A label for every file: rows to `job.output`, JSON on stdout, or a table on a terminal."""
    quiet = job.run.quiet
    found = inputs.find_inputs(files, quiet)
    if job.resume and not job.is_log:
        raise UsageError("--resume: continues the .jsonl file of --output; name one")
    if job.output is not None:
        check_label_file(job.output, job.run.force or job.resume)
    check_page(job.report, job.run.force)
    demonstrations = inputs.find_demonstrations(job.task, job.demo, quiet, inputs.split_labels(job.labels))
    if job.run.show_prompt:
        print(job.load(demonstrations).render_prompt(found[0]))
        return
    if job.dry_run:
        report_budgets(job, demonstrations)
        return
    with ExitStack() as stack:
        log = None
        if job.resume and job.output is not None and is_file(job.output):
            log = stack.enter_context(job.open_log(demonstrations))
        waiting = unlabelled(found, log)
        if job.resume:
            note(f"{len(found) - len(waiting)} of {len(found)} clips are done", quiet)
        if not waiting:
            return
        classifier = job.load(demonstrations)
        classifier.prepare()  # demonstrations that do not fit are reported once
        if log is None and job.is_log:  # only now, so that a command that cannot work leaves no file
            log = stack.enter_context(job.open_log(demonstrations))
            waiting = unlabelled(waiting, log)
        inputs.announce_demonstrations(demonstrations, classifier.demonstrations, job.task, quiet)
        inputs.announce_overlap(waiting, classifier.demonstrations, quiet)
        inputs.announce_conversion(waiting, classifier.models.codec.sample_rate, quiet)
        writers = row_writers(stack, job.output, job.run, log, classifier.labels)
        results = reviewed(stack, job.report, timed(classifier, waiting), words_of(classifier), quiet)
        write_labels(results, len(waiting), writers, quiet)


def unlabelled(files: Sequence[Path], log: JsonlLog | None) -> list[Path]:
    """The files that have no row in the log, by whatever path it names them."""
    done = {os.path.realpath(row["file"]) for row in log.rows} if log else set()
    return [file for file in files if os.path.realpath(file) not in done]


def write_labels(
    results: Iterator[tuple[LabelResult | ErrorResult, float]], total: int, writers: Sequence[Write], quiet: bool
) -> None:
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
        for write in writers:
            write(row)
        if "error" not in row:
            summary.add(row)
            if to_terminal:
                rows.append(row)
    if rows:
        print_table(rows)
    summary.print(quiet)
    if 0 < summary.labelled < total:
        note(f"note: {total - summary.labelled} of {total} clips failed", quiet)
    finish(summary.labelled, total)


def timed(classifier: Classifier, files: Sequence[Path]) -> Iterator[tuple[LabelResult | ErrorResult, float]]:
    """Results, each with its share of the seconds that its batch took."""
    from uniaudio_cli.inference.session import growing_batches

    for batch in growing_batches(files):
        started = time.perf_counter()
        results = classifier.classify_batch(batch)
        seconds = round((time.perf_counter() - started) / len(batch), 3)
        yield from ((result, seconds) for result in results)


def row_writers(
    stack: ExitStack, output: Path | None, run: options.RunOptions, log: JsonlLog | None, labels: Sequence[str]
) -> list[Write]:
    """What takes each row: the file of --output, and stdout."""
    writers: list[Write] = []
    if log is not None:
        writers.append(log.write)
    elif output is not None:
        is_csv = output.suffix.lower() == ".csv"
        writers.append(stack.enter_context(csv_rows(output, labels) if is_csv else json_rows(output)))
    if wants_records(output, run.as_json):
        writers.append(lambda row: print(json_line(row), flush=True))
    return writers


def report_budgets(job: LabelJob, demonstrations: Sequence[Demonstration]) -> None:
    """Tokens that the demonstrations take of the LLM's context, as rows or a table."""
    budgets = job.load(demonstrations).context_budgets()
    if not budgets:
        note(f"readout {job.task.readout} takes nothing of the LLM's context", job.run.quiet)
        return
    rows = [
        {
            "label": budget.examples_for,
            "level": budget.level,
            "shots": len(budget.shots),
            "shot_ids": list(budget.shots),
            "rest_ids": budget.rest,
            "answer_ids": budget.answer,
            "ids": budget.ids,
            "context": budget.context,
            "most_shots": budget.most_shots,
        }
        for budget in budgets
    ]
    if wants_records(None, job.run.as_json):
        for row in rows:
            print(json_line(row), flush=True)
    else:
        table = Table("demonstrations of", "words of", "shots", "ids a shot", "ids in all", "of", "shots that fit")
        for budget in budgets:
            a_shot = f"{sum(budget.shots) / len(budget.shots):.0f}"
            numbers = (len(budget.shots), a_shot, budget.ids, budget.context, budget.most_shots)
            table.add_row(Text(budget.examples_for or "all labels"), budget.level or "", *map(str, numbers))
        Console().print(table)
    shots = min(budget.most_shots for budget in budgets)
    given = max(len(budget.shots) for budget in budgets)
    note(f"{shots} shot{'s' * (shots != 1)} would fit, {given} given", job.run.quiet)
