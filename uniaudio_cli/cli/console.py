"""Data to stdout, the rest to stderr; progress bars; batches in which one failed item does not stop the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import show

SOME_FAILED = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_terminal() -> bool:
    """Whether stdout is one."""
    return sys.stdout is not None and sys.stdout.isatty()


def stderr(quiet: bool = False) -> Console:
    """stderr for spinners and bars, which it shows on a terminal only."""
    return Console(stderr=True, quiet=quiet, highlight=False)


def note(message: str, quiet: bool = False) -> None:
    """One line on stderr, as it stands; rich would interpret :dog: and [bold] in a file's name."""
    if not quiet and sys.stderr is not None:
        print(message, file=sys.stderr, flush=True)


def complain(problem: object, about: str = "") -> None:
    """An error on one line of stderr, which names what it is about."""
    message = " ".join(line.strip() for line in str(problem).splitlines()).strip()
    note(f"error: {message}" if about in message else f"error: {about}: {message}")


@contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """With `quiet`, nothing that C libraries write to file descriptor 2 is shown; Python's stderr still is."""
    try:
        real = os.dup(2) if quiet else None
    except OSError:  # stderr is closed
        real = None
    if real is None:
        yield
        return
    python = sys.stderr
    try:
        shared = python is not None and python.fileno() == 2
    except (OSError, ValueError):
        shared = False
    if shared:
        python.flush()
        sys.stderr = os.fdopen(
            os.dup(real), "w", buffering=1, encoding=python.encoding, errors=python.errors, closefd=True
        )
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)
        if shared:
            sys.stderr.close()
            sys.stderr = python


def counted(items: Iterable[Item], total: int, what: str, quiet: bool) -> Iterator[Item]:
    """The items, with a bar on a terminal that shows how many of `total` are done, how fast, and the time left."""
    console = stderr(quiet)
    if quiet or not console.is_terminal or total < 2:
        yield from items
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    # Without redirection, what is printed meanwhile would go where the bar goes, not into the user's file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=is_terminal()) as progress:
        task = progress.add_task(what, total=total, rate="")
        for item in items:
            yield item
            progress.advance(task)
            speed = progress.tasks[0].speed
            progress.update(task, rate=f"{speed:.1f}/s" if speed else "")


def each(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    what: str,
    quiet: bool,
    name: Callable[[Any], str] = show,
) -> Iterator[tuple[Item, Result]]:
    """(item, result) of every item that works; one that fails gets a line on stderr, with its name, and the rest go on.

    Raises:
        UsageError: and nothing has worked yet, so what is wrong is the command and not one of its items.
    """
    worked = False
    for item in counted(items, len(items), what, quiet):
        try:
            result = work(item)
        except UniAudioError as problem:
            if isinstance(problem, UsageError) and not worked:
                raise
            complain(problem, name(item))
        else:
            worked = True
            yield item, result


def finish(done: int, total: int) -> None:
    """Exit 1 where all items failed, 3 where some did."""
    if done < total:
        raise typer.Exit(SOME_FAILED if done else 1)


def wants_records(output: Path | None, as_json: bool) -> bool:
    """Whether records go to stdout: with --json, and where nothing else is made and stdout is no terminal."""
    return as_json or (output is None and not is_terminal())
