"""The codec architectures, by the name that a codec's description gives."""

from __future__ import annotations

from typing import Any

from uniaudio_cli.codec.architectures.base import Architecture
from uniaudio_cli.codec.architectures.published import PublishedArchitecture
from uniaudio_cli.codec.architectures.small import SmallArchitecture

REGISTRY: dict[str, type[Architecture[Any, Any]]] = {
    architecture.name: architecture for architecture in (PublishedArchitecture, SmallArchitecture)
}

__all__ = ["REGISTRY", "Architecture"]
