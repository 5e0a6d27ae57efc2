"""What every request passes before a route: host, origin, token, and bounds on its body; headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uniaudio_cli.serve.problems import Problem, response
from uniaudio_cli.serve.settings import LOOPBACK, Settings

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# Answered without a token: the page's own files, which hold no data, and the probe.
OPEN = ("/", "/healthz", "/favicon.ico")


class Guard:
    """Refuses requests of other hosts and pages, without the token, or with too long or too slow a body.

    The host is checked, or a page could reach a server on this machine through a name of its own (DNS rebinding); the
    origin, or any page could post forms to it.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    found[name] = value
                if (origin := headers.get("origin")) in self.settings.cors:
                    found["Access-Control-Allow-Origin"] = origin or ""
                    found["Access-Control-Expose-Headers"] = "Uniaudio-Answer, Uniaudio-Probability"
                    found["Cross-Origin-Resource-Policy"] = "cross-origin"
                    found["Vary"] = "Origin"
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            answer = response(refusal.status, refusal.detail, refusal.headers)
            await answer(scope, receive, with_headers)
        elif scope["method"] == "OPTIONS" and headers.get("origin") in self.settings.cors:
            allowed = {
                "Access-Control-Allow-Methods": "GET, POST, DELETE",
                "Access-Control-Allow-Headers": "Authorization, Content-Type",
            }
            await Response(None, 204, allowed)(scope, receive, with_headers)
        else:
            await self.app(scope, Body(receive, self.settings), with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        limits = self.settings.limits
        if "host" not in headers:
            return Problem(400, "HTTP/1.1 takes a Host header")
        if not self._is_host(headers["host"]):
            return Problem(421, "this server does not go by the name in the Host header")
        origin = headers.get("origin")
        if origin is not None and origin not in self.settings.cors and urlsplit(origin).netloc != headers["host"]:
            return Problem(403, "pages of another origin may not call this server; --cors names those that may")
        if scope["method"] == "OPTIONS" and origin in self.settings.cors:
            return None
        if not self._is_open(scope["path"]) and not self._has_token(headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": "Bearer"}
            return Problem(401, "this server takes a token: Authorization: Bearer TOKEN", challenge)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > limits.body:
            return Problem(413, f"a request may have {limits.body >> 20} MB", {"Connection": "close"})
        return None

    def _is_host(self, header: str) -> bool:
        if self.settings.host not in LOOPBACK:
            return True  # any name may lead here, and the token is asked for
        try:
            return urlsplit(f"//{header}").hostname in LOOPBACK
        except ValueError:
            return False

    def _is_open(self, path: str) -> bool:
        return path in OPEN or path.startswith("/static/")

    def _has_token(self, header: str) -> bool:
        wanted = self.settings.token
        # Compared in constant time, and as bytes: compare_digest refuses text beyond ASCII.
        return not wanted or hmac.compare_digest(header.encode(), f"Bearer {wanted}".encode())


class Body:
    """`receive` with bounds on the bytes of a body and the seconds until its end."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self.receive, self.limits = receive, settings.limits
        self.count, self.ended = 0, False
        self.deadline = asyncio.get_running_loop().time() + self.limits.receive

    async def __call__(self) -> Message:
        if self.ended:
            return await self.receive()
        try:
            left = self.deadline - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(self.receive(), max(0.0, left))
        except asyncio.TimeoutError:
            detail = f"the request took more than {self.limits.receive:g} s to arrive"
            raise _closing(408, detail) from None
        self.count += len(message.get("body", b""))
        if self.count > self.limits.body:
            raise _closing(413, f"a request may have {self.limits.body >> 20} MB")
        self.ended = not message.get("more_body", False)
        return message


def _closing(status: int, detail: str) -> HTTPException:
    # An HTTPException, as the parser of forms lets these through.
    return HTTPException(status, detail, {"Connection": "close"})
