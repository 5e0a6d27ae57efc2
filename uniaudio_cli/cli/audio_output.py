"""Audio that a command made: written to a file or stdout, and reported."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniaudio_cli.cli.console import complain, counted, finish, note
from uniaudio_cli.cli.output_paths import audio_targets, check_targets, is_stdout
from uniaudio_cli.cli.params import RunOptions
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from torch import Tensor

    from uniaudio_cli.prompting.task import Task


def required_output(output: Path | None, task: Task) -> Path:
    """`output`. Raises UsageError where it is missing."""
    if output is None:
        raise UsageError(f"task {task.name} makes audio: say where with --output")
    return output


def write_audio(target: Path, wav: Tensor, sample_rate: int, force: bool) -> None:
    """wav float32 [1, T] to a file, or as .wav to stdout."""
    from uniaudio_cli.audio.io import stream_wav, write_wav

    if is_stdout(target):
        stream_wav(sys.stdout.buffer, [wav], sample_rate)
    else:
        write_wav(target, wav, sample_rate, force)


def report(run: RunOptions, row: Mapping[str, Any], line: str = "") -> None:
    """One result: a record on stdout with --json, else a line for people on stderr."""
    if run.as_json:
        print(json_line(row), flush=True)
    elif line:
        note(line, run.quiet)


def choose_targets(found: Sequence[Path], given: Sequence[Path], output: Path, force: bool) -> dict[Path, Path]:
    """Each input's audio file, checked: of one, `output` or stdout; else below that folder, the tree of a folder kept.

    Raises:
        UsageError, UniAudioError: as `audio_targets` and `check_targets`.
    """
    if is_stdout(output):
        if len(found) > 1:
            raise UsageError(f"--output {output}: takes one input, and there are {len(found)}; name a folder")
        return {found[0]: output}
    targets = audio_targets(found, given, output)
    check_targets(targets.values(), force)
    return targets


def write_each(targets: Mapping[Path, Path], work: Callable[[Path, Path], float], name: str, run: RunOptions) -> None:
    """`work` on every input and its target, one report each; an input that fails is reported and passed over.

    `work` returns the seconds of audio that it wrote.
    """
    done = 0
    for file in counted(targets, len(targets), name, run.quiet):
        started = time.perf_counter()
        try:
            length = work(file, targets[file])
        except UniAudioError as problem:
            if isinstance(problem, UsageError) and not done:
                raise
            complain(problem, show(file))
            report(run, {"file": str(file), "error": str(problem)})
            continue
        done += 1
        seconds = round(time.perf_counter() - started, 3)
        row = {"file": str(file), "output": str(targets[file]), "seconds": seconds}
        report(run, row, f"{show(targets[file])}: {length:.2f} s in {seconds:.1f} s")
    finish(done, len(targets))
