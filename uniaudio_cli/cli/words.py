"""Clips as words, in columns: what `uniaudio codec words` prints."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from uniaudio_cli.audio.levels import level_name
from uniaudio_cli.core.paths import show

COLOURS = ("cyan", "yellow", "magenta", "green")


def print_level(level: int, rows: list[tuple[Path, list[str]]], run: int) -> None:
    """One level of all clips, words in columns, so that frame t of every clip stands in one column."""
    common = shared_runs([words for _, words in rows], run)
    width = max((len(word) for _, words in rows for word in words), default=1)
    per_line = max(1, (Console().width - 2) // (width + 1))
    Console().print(Text(level_name(level), style="bold"))
    for (file, words), marks in zip(rows, common, strict=True):
        Console().print(Text(f"  {show(file)}", style="dim"), soft_wrap=True)
        for start in range(0, len(words), per_line):
            line = Text("  ")
            for word, marked in list(zip(words, marks, strict=True))[start : start + per_line]:
                line.append(word, style=f"{COLOURS[level % len(COLOURS)]}{' underline bold' if marked else ''}")
                line.append(" " * (width + 1 - len(word)))
            Console().print(line, soft_wrap=True)


def shared_runs(rows: list[list[str]], run: int) -> list[list[bool]]:
    """For every word of every row, whether it lies in a run of `run` words that another row has too.

    >>> shared_runs([["a", "b", "c"], ["x", "a", "b"]], 2)
    [[True, True, False], [False, True, True]]
    """
    homes: dict[tuple[str, ...], set[int]] = {}
    for number, row in enumerate(rows):
        for start in range(len(row) - run + 1):
            homes.setdefault(tuple(row[start : start + run]), set()).add(number)
    marks = [[False] * len(row) for row in rows]
    for row, marked in zip(rows, marks, strict=True):
        for start in range(len(row) - run + 1):
            if len(homes[tuple(row[start : start + run])]) > 1:
                marked[start : start + run] = [True] * run
    return marks
