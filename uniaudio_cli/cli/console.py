"""Data to stdout, the rest to stderr, and batches that outlive a bad file. Never knows what is done with a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    """One line on stderr, as it stands; rich would read :dog: and [bold] in a file's name as its own."""
    if not quiet and sys.stderr is not None:
        print(message, file=sys.stderr, flush=True)


def complain(problem: object, about: str = "") -> None:
    """An error on one line of stderr, which names what it is about."""
    message = " ".join(str(problem).split())
    note(f"error: {message}" if about in message else f"error: {about}: {message}")


def json_line(row: Mapping[str, Any]) -> str:
    r"""A JSON object on one line. A byte of a file's name that is not UTF-8 is \udcXX, which os.fsencode undoes."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def records(jsonl: str | None, more: bool = False) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What to call with one row at a time: a line of JSON each, to the file `jsonl` or ("-") to stdout.

    With None, lines go to stdout unless that is a terminal. Each line is written at once and whole, so that a run that
    is stopped keeps what it had. `more`: after the lines that the file has, not in place of them.
    """
    if jsonl is None or jsonl == "-":
        silent = jsonl is None and is_terminal()
        yield lambda row: None if silent else print(json_line(row), flush=True)
        return
    try:
        Path(jsonl).parent.mkdir(parents=True, exist_ok=True)
        file = Path(jsonl).open("ab" if more else "wb", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as problem:
        raise UniAudioError(f"{show(jsonl)}: cannot be written ({problem.strerror})") from problem

    def write(row: Mapping[str, Any]) -> None:
        try:
            file.write(f"{json_line(row)}\n".encode())
        except OSError as problem:
            raise UniAudioError(f"{show(jsonl)}: cannot be written ({problem.strerror})") from problem

    with file:
        yield write


def counted(items: Iterable[Item], total: int, what: str, quiet: bool) -> Iterator[Item]:
    """The items, with a progress bar on a terminal."""
    for (item,) in progressing(([item] for item in items), total, what, quiet):
        yield item


def progressing(batches: Iterable[list[Item]], total: int, what: str, quiet: bool) -> Iterator[list[Item]]:
    """Lists of items, with a bar on a terminal that shows how many of `total` are done, how fast, and the time left."""
    console = stderr(quiet)
    if quiet or not console.is_terminal or total < 2:
        yield from batches
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    # Or what is printed meanwhile would go where the bar goes, and not into the user's file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=is_terminal()) as progress:
        task = progress.add_task(what, total=total, rate="")
        for some in batches:
            yield some
            progress.advance(task, len(some))
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
