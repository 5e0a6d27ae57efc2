"""Writes docs/CLI.md, the reference of every command and option, from the commands themselves.

python docs/make_cli.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from uniaudio_cli.cli.main import app

TARGET = Path(__file__).with_name("CLI.md")
HEAD = """# The command line

Made by `python docs/make_cli.py`; a test checks that it is up to date.

stdout carries records (with `--json`, or where stdout is no terminal and the command makes nothing else), stderr the
rest. `-o/--output` names the thing made. JSON is UTF-8, one object a line, each written as soon as it is computed; a
byte of a file's name that is not UTF-8 is `\\udcXX`, as in Python. `NO_COLOR` is obeyed.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: an input cannot be read, an output cannot be written |
| 2 | wrong use: an option, a path, a task, or demonstrations that do not fit |
| 3 | some inputs failed, the others are done |
| 4 | files of a model are missing |
| 130 | interrupted |

| command | keys of a record |
|---|---|
| `classify`, `run` with labels | `file`, `label` (null where it abstains), `scores` (label: probability, likeliest \
first), `margin` (between the first two), `seconds` |
| `classify --dry-run`, a line for each context | `label`, `level` (null for all), `shots` (demonstrations a label), \
`shot_ids` (a list), `rest_ids` (instruction and query), `answer_ids`, `ids` (in all), `context`, `most_shots` |
| `tts`, `run` from text | `text`, `answer` ("" without one), `output`, `seconds` |
| `enhance`, `run` from audio to audio | `file`, `output`, `seconds` |
| any of these, of an input that failed | `file` or `text`, `error` |
| `codec encode`, `decode`, `reconstruct` | `file`, `output` |
| `codec words` | `file`, `tags`, `prosody` and other named levels, `levels` (the codec's); lists of words |
| a file of `codec encode` | `codec`, `samples`, `gain` (before encoding; null for silence), `codes` per level |

A .csv of `classify` has the columns `file`, `label`, `margin`, `seconds`, `error` and `score:LABEL` for every label; a
.json is one array of the records.
"""


def reference() -> str:
    """The whole text."""
    root = typer.main.get_command(app)
    with root.make_context("uniaudio", [], resilient_parsing=True) as context:
        parts = [HEAD, *_section(root, context)]
    return "\n".join(parts)


def _section(command: Any, context: Any) -> list[str]:
    """A command's heading, usage and parameters; of a group, those of its commands."""
    if hasattr(command, "commands"):
        parts = [f"## {context.command_path}\n\n{command.help}\n"] if context.parent else []
        for name, inner in command.commands.items():
            with inner.make_context(name, [], parent=context, resilient_parsing=True) as below:
                parts += _section(inner, below)
        return parts
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [record for each in command.params if (record := each.get_help_record(context))]
    lines = [f"- `{names.strip()}`: {_plain(text)}" for names, text in records]
    level = "##" if context.parent.parent is None else "###"
    head = f"{level} {context.command_path}\n\n{command.help}\n\n    {usage}\n"
    return [head, "\n".join(lines) + "\n"] if lines else [head]


def _plain(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
