"""Clips as words, in columns: what `uniaudio codec words` prints."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.audio.levels import FROZEN_LEVELS, NAMED_LEVELS, PROSODY, TAGS, level_name
from uniaudio_cli.cli.console import is_terminal, note
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.codec.frozen.levels import FrozenLevels

COLOURS = ("cyan", "yellow", "magenta", "green")
RUN = 2  # the shortest shared run of words that is underlined


def chosen_levels(names: str | None, count: int, encoders: FrozenLevels) -> list[int]:
    """The levels of --levels in order, for a codec of `count`; where None, tags (if YAMNet is here), prosody and 0.

    Raises:
        UsageError: there is no such level.
        MissingWeightsError: a level is named whose encoder is not here.
    """
    if names is None:
        try:
            _ = encoders[TAGS]
        except MissingWeightsError:
            note("note: no tags, as YAMNet is not here: uniaudio models pull yamnet")
            return [PROSODY, 0]
        return [TAGS, PROSODY, 0]
    by_name = {"tags": TAGS, **NAMED_LEVELS, **{str(level): level for level in range(count)}}
    given = [name.strip() for name in names.split(",")]
    for name in given:
        if name not in by_name:
            raise UsageError(f"--levels {show(name)}: takes {', '.join(by_name)}")
    chosen = sorted({by_name[name] for name in given})
    for level in chosen:
        if level in (TAGS, *FROZEN_LEVELS):
            _ = encoders[level]  # fetched before the first clip
    return chosen


def print_clips(rows: list[tuple[Path, dict[int, list[str]]]]) -> None:
    """One line a clip: a table cut to the terminal's width, or tab-separated values in full."""
    levels = list(rows[0][1])
    header = ("file", *map(level_name, levels))
    if not is_terminal():
        print("\t".join(header))
        for file, words in rows:
            print("\t".join((show(file), *((", " if level == TAGS else " ").join(words[level]) for level in levels))))
        return
    table = Table(box=None, pad_edge=False)
    for name in header:
        # The file keeps its width; the levels share the rest.
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=None if name == "file" else 1)
    for file, words in rows:
        cells = (_in_short(level, words[level]) for level in levels)
        table.add_row(show("/".join(file.parts[-2:])), *map(Text, cells))
    Console().print(table)


def _in_short(level: int, words: list[str]) -> str:
    """Tags by their first names, and runs of one word once."""
    if level == TAGS:
        return ", ".join(word.split(",")[0] for word in words)
    return " ".join(word for word, _ in groupby(words))


def print_level(level: int, rows: list[tuple[Path, list[str]]], run: int = RUN) -> None:
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
