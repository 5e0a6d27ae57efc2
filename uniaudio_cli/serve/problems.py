"""Errors as problem details (RFC 9457), without paths of the server or tracebacks."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError

MEDIA_TYPE = "application/problem+json"
# A path of two parts or more, at the start of a word.
PATH = re.compile(r"(?<![\w./:])(?:~|[A-Za-z]:)?[/\\][^\s/\\:'\",)]+[/\\][^\s:'\",)]*")
log = logging.getLogger("uniaudio.serve")


class Problem(Exception):
    """An answer that is an error: its HTTP status and one line for the client."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def public_message(problem: object, names: Mapping[Path, str]) -> str:
    """An error's line for clients: files by the clients' `names`, and no path of the server."""
    text = " ".join(str(problem).split())
    for path, name in names.items():
        text = text.replace(str(path), name)
    return PATH.sub("...", text)


def as_problem(error: UniAudioError, names: Mapping[Path, str]) -> Problem:
    """What a client is told of an error of the product."""
    if isinstance(error, MissingWeightsError):
        log.error("%s", error)
        return Problem(503, "the files of a model that this takes are missing on the server; its log says which")
    return Problem(422, public_message(error, names))


def body_of(status: int, detail: str) -> dict[str, Any]:
    """The members of a problem that all answers have."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(body_of(status, detail), status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return response(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return response(error.status_code, public_message(error.detail, {}), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body" and first["type"] != "json_invalid")
        message = first["msg"] if first["msg"][:2].isupper() else first["msg"][:1].lower() + first["msg"][1:]
        return response(422, f"{where or 'body'}: {message}")

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        log.error("unexpected %s", type(error).__name__)  # the server's own log has the traceback
        return response(500, "something failed on the server; its log says what")
