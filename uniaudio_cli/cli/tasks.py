"""`uniaudio tasks`: list, show and validate task files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import complain, is_terminal
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import data_folder, show

if TYPE_CHECKING:
    from uniaudio_cli.prompting.prompt import Prompt

Result = TypeVar("Result")

app = typer.Typer(help="Tasks: YAML files that describe prompts and answers.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The shipped tasks."""
    from uniaudio_cli.prompting.task import list_tasks

    if not is_terminal():
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
    from uniaudio_cli.prompting.task import load_task

    load_task(name)
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml"):
        path = data_folder("tasks") / f"{name}.yaml"
    print(path.read_text(encoding="utf-8"), end="")


@app.command()
@options.expand
def validate(
    names: Annotated[list[str], typer.Argument(help="Shipped tasks or .yaml files.")],
    model: options.ModelName = "small",
    lm: options.LM = None,
    codec: options.OtherCodec = None,
    offline: options.Offline = False,
) -> None:
    """Check task files to the last key and build a trial prompt of each, with noise for audio."""
    from uniaudio_cli.api import load_codec_and_vocabulary
    from uniaudio_cli.inference.trial import trial_prompt
    from uniaudio_cli.prompting.task import load_task

    names = list(dict.fromkeys(names))
    # The files first, so that a misspelt key is reported before a codec is loaded.
    tasks = dict(_valid(names, load_task))
    passed = 0
    if tasks:
        loaded, vocabulary = load_codec_and_vocabulary(model, lm=lm, codec=codec, offline=offline)

        def tried(name: str) -> Prompt:
            task, levels = tasks[name], len(loaded.strides)
            if max(task.levels) >= levels:
                raise UsageError(f"level {max(task.levels)}: this codec has levels 0 to {levels - 1}")
            return trial_prompt(task, loaded, vocabulary)

        for name, prompt in _valid(tasks, tried):
            passed += 1
            tokens = len(prompt.ids(vocabulary))
            print(f"{show(name)}: ok, {tokens} tokens with {len(prompt.demonstrations)} demonstrations", flush=True)
    if passed < len(names):
        raise typer.Exit(UsageError.exit_code)


def _valid(names: Iterable[str], work: Callable[[str], Result]) -> Iterator[tuple[str, Result]]:
    """(name, result) of every valid task; a line on stderr for any other."""
    for name in names:
        try:
            result = work(name)
        except UsageError as problem:
            complain(problem, show(name))
        else:
            yield name, result
