"""`uniaudio serve`: the HTTP API and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import note
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import cache_dir, show


@options.expand
def serve(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; any but this machine's takes a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str, typer.Option("--token", envvar="UNIAUDIO_TOKEN", help="What requests must carry: Bearer TOKEN.")
    ] = "",
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder that demonstration sets may be read from (default: none).")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="Folder that sets are kept in (default: in the cache).")
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option("--cors", help="Origin of another page that may call, such as https://a.org.")
    ] = None,
    quiet: options.Quiet = False,
    models: options.ModelOptions,
) -> None:
    """Serve an HTTP API and a page to play with, on this machine."""
    try:
        from uniaudio_cli.serve.app import create_app
        from uniaudio_cli.serve.http import server
    except ImportError as problem:
        if (problem.name or "").startswith("uniaudio_cli"):
            raise
        raise UsageError(f"serve takes {problem.name}: pip install 'uniaudio[serve]'") from problem
    from uniaudio_cli.serve.settings import Settings

    settings = Settings(state or cache_dir() / "serve", host, port, root, token, tuple(cors or ()))
    app = create_app(models.load(quiet, defer_lm=True), settings)
    note(f"sets are kept in {show(settings.state)}; Ctrl-C ends the server", quiet)
    server(app, settings, "warning" if quiet else "info").run()
