"""`classify`, `tts`, `enhance` and `run TASK`: demonstrations and queries in, labels or sound out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.job import Job, label_all, override_task, plan_all, require, speak_all, stream_one, transform_all
from uniaudio_cli.cli.params import ModelOptions

TaskName = Annotated[str, typer.Option("--task", "-t", help="Shipped task or a .yaml file (`uniaudio tasks list`).")]


def classify(
    files: options.Files,
    demos: options.Demos,
    task: TaskName = "sound-event",
    shots: options.Shots = None,
    labels: options.Labels = None,
    spread: Annotated[
        bool,
        typer.Option(
            "--spread", help="Of more clips than --shots, show those typical of their label, not a seeded draw."
        ),
    ] = False,
    readout: Annotated[
        str | None, typer.Option("--readout", help="How the label is read out: likelihood or label.")
    ] = None,
    repeats: options.Repeats = None,
    levels: options.Levels = None,
    no_instruction: options.NoInstruction = False,
    abstain_below: Annotated[
        float | None,
        typer.Option("--abstain-below", help="No label (null) where the likeliest is less probable than this, 0 to 1."),
    ] = None,
    jsonl: Annotated[
        str | None, typer.Option("--jsonl", help="One JSON object a clip to this file, - for stdout.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the file of --jsonl: leave out the clips it has labels for.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Say what the demonstrations take of the LLM's context, and how many shots fit; load no LLM."
        ),
    ] = False,
    show_prompt: options.ShowPrompt = False,
    model: options.Model = "small",
    lm: options.LM = None,
    codec: options.CodecName = None,
    device: options.Device = "auto",
    dtype: options.DType = "auto",
    bits: options.Bits = None,
    offline: options.Offline = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Label audio clips from a few labelled ones."""
    pick = "typical" if spread else None
    chosen = override_task(task, readout, repeats, levels, no_instruction, abstain_below, pick=pick)
    require(chosen, "classify", input="audio", output="label")
    which = ModelOptions(model, lm, codec, device, dtype, bits, offline)
    job = Job(
        chosen, which, demos, shots, labels, seed, as_json=False, show_prompt=show_prompt, quiet=quiet, force=force
    )
    if plan:
        plan_all(job, files, jsonl)
    else:
        label_all(job, files, jsonl, resume)


def tts(
    text: Annotated[
        str, typer.Argument(help="What to answer, e.g. '3' or '2 + 3'; - reads one text a line from stdin.")
    ],
    demos: options.Demos,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .wav, .flac or .ogg to write; a folder for stdin.")
    ] = None,
    task: TaskName = "spoken-answer",
    think: Annotated[
        bool | None,
        typer.Option(
            "--think/--no-think",
            help="Let the LLM choose its answer as text, then speak it (default: if the task has worked examples).",
        ),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Write frame by frame while the rest is being made: a .wav, or - for stdout."),
    ] = False,
    shots: options.Shots = None,
    levels: options.Levels = None,
    no_instruction: options.NoInstruction = False,
    as_json: options.AsJSON = False,
    show_prompt: options.ShowPrompt = False,
    model: options.Model = "small",
    lm: options.LM = None,
    codec: options.CodecName = None,
    device: options.Device = "auto",
    dtype: options.DType = "auto",
    bits: options.Bits = None,
    offline: options.Offline = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Speak a simple answer in the demonstrations' voice: of several speakers' folders, --demos chooses one."""
    chosen = override_task(task, levels=levels, no_instruction=no_instruction, order="frames" if stream else None)
    require(chosen, "tts", input="text", output="audio")
    which = ModelOptions(model, lm, codec, device, dtype, bits, offline)
    job = Job(
        chosen, which, demos, shots, None, seed, as_json=as_json, show_prompt=show_prompt, quiet=quiet, force=force
    )
    if stream:
        stream_one(job, text, output, think)
    else:
        speak_all(job, [text], output, think)


def enhance(
    files: options.Files,
    demos: options.Demos,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the enhanced files.")] = None,
    task: TaskName = "enhance",
    mix: Annotated[
        float, typer.Option("--mix", min=0.0, max=1.0, help="Share of the input blended into the result.")
    ] = 0.0,
    shots: options.Shots = None,
    levels: options.Levels = None,
    repeats: options.Repeats = None,
    no_instruction: options.NoInstruction = False,
    as_json: options.AsJSON = False,
    show_prompt: options.ShowPrompt = False,
    model: options.Model = "small",
    lm: options.LM = None,
    codec: options.CodecName = None,
    device: options.Device = "auto",
    dtype: options.DType = "auto",
    bits: options.Bits = None,
    offline: options.Offline = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Clean noisy recordings from a few (noisy, clean) pairs."""
    chosen = override_task(task, levels=levels, repeats=repeats, no_instruction=no_instruction)
    require(chosen, "enhance", input="audio", output="audio")
    which = ModelOptions(model, lm, codec, device, dtype, bits, offline)
    job = Job(
        chosen, which, demos, shots, None, seed, as_json=as_json, show_prompt=show_prompt, quiet=quiet, force=force
    )
    transform_all(job, files, output, mix)


def run(
    task: Annotated[str, typer.Argument(help="A shipped task or a .yaml file.")],
    queries: Annotated[list[str], typer.Argument(help="Audio files or folders, or texts, as the task takes.")],
    demos: options.Demos,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write: a folder; a file for one text; a .jsonl for labels."),
    ] = None,
    shots: options.Shots = None,
    labels: options.Labels = None,
    as_json: options.AsJSON = False,
    show_prompt: options.ShowPrompt = False,
    model: options.Model = "small",
    lm: options.LM = None,
    codec: options.CodecName = None,
    device: options.Device = "auto",
    dtype: options.DType = "auto",
    bits: options.Bits = None,
    offline: options.Offline = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Run any task: audio or text in, labels or audio out."""
    chosen = override_task(task)
    which = ModelOptions(model, lm, codec, device, dtype, bits, offline)
    job = Job(
        chosen, which, demos, shots, labels, seed, as_json=as_json, show_prompt=show_prompt, quiet=quiet, force=force
    )
    files = [Path(query) for query in queries]
    if chosen.output == "label":
        label_all(job, files, str(output) if output else "-" if as_json else None)
    elif chosen.input == "text":
        speak_all(job, queries, output, think=None)
    else:
        transform_all(job, files, output)
