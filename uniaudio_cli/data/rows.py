"""Rows of .csv and .jsonl files as cells by column, each with the file and line that errors name."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show

KNOWN_COLUMNS = ("file_name", "label", "text", "target", "group", "split", "kind")


def read_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("metadata.csv:3", cells by column) of each row of a .csv with a header, or of a .jsonl; blank rows are skipped.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, or a row is broken.
    """
    try:
        data = file.read_bytes()
        content = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{show(file)}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        what = "is UTF-16 text; save it as UTF-8" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "is not UTF-8 text"
        raise UsageError(f"{show(file)}: {what}") from error
    if file.suffix == ".csv":
        yield from _csv_rows(file, content)
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield f"{show(file)}:{number}", _object(line, f"{show(file)}:{number}")


def _csv_rows(file: Path, content: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # Strict: a quote that is not closed is an error, not a cell of all that follows.
    reader = csv.reader(io.StringIO(content, newline=""), skipinitialspace=True, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            where, line = f"{show(file)}:{line}", reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = cells
                for name, count in Counter(name.casefold() for name in header).items():
                    if count > 1 and name in KNOWN_COLUMNS:
                        raise UsageError(f"{where}: {count} columns are named {name!r}; keep one of them")
                continue
            for place, cell in enumerate(cells):
                if cell and (place >= len(header) or not header[place]):
                    raise UsageError(
                        f"{where}: {show(cell)!r} lies in no named column; a cell with a comma in it goes in quotes"
                    )
            row = dict(zip(header, [*cells, *[""] * len(header)], strict=False))
            for name in ("file_name", "label", "target"):
                if "\n" in row.get(name, "") or "\r" in row.get(name, ""):
                    raise UsageError(f"{where}: {name!r} goes over several lines; is a quote not closed?")
            yield where, row
    except csv.Error as error:
        what = "a quote is not closed" if "unexpected end of data" in str(error) else str(error)
        raise UsageError(f"{show(file)}:{line}: {what}") from error


def _object(line: str, where: str) -> dict[str, Any]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, count in Counter(name for name, _ in items).items():
            if count > 1:
                raise UsageError(f"{where}: {count} values are named {show(name)!r}; keep one of them")
        return dict(items)

    try:
        row = json.loads(line, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: is not JSON") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: is not a JSON object of names and values")
    return row
