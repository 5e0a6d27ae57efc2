"""The `uniaudio` command: its groups, and users' errors as one line and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from functools import cache
from typing import Annotated, Any

import typer

from uniaudio_cli import __version__
from uniaudio_cli.cli import classify, codec, demos, enhance, models, run, serve, speak, tasks
from uniaudio_cli.cli import eval as evaluation
from uniaudio_cli.cli.console import complain, note
from uniaudio_cli.core.errors import AudioWarning, UniAudioError, UsageError
from uniaudio_cli.core.paths import WRITE_ERRORS, show

INTERRUPTED = 130

app = typer.Typer(
    name="uniaudio",
    help="A frozen text LLM does audio tasks from a few examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(classify.classify)
app.command()(speak.tts)
app.command()(enhance.enhance)
app.command()(run.run)
app.command()(serve.serve)
app.add_typer(evaluation.app, name="eval")
app.add_typer(demos.app, name="demos")
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
    # File names may hold bytes that are not UTF-8: they are printed escaped rather than crash the print. JSON is UTF-8
    # wherever it goes; a terminal gets what it says it can show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=stream.encoding if stream.isatty() else "utf-8", errors="backslashreplace")
    # Remarks of the libraries beneath are for those who write programs, and ask for them with -W.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", AudioWarning)
    warnings.showwarning = _show_warning
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    code = _run()
    sys.exit(_flush() or code)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    note(f"note: {' '.join(str(message).split())}")


@cache
def parser() -> Any:
    """The parser of all commands, made once: a program may call `main` again and again."""
    return typer.main.get_command(app)


def _run() -> int:
    try:
        code = parser()(prog_name="uniaudio", standalone_mode=False)
    except UniAudioError as problem:
        complain(problem)
        return problem.exit_code
    except Exception as problem:
        if reason := write_failure(problem):
            if reason != os.strerror(errno.EPIPE):  # the reader has closed the pipe, which is no mistake
                complain(reason)
            return 1
        # The parser's errors are known by their shape: their class has moved between releases of typer.
        if not hasattr(problem, "format_message"):
            raise
        return _refuse(problem)
    if code == INTERRUPTED:
        note("interrupted")
    return code or 0


def write_failure(problem: BaseException) -> str | None:
    """What the system objected to where a write failed, in our code or a library's; None for any other exception."""
    if isinstance(problem, OSError):
        code = problem.errno
    else:
        # Libraries that write by themselves, such as safetensors and torch, keep the number or the words in the text.
        text = str(problem)
        number = re.search(r"\(os error (\d+)\)", text)
        code = int(number[1]) if number else next((each for each in WRITE_ERRORS if os.strerror(each) in text), None)
    if code not in WRITE_ERRORS:
        return write_failure(problem.__cause__) if problem.__cause__ else None
    name = getattr(problem, "filename", None)
    return f"{show(name)}: cannot be written ({os.strerror(code)})" if name else os.strerror(code)


def _refuse(problem: Exception) -> int:
    """A wrong command line: what is wrong with it, and where help is; without arguments, help has been shown."""
    context = getattr(problem, "ctx", None)
    message = problem.format_message().rstrip(".\n")  # type: ignore[attr-defined]
    needed = getattr(getattr(problem, "param", None), "help", None)
    if type(problem).__name__ == "MissingParameter" and needed:
        message = f"{message}: {needed.rstrip('.')}"
    if message and type(problem).__name__ != "NoArgsIsHelpError":
        complain(f"{message}; see `{context.command_path} --help`" if context else message)
    return getattr(problem, "exit_code", UsageError.exit_code)


def _flush() -> int:
    """Write out what stdout still holds; 1 where it cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as problem:
        # Or Python would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if problem.errno != errno.EPIPE:
            complain(problem.strerror)
        return 1
    return 0
