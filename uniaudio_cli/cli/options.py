"""The flags commands share, and what stands behind them: the kit, the progress bar, the batch. No torch at import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniaudio_cli.errors import UniAudioError, UsageError
from uniaudio_cli.files import show

if TYPE_CHECKING:
    from uniaudio_cli.pipeline import Kit

SOME_FAILED = 3

Item = TypeVar("Item")

Model = Annotated[
    str, typer.Option("--model", "-m", help="Model preset: an LLM and its codec (`uniaudio models list`).")
]
LM = Annotated[
    str | None, typer.Option("--lm", help="LLM instead of the preset's: a preset, folder, .gguf file or hub name.")
]
CodecName = Annotated[
    str | None, typer.Option("--codec", help="Codec instead of the preset's: a preset or a checkpoint.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
DType = Annotated[str, typer.Option("--dtype", help="Of the LLM's weights: auto, float32, bfloat16 or float16.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Load the LLM in 4 or 8 bits (needs bitsandbytes and a GPU).")]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch anything.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the choice of demonstrations, of sampling and of decoder noise.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
Demos = Annotated[
    Path,
    typer.Option(
        "--demos", "-d", help="Folder of demonstrations: LABEL/clip.wav, metadata.csv|jsonl, or noisy/ + clean/."
    ),
]
Shots = Annotated[
    int | None, typer.Option("--shots", "-k", min=1, help="Demonstrations per label or text [default: the task's].")
]
ShowPrompt = Annotated[
    bool, typer.Option("--show-prompt", help="Print the prompt with token counts instead of answering.")
]


@dataclass(frozen=True)
class Which:
    """Which models a command was asked to use, and how."""

    model: str
    lm: str | None
    codec: str | None
    device: str
    dtype: str
    bits: int | None
    offline: bool
    quiet: bool


def stderr(quiet: bool = False) -> Console:
    """Where everything but data goes."""
    return Console(stderr=True, quiet=quiet, highlight=False)


def note(message: str, quiet: bool = False) -> None:
    """One plain line on stderr."""
    if not quiet:
        stderr().print(message, markup=False, soft_wrap=True)


def load_kit(which: Which) -> Kit:
    """The models, loaded once, with a spinner on a terminal."""
    from uniaudio_cli.api import load

    console = stderr(which.quiet)
    with console.status(f"loading {which.lm or which.model}") if console.is_terminal else _nothing():
        return load(
            which.model,
            lm=which.lm,
            codec=which.codec,
            device=which.device,
            dtype=which.dtype,
            bits=which.bits,
            offline=which.offline,
            progress=lambda line: note(line, which.quiet),
        )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def counted(items: Iterable[Item], total: int, what: str, quiet: bool) -> Iterator[Item]:
    """The items, with a progress bar on a terminal."""
    console = stderr(quiet)
    if quiet or not console.is_terminal or total < 2:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(items, total=total, description=what)


def each(files: list[Path], work: Callable[[Path], Any], what: str, quiet: bool) -> Iterator[tuple[Path, Any | None]]:
    """(file, result) of every file; a file that fails gives (file, None) and one line on stderr, and the rest go on."""
    for file in counted(files, len(files), what, quiet):
        try:
            yield file, work(file)
        except UniAudioError as problem:
            if isinstance(problem, UsageError) and len(files) == 1:
                raise
            note(f"error: {_named(file, problem)}")
            yield file, None


def _named(file: Path, problem: UniAudioError) -> str:
    text = str(problem)
    return text if show(file) in text else f"{show(file)}: {text}"


def finish(failed: int, total: int) -> None:
    """Exit 1 where every file failed, 3 where some did."""
    if failed:
        raise typer.Exit(1 if failed == total else SOME_FAILED)


def is_terminal() -> bool:
    """Whether stdout is one."""
    return sys.stdout.isatty()
