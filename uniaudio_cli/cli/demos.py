"""`uniaudio demos`: looks at a folder of demonstrations before it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import note, wants_records
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    import numpy as np

    from uniaudio_cli.prompting.task import Task

app = typer.Typer(help="Demonstrations: check a folder of labelled clips.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    pass


@app.command()
@options.expand
def check(
    folder: Annotated[Path, typer.Argument(help="Folder: LABEL/clip.wav or metadata.csv|jsonl.")],
    *,
    task: options.TaskName = "sound-event",
    against: Annotated[
        Path | None, typer.Option("--against", help="Folder whose clips must not be among the demonstrations.")
    ] = None,
    as_json: options.AsJSON = False,
    quiet: options.Quiet = False,
    models: options.ModelOptions,
) -> None:
    """Look for duplicates, leaks, unusable clips, outliers, uneven loudness and counts; exit 1 where there are any."""
    from uniaudio_cli.data.check import Finding, check_demonstrations
    from uniaudio_cli.data.demonstrations import load_demonstrations

    chosen = inputs.choose_task(task, options.DemoSettings())
    inputs.require_kind(chosen, "classify", "demos check")
    notes: list[str] = []
    found = load_demonstrations(folder, chosen.demonstration_kind, note=notes.append)
    findings = [Finding("folder", None, "", line.removeprefix("note: ")) for line in notes]
    findings += check_demonstrations(found, against, _features(chosen, models, quiet))
    if wants_records(None, as_json):
        for each in findings:
            row: dict[str, Any] = {"file": None if each.path is None else str(each.path), "label": each.label or None}
            print(json_line({"kind": each.kind, **row, "reason": each.reason}), flush=True)
    elif findings:
        table = Table("kind", "clip or label", "what is odd")
        for each in findings:
            name = each.label if each.path is None else _below(each.path, folder)
            table.add_row(each.kind, Text(show(name)), Text(each.reason))
        Console().print(table)
    counts = Counter(each.label for each in found)
    few, many = min(counts.values()), max(counts.values())
    note(
        f"demos: {len(found)} clips of {len(counts)} labels, {few if few == many else f'{few} to {many}'} each; "
        f"{len(findings)} remark{'s' * (len(findings) != 1)}",
        quiet,
    )
    if findings:
        raise typer.Exit(1)


def _below(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if folder in path.parents else path)


def _features(task: Task, models: options.ModelOptions, quiet: bool) -> Callable[[Path], np.ndarray] | None:
    """What the task's similarity readout compares; None for other readouts, whose outliers are not looked for."""
    from uniaudio_cli.inference.similarity import SimilarityReadout, joined

    if task.readout != "similarity":
        note(f"note: no outliers are looked for, as task {task.name} compares no features", quiet)
        return None
    encoder = models.load(quiet, defer_lm=True).encoder

    def features(path: Path) -> np.ndarray:
        (clip,) = encoder.encode_with_offsets(path, task)
        weights = SimilarityReadout.of({"": [clip.features]}, task.levels, task.level_weights).weights
        return joined(clip.features, weights)

    return features
