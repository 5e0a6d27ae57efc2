"""`classify`, `tts`, `enhance` and `run TASK`: demonstrations and queries in, labels or sound out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from uniaudio_cli.cli import options
from uniaudio_cli.cli.options import Which, each, finish, note
from uniaudio_cli.errors import UniAudioError, UsageError
from uniaudio_cli.files import atomic, show

if TYPE_CHECKING:
    from uniaudio_cli.pipeline import Reply, Session
    from uniaudio_cli.task import Task

Files = Annotated[list[Path], typer.Argument(help="Audio files, folders, globs, or .txt/.scp lists.")]
TaskName = Annotated[str, typer.Option("--task", "-t", help="Shipped task or a .yaml file (`uniaudio tasks list`).")]
Levels = Annotated[str | None, typer.Option("--levels", help="Codec levels the LLM sees, coarsest 0, e.g. 0 or 0,1.")]
Repeats = Annotated[int | None, typer.Option("--repeats", min=1, help="Copies of the demonstrations in the prompt.")]
NoInstruction = Annotated[
    bool, typer.Option("--no-instruction", help="Leave the task's instruction out of the prompt.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where to write: a folder, or a file for one answer.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON object per answer on stdout.")]
Jsonl = Annotated[str | None, typer.Option("--jsonl", help="One JSON object a clip to this file, - for stdout.")]


def classify(
    files: Files,
    demos: options.Demos,
    task: TaskName = "sound-event",
    shots: options.Shots = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Only these labels, comma-separated.")] = None,
    readout: Annotated[
        str | None, typer.Option("--readout", help="How the label is read out: likelihood or label.")
    ] = None,
    repeats: Repeats = None,
    levels: Levels = None,
    no_instruction: NoInstruction = False,
    jsonl: Jsonl = None,
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
    from uniaudio_cli.audio import find_audio

    chosen = adapted(task, readout=readout, repeats=repeats, levels=levels, no_instruction=no_instruction)
    require(chosen, output="label", command="classify")
    found = find_audio(files)
    target = None if jsonl in (None, "-") else Path(str(jsonl))
    if target is not None and target.exists() and not force:
        raise UsageError(f"{show(target)}: exists already; use --force to overwrite it")
    which = Which(model, lm, codec, device, dtype, bits, offline, quiet)
    session = open_session(which, chosen, demos, shots, _split(labels), seed, found[0], show_prompt)
    if session is None:
        return
    rows = []
    for file, reply in each(found, lambda file: timed(session, file), "classify", quiet):
        if reply is not None:
            rows.append(label_row(file, *reply))
            if jsonl == "-" or (jsonl is None and not options.is_terminal()):
                print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    if target is not None:
        with atomic(target, force) as temporary:
            temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif jsonl is None and options.is_terminal():
        print_labels(rows)
    finish(len(found) - len(rows), len(found))


def tts(
    text: Annotated[
        str, typer.Argument(help="What to answer, e.g. '3' or '2 + 3'; - reads one text a line from stdin.")
    ],
    demos: options.Demos,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .wav, .flac or .ogg to write; a folder for stdin.")
    ],
    task: TaskName = "spoken-answer",
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="Let the LLM choose its answer as text, then speak it [default: on]."),
    ] = None,
    shots: options.Shots = None,
    levels: Levels = None,
    no_instruction: NoInstruction = False,
    as_json: AsJSON = False,
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
    """Speak a simple answer in the demonstrations' voice."""
    chosen = adapted(task, levels=levels, no_instruction=no_instruction)
    require(chosen, input="text", output="audio", command="tts")
    which = Which(model, lm, codec, device, dtype, bits, offline, quiet)
    texts, targets = _texts(text, output)
    _writable(targets, force)
    session = open_session(which, chosen, demos, shots, None, seed, texts[0], show_prompt)
    if session is None:
        return
    failed = 0
    for asked, target in zip(texts, targets, strict=True):
        started = time.perf_counter()
        try:
            reply = session(asked, think=think is not False)
            seconds = save(reply, target, session, force)
        except UniAudioError as problem:
            if len(texts) == 1:
                raise
            note(f"error: {asked}: {problem}")
            failed += 1
            continue
        row = {
            "text": asked,
            "answer": reply.answer,
            "file": show(target),
            "seconds": round(time.perf_counter() - started, 3),
        }
        _say(
            row,
            f"{show(target)}: {seconds:.2f} s" + (f", says {reply.answer!r}" if reply.answer else ""),
            as_json,
            quiet,
        )
    finish(failed, len(texts))


