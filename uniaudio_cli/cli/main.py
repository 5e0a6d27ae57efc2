"""The `uniaudio` command: puts the groups together and turns a user's error into one line and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from uniaudio_cli import __version__
from uniaudio_cli.cli import answer, codec, models, tasks
from uniaudio_cli.cli.options import note
from uniaudio_cli.errors import UniAudioError

app = typer.Typer(
    name="uniaudio",
    help="A frozen text LLM does audio tasks from a few examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(answer.classify)
app.command()(answer.tts)
app.command()(answer.enhance)
app.command()(answer.run)
app.add_typer(tasks.app, name="tasks")
app.add_typer(codec.app, name="codec")
app.add_typer(models.app, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"uniaudio {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Users' errors end here, as one line and an exit code; bugs keep their traceback."""
    # File names may hold bytes that are not UTF-8: they are printed escaped rather than crash the print.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UniAudioError as problem:
        note(f"error: {' '.join(str(problem).split())}")
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        note("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
