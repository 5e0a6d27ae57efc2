"""`uniaudio run TASK`: any task, with the flags of the command that its kind has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.classify import LabelJob
from uniaudio_cli.cli.labelling import label_files
from uniaudio_cli.cli.resynthesis import ResynthesisJob, resynthesize_files
from uniaudio_cli.cli.speak import SpeechJob, speak_texts
from uniaudio_cli.core.errors import UsageError

if TYPE_CHECKING:
    from uniaudio_cli.prompting.task import Task

COMMANDS = {"classify": "classify", "speak": "tts", "enhance": "run resynthesis"}


@options.expand
def run(
    task: Annotated[str, typer.Argument(help="Shipped task or .yaml file.")],
    queries: Annotated[list[str], typer.Argument(help="Audio files or folders, or texts, as the task takes.")],
    *,
    demo: options.DemoOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Label file, audio file, or folder of audio.")
    ] = None,
    run: options.RunOptions,
    labels: options.Labels = None,
    select: options.Select = None,
    readout: options.Readout = None,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
    voice: options.Voice = None,
    think: options.Think = True,
    abstain_below: options.AbstainBelow = None,
    stream: options.Stream = False,
    strength: options.Strength = 1.0,
    models: options.ModelOptions,
) -> None:
    """Run any task: audio or text in, labels or audio out."""
    layout = "interleaved" if stream else None
    chosen = inputs.choose_task(
        task, demo, selection=select, readout=readout, layout=layout, abstain_below=abstain_below
    )
    given: dict[str, dict[str, object]] = {
        "classify": {"--labels": labels, "--readout": readout, "--resume": resume, "--dry-run": dry_run},
        "speak": {"--voice": voice, "--no-think": not think, "--abstain-below": abstain_below, "--stream": stream},
        "enhance": {"--strength": strength < 1},
    }
    refuse_others(chosen, given)
    files = [Path(query) for query in queries]
    if chosen.kind == "classify":
        label_files(LabelJob(models, run, options.LabelOutputs(output, resume), chosen, demo, labels, dry_run), files)
    elif chosen.kind == "speak":
        speak_texts(SpeechJob(chosen, demo, models, run, output, voice, think, stream), queries)
    else:
        resynthesize_files(ResynthesisJob(chosen, demo, models, run, output, strength), files)


def refuse_others(task: Task, given: dict[str, dict[str, object]]) -> None:
    """Refuse flags of a command that the task is not for."""
    for kind, flags in given.items():
        for flag, value in flags.items():
            if kind != task.kind and value not in (None, False, 0.0):
                raise UsageError(f"{flag}: is of `uniaudio {COMMANDS[kind]}`; task {task.name} {task.kind}s")