def enhance(
    files: Files,
    demos: options.Demos,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the enhanced files.")],
    task: TaskName = "enhance",
    shots: options.Shots = None,
    levels: Levels = None,
    repeats: Repeats = None,
    no_instruction: NoInstruction = False,
    as_json: AsJSON = False,
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
    chosen = adapted(task, levels=levels, repeats=repeats, no_instruction=no_instruction)
    require(chosen, input="audio", output="audio", command="enhance")
    which = Which(model, lm, codec, device, dtype, bits, offline, quiet)
    to_audio(which, chosen, files, demos, output, shots, seed, as_json, show_prompt, force)


def run(
    task: Annotated[str, typer.Argument(help="A shipped task or a .yaml file.")],
    queries: Annotated[list[str], typer.Argument(help="Audio files or folders, or texts, as the task takes.")],
    demos: options.Demos,
    output: Output = None,
    shots: options.Shots = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Only these labels, comma-separated.")] = None,
    as_json: AsJSON = False,
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
    chosen = adapted(task)
    shared: dict[str, Any] = {
        "shots": shots, "show_prompt": show_prompt, "model": model, "lm": lm, "codec": codec, "device": device,
        "dtype": dtype, "bits": bits, "offline": offline, "seed": seed, "quiet": quiet, "force": force,
    }  # fmt: skip
    if chosen.output == "label":
        classify(
            [Path(query) for query in queries], demos, task, labels=labels, jsonl="-" if as_json else None, **shared
        )
    elif output is None:
        raise UsageError(f"task {chosen.name} makes audio: say where with --output")
    elif chosen.input == "text":
        for number, query in enumerate(queries):
            target = output if len(queries) == 1 else output / f"{number}.wav"
            tts(query, demos, target, task, think=bool(chosen.worked), as_json=as_json, **shared)
    else:
        enhance([Path(query) for query in queries], demos, output, task, as_json=as_json, **shared)


def to_audio(
    which: Which,
    task: Task,
    files: list[Path],
    demos: Path,
    output: Path,
    shots: int | None,
    seed: int,
    as_json: bool,
    show_prompt: bool,
    force: bool,
) -> None:
    """Transform every file into the folder `output`, the tree of folders below an input folder kept."""
    from uniaudio_cli.audio import find_audio

    found = find_audio(files)
    targets = dict(zip(found, mirrored(found, files, output), strict=True))
    _writable([*targets.values()], force)
    session = open_session(which, task, demos, shots, None, seed, found[0], show_prompt)
    if session is None:
        return
    failed = 0

    def work(file: Path) -> float:
        started = time.perf_counter()
        save(session(file), targets[file], session, force)
        return time.perf_counter() - started

    for file, seconds in each(found, work, task.name, which.quiet):
        if seconds is None:
            failed += 1
            continue
        row = {"file": show(file), "output": show(targets[file]), "seconds": round(seconds, 3)}
        _say(row, f"{show(targets[file])}: {seconds:.1f} s", as_json, which.quiet)
    finish(failed, len(found))


def adapted(
    name: str,
    readout: str | None = None,
    repeats: int | None = None,
    levels: str | None = None,
    no_instruction: bool = False,
) -> Task:
    """The task with the command's flags in place of its own values."""
    from uniaudio_cli.task import changed, load_task

    numbers: tuple[int, ...] | None = None
    if levels is not None:
        try:
            numbers = tuple(int(part) for part in levels.split(","))
        except ValueError:
            raise UsageError(f"--levels {levels}: give numbers separated by commas, such as 0 or 0,1") from None
    return changed(
        load_task(name), readout=readout, repeats=repeats, levels=numbers, instruction="" if no_instruction else None
    )


def require(task: Task, command: str, output: str, input: str | None = None) -> None:
    """Refuse a task of another kind than the command's."""
    if task.output != output or input not in (None, task.input):
        raise UsageError(
            f"task {task.name} turns {task.input} into {task.output}: `uniaudio {command}` cannot do that, "
            f"`uniaudio run {task.name}` can"
        )


def open_session(
    which: Which,
    task: Task,
    demos: Path,
    shots: int | None,
    labels: Sequence[str] | None,
    seed: int,
    first: Path | str,
    show_prompt: bool,
) -> Session | None:
    """Demonstrations chosen and the models loaded; None where only the prompt was to be shown."""
    from uniaudio_cli.demos import choose, load_demonstrations

    picked = choose(load_demonstrations(demos, task.wants), shots or task.shots, seed, labels)
    session = options.load_kit(which).session(task, picked, seed)
    if not show_prompt:
        return session
    print(session.written(first))
    return None


def timed(session: Session, file: Path) -> tuple[Reply, float]:
    started = time.perf_counter()
    return session(file), time.perf_counter() - started


def label_row(file: Path, reply: Reply, seconds: float) -> dict[str, Any]:
    """One clip's line of JSON."""
    scores = {label: round(p, 6) for label, p in sorted((reply.scores or {}).items(), key=lambda item: -item[1])}
    return {"file": show(file), "label": reply.label, "scores": scores, "seconds": round(seconds, 3)}


def print_labels(rows: list[dict[str, Any]]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.text import Text

    table = Table("clip", "label", "p", "next")
    for row in rows:
        (label, p), *others = row["scores"].items()
        following = ", ".join(f"{other} {q:.2f}" for other, q in others[:2])
        table.add_row(Text(row["file"]), Text(label), f"{p:.2f}", Text(following))
    Console().print(table)


def save(reply: Reply, target: Path, session: Session, force: bool) -> float:
    """Write the reply's audio; its seconds."""
    from uniaudio_cli.audio import write_wav

    assert reply.wav is not None
    rate = session.kit.codec.sample_rate
    write_wav(target, reply.wav, rate, force)
    return math.ceil(reply.wav.shape[-1]) / rate


def mirrored(found: list[Path], given: list[Path], output: Path) -> list[Path]:
    """Where each input goes below `output`: its path below the folder it was found in, else its name, as .wav.

    Raises:
        UsageError: two inputs would be written to one file.
    """
    folders = [path for path in given if path.is_dir()]
    targets: dict[Path, Path] = {}
    for file in found:
        home = next((folder for folder in folders if folder in file.parents), file.parent)
        suffix = file.suffix.lower() if file.suffix.lower() in (".wav", ".flac", ".ogg") else ".wav"
        target = output / file.relative_to(home).with_suffix(suffix)
        if target in targets:
            raise UsageError(f"{show(file)} and {show(targets[target])} would both be written to {show(target)}")
        targets[target] = file
    return list(targets)


def _writable(targets: list[Path], force: bool) -> None:
    """Refuse before any model is loaded."""
    for target in targets:
        if target.exists() and not force:
            raise UsageError(f"{show(target)}: exists already; use --force to overwrite it")


def _texts(text: str, output: Path) -> tuple[list[str], list[Path]]:
    """The texts to answer and the file of each."""
    if text != "-":
        return [text], [output]
    lines = [line.strip() for line in typer.get_text_stream("stdin") if line.strip()]
    if not lines:
        raise UsageError("stdin holds no text to answer")
    return lines, [output / f"{number}.wav" for number in range(len(lines))]


def _split(labels: str | None) -> list[str] | None:
    return None if labels is None else [label.strip() for label in labels.split(",") if label.strip()]


def _say(row: dict[str, Any], line: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    else:
        note(line, quiet)
