"""`uniaudio tasks`: list, show and validate task files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from uniaudio_cli.cli import options
from uniaudio_cli.errors import UsageError
from uniaudio_cli.files import data_folder, show

app = typer.Typer(help="Tasks: what is asked of the LLM, as YAML.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The shipped tasks."""
    from uniaudio_cli.task import list_tasks

    if not options.is_terminal():
        for task in list_tasks():
            print(f"{task.name}\t{task.input}\t{task.output}\t{task.description}")
        return
    table = Table("task", "from", "to", "what it is")
    for task in list_tasks():
        table.add_row(task.name, task.input, task.output, task.description)
    Console().print(table)


@app.command("show")
def show_(name: Annotated[str, typer.Argument(help="A shipped task or a .yaml file.")]) -> None:
    """A task's YAML, to read or to start one's own from."""
    from uniaudio_cli.task import load_task

    load_task(name)
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = data_folder("tasks") / f"{name}.yaml"
    print(path.read_text(encoding="utf-8"), end="")


@app.command()
def validate(
    names: Annotated[list[str], typer.Argument(help="Shipped tasks or .yaml files.")],
    model: options.Model = "small",
    lm: options.LM = None,
    codec: options.CodecName = None,
    offline: options.Offline = False,
) -> None:
    """Check task files to the last key and build a real prompt of each, with a second of noise for every clip."""
    from uniaudio_cli.api import load_hearing
    from uniaudio_cli.pipeline import rehearse
    from uniaudio_cli.task import load_task

    tasks = [load_task(name) for name in names]
    hearing, vocabulary = load_hearing(model, lm=lm, codec=codec, offline=offline)
    for name, task in zip(names, tasks, strict=True):
        if max(task.levels) >= len(hearing.strides):
            raise UsageError(
                f"{show(name)}: level {max(task.levels)} is shown, the codec has 0 to {len(hearing.strides) - 1}"
            )
        prompt = rehearse(task, hearing, vocabulary)
        print(
            f"{show(name)}: ok, {len(prompt.ids(vocabulary))} tokens with {len(prompt.demonstrations)} demonstrations"
        )
