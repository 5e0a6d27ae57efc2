"""The HTTP server: uvicorn with httptools, and a bound on what comes before a body."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from uniaudio_cli.serve.settings import Settings

MOST_HEAD = 65_536  # bytes of a request's line and headers


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request whose line and headers are longer than `MOST_HEAD`, as httptools itself takes any length."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head: int | None = None  # bytes that have come of one that is not complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0

    def on_headers_complete(self) -> None:
        self._head = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            raise ValueError("too long")  # which the parser makes an answer of 400
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MOST_HEAD:
                self.send_400_response("The headers are too long.")


def server(app: FastAPI, settings: Settings, log_level: str = "warning") -> uvicorn.Server:
    """A server of the application, not yet started."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=BoundedProtocol,
            log_level=log_level,
            access_log=False,
            server_header=False,
            limit_concurrency=settings.limits.connections,
            timeout_graceful_shutdown=int(settings.limits.work),
        )
    )
