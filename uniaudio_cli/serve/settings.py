"""What a server is started with: addresses, folders, the token, and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from uniaudio_cli.core.errors import UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request, and all together, may take.

    `body`: bytes of a request. `files`: uploads a request. `seconds`, `channels`: of one recording. `long`: in place
    of `seconds` where a recording is read block by block: segments and enhancement. `text`: characters of a label or
    a question. `receive`: seconds that a body takes to arrive, and a piece of an answer to be taken. `work`: seconds
    until an answer is made, or the next piece of one that is sent meanwhile. `queue`: requests that wait.
    `connections`: of clients at once. `set_clips`, `sets`: clips of a set, and sets that are kept.
    """

    body: int = 32 << 20
    files: int = 64
    seconds: float = 60.0
    long: float = 900.0
    channels: int = 8
    text: int = 200
    receive: float = 30.0
    work: float = 120.0
    queue: int = 64
    connections: int = 128
    set_clips: int = 256
    sets: int = 256


@dataclass(frozen=True)
class Settings:
    """`state`: where sets are kept. `root`: the folder that sets may be read from, None for none. `cors`: origins of
    other pages that may call. `token`: what requests must carry, "" for nothing."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    root: Path | None = None
    token: str = ""
    cors: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise UsageError(f"--host {self.host}: others can reach it; give --token or set UNIAUDIO_TOKEN")
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise UsageError("--token: takes letters, digits and signs of ASCII, as it goes into a header")
        if self.root is not None and not self.root.is_dir():
            raise UsageError(f"--root {self.root}: no such folder")
        if any(origin == "*" or "://" not in origin for origin in self.cors):
            raise UsageError("--cors: takes origins such as https://example.org, and no *")
