"""How a route waits for the models' thread: for one result, slice by slice, or while it sends what is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.serve import problems
from uniaudio_cli.serve.problems import Problem
from uniaudio_cli.serve.settings import Limits
from uniaudio_cli.serve.worker import Worker


async def finished(
    request: Request, future: Future[list[Any]], limits: Limits, seconds: float | None = None
) -> list[Any]:
    """A job's results. It is passed over if the client goes or time runs out before it starts.

    `seconds`: what is left of `limits.work`, all of it where None.

    Raises:
        Problem: 504 past that, or what the job raised.
    """
    left = limits.work if seconds is None else max(0.0, seconds)
    work = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        both: set[asyncio.Future[Any]] = {work, gone}
        await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return await work
        has_gone = gone.done()
        work.cancel()
        if has_gone:
            raise Problem(400, "the client has gone")
        raise Problem(504, f"no answer within {limits.work:g} s")
    except UniAudioError as error:
        raise problems.as_problem(error, {}) from error
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Slices:
    """A long job on the models' thread, slice by slice: others have their turn, and it ends when its client goes."""

    def __init__(self, request: Request, worker: Worker, steps: Generator[Any, None, None], limits: Limits) -> None:
        self.request, self.worker, self.steps, self.limits = request, worker, steps, limits
        self._begun = False

    async def next(self, seconds: float | None = None) -> list[Any]:
        """What the next slice gives, empty at the end; arguments and errors as `finished`."""
        future = self.worker.advance(self.steps, self._begun)
        self._begun = True
        [given] = await finished(self.request, future, self.limits, seconds)
        return list(given)

    async def all(self) -> list[Any]:
        """What all slices give; errors as `finished`, within `limits.work` in all."""
        loop = asyncio.get_running_loop()
        ends, found = loop.time() + self.limits.work, []
        while given := await self.next(ends - loop.time()):
            found += given
        return found

    def close(self) -> None:
        """End the job after the slice that runs, and let its files go."""
        with suppress(Problem):  # the server is stopping
            self.worker.call(self.steps.close, begun=True)


class Streamed(Response):
    """Bytes that are sent as their slices are made, no faster than the client takes them.

    An answer that fails on its way, or that its client does not take, is left without its end, so that no client takes
    it for whole.

    Args:
        first: what the first slice gave. held: what is let go at the end.
    """

    def __init__(self, first: list[bytes], slices: Slices, media_type: str, held: ExitStack) -> None:
        super().__init__(None, media_type=media_type)
        del self.headers["content-length"]
        self.first, self.slices, self.held = first, slices, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.held, suppress(Problem, asyncio.TimeoutError):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            pieces = self.first
            while pieces:
                message = {"type": "http.response.body", "body": b"".join(pieces), "more_body": True}
                await asyncio.wait_for(send(message), self.slices.limits.receive)
                pieces = await self.slices.next()
            await send({"type": "http.response.body", "body": b""})
