"""`uniaudio classify`: audio files in, a label and a score per label out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import note, wants_records
from uniaudio_cli.cli.label_output import COLUMNS
from uniaudio_cli.cli.labelling import Labelling, label_files
from uniaudio_cli.cli.report_page import words_of
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line

if TYPE_CHECKING:
    from uniaudio_cli.cli.labelling import Timed
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.inference.classify import Classifier
    from uniaudio_cli.prompting.task import Task


@options.expand
def classify(
    files: options.Files,
    *,
    demos: options.OptionalDemos = None,
    task: options.TaskName = "sound-event",
    settings: options.DemoSettings,
    outputs: options.LabelOutputs,
    run: options.RunOptions,
    labels: options.NamedLabels = None,
    descriptions: options.Descriptions = None,
    select: options.Select = None,
    readout: options.Readout = None,
    open_set: options.OpenSetOptions,
    long: options.LongOptions,
    dry_run: options.DryRun = False,
    models: options.ModelOptions,
) -> None:
    """Label audio clips: from a few labelled ones (--demos), or by the names of labels alone (--labels)."""
    chosen = inputs.choose_task(task, settings, selection=select, readout=readout, unknown_below=open_set.value)
    inputs.require_kind(chosen, "classify", "classify")
    if demos is None:
        from uniaudio_cli.cli.zero_shot import ZeroShotJob

        needs_demos = {
            "--shots": settings.shots,
            "--levels": settings.levels,
            "--select": select,
            "--readout": readout,
            "--unknown": chosen.unknown_below,
            "--embed": outputs.embed,
            "--segments": long.segments or None,
            "--stream": long.stream or None,
            "--dry-run": dry_run or None,
        }
        inputs.refuse_flags(needs_demos, "takes demonstrations; name their folder with --demos")
        label_files(ZeroShotJob.of(chosen, labels, descriptions, models, run, outputs), files)
        return
    if descriptions is not None:
        raise UsageError("--descriptions: stand for labels without demonstrations; leave out --demos")
    demo = options.DemoOptions(demos=demos, **asdict(settings))
    job = LabelJob(models, run, outputs, chosen, demo, labels, dry_run)
    if long.segments or long.stream:
        from uniaudio_cli.cli.segments import label_long

        label_long(job, long, files)
        return
    inputs.refuse_flags(
        {"--window": long.window, "--window-scores": long.window_scores, "--min-seconds": long.min_seconds or None},
        "is of --segments; name that too",
    )
    label_files(job, files)


@dataclass(frozen=True)
class LabelJob(Labelling):
    """Labels from demonstrations. `labels`: as typed, with commas."""

    task: Task
    demo: options.DemoOptions
    labels: str | None = None
    dry_run: bool = False

    @cached_property
    def demonstrations(self) -> list[Demonstration]:
        """All that the folder holds."""
        return inputs.find_demonstrations(self.task, self.demo, self.run.quiet, inputs.split_labels(self.labels))

    def load(self) -> Classifier:
        """The models and the demonstrations' codes."""
        kit = self.models.load(self.run.quiet, defer_lm=not self.task.uses_lm)
        names, shots = inputs.split_labels(self.labels), self.demo.shots or self.task.shots
        return kit.classifier(self.demonstrations, self.task, shots=shots, labels=names, seed=self.demo.seed)

    def settings(self) -> dict[str, Any]:
        return {
            **self.task.model_dump(mode="json", exclude={"name", "description"}),
            "shots": self.demo.shots or self.task.shots,
            "seed": self.demo.seed,
            "labels": inputs.split_labels(self.labels),
            "demonstrations": demonstrations_hash(self.demonstrations),
            **{key: value for key, value in asdict(self.models).items() if key not in ("device", "offline")},
        }

    def columns(self) -> Sequence[str]:
        return COLUMNS if self.task.unknown_below is None else (*COLUMNS, "similarity")

    def stops_early(self, found: Sequence[Path]) -> bool:
        _ = self.demonstrations
        if self.run.show_prompt:
            print(self.load().render_prompt(found[0]))
        elif self.dry_run:
            report_budgets(self)
        return self.run.show_prompt or self.dry_run

    def prepared(self) -> Classifier:
        classifier = self.load()
        classifier.prepare()  # demonstrations that do not fit are reported once
        return classifier

    def words(self, session: Classifier) -> Callable[[str], str]:
        return words_of(session)

    def announce(self, session: Classifier, waiting: Sequence[Path]) -> None:
        quiet = self.run.quiet
        inputs.announce_demonstrations(self.demonstrations, session.demonstrations, self.task, quiet)
        inputs.announce_overlap(waiting, session.demonstrations, quiet)
        inputs.announce_conversion(waiting, session.models.codec.sample_rate, quiet)
        if session.open_set is not None and self.task.unknown_below == "auto":
            note(f"note: unknown below a similarity of {session.open_set.threshold:.2f}, by the demonstrations", quiet)

    def results(self, session: Classifier, found: Sequence[Path], waiting: Sequence[Path]) -> Timed:
        return session.classify_timed(waiting)


def demonstrations_hash(found: Sequence[Demonstration]) -> str:
    """SHA-256 of the demonstrations' labels and files."""
    clips = sorted(f"{each.label} {inputs.content_hash(each.audio)}" for each in found)
    return hashlib.sha256("\n".join(clips).encode("utf-8", "surrogateescape")).hexdigest()


def report_budgets(job: LabelJob) -> None:
    """Tokens that the demonstrations take of the LLM's context, as rows or a table."""
    budgets = job.load().context_budgets()
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
