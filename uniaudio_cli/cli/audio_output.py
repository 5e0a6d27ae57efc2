"""Audio that a command made: written to a file or stdout, and reported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniaudio_cli.cli.console import note
from uniaudio_cli.cli.output_paths import is_stdout
from uniaudio_cli.cli.params import RunOptions
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line

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
